package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// readerKind is a way to read an agent's events. read connects, goes on from the
// reader's position, and returns when the connection has ended.
type readerKind struct {
	name string
	file string
	read func(ctx context.Context, r *reader) error
}

// readerKinds is the table of them.
func readerKinds() []readerKind {
	return []readerKind{
		{"SSE", "sse", readSSE},
		{"WebSocket", "ws", readSocket},
		{"mailbox", "mailbox", readMailbox},
		{"poll", "poll", readPages},
	}
}

// reader is one client that keeps what it receives, a line an event, and goes on
// from where it was when a connection ends.
type reader struct {
	kind readerKind
	site *site
	file string

	away atomic.Bool // it does not connect
	done atomic.Bool // it got the last event

	mu    sync.Mutex
	out   *os.File
	at    string // the position to go on from
	err   error  // of its file
	hang  context.CancelFunc
	boxed bool // the mailbox is made
}

func newReader(s *site, kind readerKind, file string) (*reader, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return &reader{kind: kind, site: s, file: file, out: f, at: "0"}, nil
}

// run reads until ctx is done, over as many connections as it takes.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !r.away.Load() {
			one, cancel := context.WithCancel(ctx)
			r.mu.Lock()
			r.hang = cancel
			r.mu.Unlock()
			_ = r.kind.read(one, r) // a connection that breaks is what this is about
			cancel()
		}
		_ = pause(ctx, 10*time.Millisecond)
	}
}

// hangUp ends the connection.
func (r *reader) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hang != nil {
		r.hang()
	}
}

// keep writes an event to the file, and moves on to the position behind it.
func (r *reader) keep(event []byte, after string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.out.Write(append(bytes.TrimSpace(event), '\n')); err != nil && r.err == nil {
		r.err = err
	}
	if after != "" {
		r.at = after
	}
	if bytes.Contains(event, []byte(`"`+r.site.lastName()+`"`)) {
		r.done.Store(true)
	}
}

// move goes to a position that the agent told.
func (r *reader) move(after string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after != "" {
		r.at = after
	}
}

func (r *reader) position() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *reader) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *reader) close() error { return errors.Join(r.failed(), r.out.Close()) }

// request sends a request of the reader's; an answer that is no success is an error.
func (r *reader) request(ctx context.Context, method, path string, body string, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.site.subject.Addr+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+agentKey)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	return res, nil
}

// readSSE follows the stream. What has no empty line behind it was cut off.
func readSSE(ctx context.Context, r *reader) error {
	at := r.position()
	path, header := "/v1/stream?after="+at, []string(nil)
	if at != "0" {
		path, header = "/v1/stream", []string{"Last-Event-ID", at}
	}
	res, err := r.request(ctx, http.MethodGet, path, "", header...)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 4<<20)
	id, kind, data := "", "", []byte(nil)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = []byte(value)
		case "":
			if lines.Text() != "" { // a comment
				continue
			}
			if data != nil && kind == "" {
				r.keep(data, id)
			} else if data != nil {
				r.move(id)
			}
			id, kind, data = "", "", nil
		}
	}
	return lines.Err()
}

// readSocket subscribes to everything.
func readSocket(ctx context.Context, r *reader) error {
	c, _, err := websocket.Dial(ctx, "ws://"+r.site.subject.Addr+"/v1/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + agentKey}}})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	c.SetReadLimit(4 << 20)
	if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"op":"subscribe","after":"%s"}`, r.position())); err != nil {
		return err
	}
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return err
		}
		var m struct {
			Op    string
			After string
			Event json.RawMessage
		}
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		switch m.Op {
		case "event":
			r.keep(m.Event, m.After)
		case "at", "reset":
			r.move(m.After)
		case "error":
			return fmt.Errorf("subscribe: %s", b)
		}
	}
}

// pageAnswer is a page of events, of the log or of a mailbox.
type pageAnswer struct {
	Events []json.RawMessage
	Next   string
}

// page reads one.
func (r *reader) page(ctx context.Context, path string) (p pageAnswer, err error) {
	res, err := r.request(ctx, http.MethodGet, path, "")
	if err != nil {
		return p, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(b, &p)
}

// readMailbox reads its mailbox, keeps what is in it, and acknowledges that.
func readMailbox(ctx context.Context, r *reader) error {
	const path = "/v1/mailboxes/prove"
	if !r.boxed {
		res, err := r.request(ctx, http.MethodPut, path, `{"after":"0"}`)
		if err != nil {
			return err
		}
		res.Body.Close()
		r.boxed = true
	}
	for {
		p, err := r.page(ctx, path+"?limit=500")
		if err != nil {
			return err
		}
		for _, ev := range p.Events {
			r.keep(ev, "")
		}
		r.move(p.Next)
		res, err := r.request(ctx, http.MethodPost, path+"/ack", `{"after":"`+p.Next+`"}`)
		if err != nil {
			return err
		}
		res.Body.Close()
		if len(p.Events) == 0 {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// readPages asks for what came since the last answer.
func readPages(ctx context.Context, r *reader) error {
	for {
		p, err := r.page(ctx, "/v1/events?limit=500&after="+r.position())
		if err != nil {
			return err
		}
		for _, ev := range p.Events {
			r.keep(ev, "")
			if p.Next == "" { // the end, for now: the reader goes on from its last event
				r.move(positionOf(ev))
			}
		}
		r.move(p.Next)
		if len(p.Events) == 0 {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// positionOf is the position behind an event, which its id tells; a gap has none.
func positionOf(event []byte) string {
	var e struct{ ID, Kind string }
	if err := json.Unmarshal(event, &e); err != nil || e.Kind == "gap" {
		return ""
	}
	return strings.Replace(e.ID, "-", ".", 1)
}
