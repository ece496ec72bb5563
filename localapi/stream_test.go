package localapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

// sse is a client of a stream.
type sse struct {
	res    *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
	id     string
}

// sseEvent is one block of a stream.
type sseEvent struct{ name, id, data, comment string }

func (r *rig) stream(key, query string, hs ...header) *sse {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+"/v1/stream"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	for _, h := range hs {
		for k, v := range h {
			req.Header.Set(k, v)
		}
	}
	res, err := (&http.Client{Transport: r.client.Transport}).Do(req)
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	if res.StatusCode != 200 {
		b, _ := io.ReadAll(res.Body)
		cancel()
		r.t.Fatalf("stream: got %d %s", res.StatusCode, b)
	}
	s := &sse{res: res, lines: bufio.NewReader(res.Body), cancel: cancel}
	r.t.Cleanup(s.close)
	if b, err := s.next(); err != nil || b.name != "" || b.data != "" {
		r.t.Fatalf("the first block is %+v %v, want retry alone", b, err)
	}
	return s
}

func (s *sse) close() { s.cancel(); s.res.Body.Close() }

func (s *sse) next() (ev sseEvent, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return ev, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			return ev, nil
		case field == "id":
			ev.id, s.id = value, value
		case field == "event":
			ev.name = value
		case field == "data":
			ev.data = value
		case field == "":
			ev.comment = value
		}
	}
}

// event is the next event that is no control message.
func (s *sse) event(t *testing.T) edge.Event {
	t.Helper()
	for {
		b, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if b.name == "" && b.data != "" {
			var ev edge.Event
			if err := json.Unmarshal([]byte(b.data), &ev); err != nil {
				t.Fatalf("%s: %v", b.data, err)
			}
			return ev
		}
	}
}

// A stream that is cut again and again, while events come in, has each once.
func TestStreamResumesWithoutGap(t *testing.T) {
	r := newRig(t, nil)
	const total = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			if a, err := r.try(r.client, "http://"+r.addr, "POST", "/v1/events", writeKey, fmt.Sprintf(`{"name":"x","data":%d}`, i)); err != nil || a.status != 201 {
				t.Errorf("publish: %d %v", a.status, err)
				return
			}
		}
	}()
	last := "0"
	for n := uint64(1); n <= total; {
		s := r.stream(readKey, "?after=0", header{"Last-Event-ID": last})
		for range 37 {
			ev := s.event(t)
			if ev.N != n {
				t.Fatalf("got %d, want %d", ev.N, n)
			}
			if n++; n > total {
				break
			}
		}
		last = s.id
		s.close()
	}
	<-done
}

func TestStreamBeginsNowAndFilters(t *testing.T) {
	r := newRig(t, nil)
	r.publish("old", 3)
	all, doors := r.stream(readKey, ""), r.stream(readKey, "?name=d*&name=kitchen/*")
	scoped, ring := r.stream(kitchenKey, "?after=0"), r.stream(readKey, "?ring=events&after=1")
	r.publish("kitchen/oven", 1)
	r.publish("door", 1)
	if ev := all.event(t); ev.N != 4 {
		t.Errorf("a stream without a position began with %d", ev.N)
	}
	if a, b := doors.event(t), doors.event(t); a.Name != "kitchen/oven" || b.Name != "door" {
		t.Errorf("got %s and %s", a.Name, b.Name)
	}
	if ev := scoped.event(t); ev.Name != "kitchen/oven" {
		t.Errorf("a scoped key got %s", ev.Name)
	}
	if ev := ring.event(t); ev.Seq != 2 || !strings.HasSuffix(ring.id, ".2") {
		t.Errorf("a stream of a ring got seq %d with id %s", ev.Seq, ring.id)
	}
}

func TestStreamOfALostPastIsReset(t *testing.T) {
	r := newRig(t, nil)
	r.publish("x", 2)
	s := r.stream(readKey, "", header{"Last-Event-ID": "00000bad.77"})
	if b, err := s.next(); err != nil || b.name != "reset" {
		t.Fatalf("got %+v %v, want reset", b, err)
	}
	if ev := s.event(t); ev.N != 1 {
		t.Errorf("it goes on with %d, want the oldest", ev.N)
	}
	r.want(400, "GET", "/v1/stream", readKey, "", header{"Last-Event-ID": "garbage"})
	r.want(400, "GET", "/v1/stream?limit=3", readKey, "")
	r.want(200, "HEAD", "/v1/stream", readKey, "") // ends
}

// A stream that fits nothing says how far it is, and in silence that it lives.
func TestStreamTellsItsPosition(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.beat = 30 * time.Millisecond })
	r.publish("x", 2500)
	s := r.stream(readKey, "?after=0&name=nobody")
	var told, lived bool
	for !told || !lived {
		b, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		told = told || b.name == "at" && strings.HasSuffix(b.data, `.2500"}`) && b.id != ""
		lived = lived || told && b.comment != ""
	}
}

func TestClientsAreListed(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.streams = 2 })
	r.stream(readKey, "?name=door")
	r.stream(kitchenKey, "")
	var got struct{ Clients []clientInfo }
	r.want(200, "GET", "/v1/clients", readKey, "").into(t, &got)
	if len(got.Clients) != 2 || got.Clients[0].Key != "reader" || got.Clients[0].Kind != "stream" || got.Clients[0].Address != "127.0.0.1" {
		t.Errorf("got %+v", got.Clients)
	}
	r.want(503, "GET", "/v1/stream", readKey, "")
}

// The server stops although streams are open, and the streams end.
func TestStopEndsStreams(t *testing.T) {
	r := newRig(t, nil)
	s := r.stream(readKey, "")
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := s.next(); err == nil {
		t.Error("the stream goes on")
	}
}
