package localapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"fieldpost/edge"
)

// goodbye is how long a peer has to answer a close.
const goodbye = time.Second

// socket is one WebSocket. Three goroutines share it: the reader takes messages
// and answers most of them, the publisher stores what was published and answers
// in order (the reader does where the disk is quick and messages come one by one),
// and the feed writes what is subscribed to. Each writes on its own;
// none waits for another but where the socket itself is full.
type socket struct {
	s    *Server
	who  principal
	me   *client
	conn *websocket.Conn
	pipe *pipe

	events   publisher     // of the reader alone
	waiting  *window       // bounds what was published and is not flushed
	quick    atomic.Bool   // the last flush was; the reader may wait for the next
	queue    chan publish  // to the publisher
	commands chan struct{} // places for them
	confirms chan struct{}
	running  sync.WaitGroup

	stopFeed func() // ends the feed and waits for it
	after    edge.Position
}

// getSocket upgrades. Host, Origin and key were checked before, as on any route.
func getSocket(s *Server, r *request) (any, error) {
	if err := checkUpgrade(r.Request); err != nil {
		return nil, err
	}
	ctx, me, err := s.enter(context.WithoutCancel(r.Context()), "socket", r.who)
	if err != nil {
		return nil, err
	}
	return takeover(func(w http.ResponseWriter) {
		defer s.clients.leave(me)
		hijack := &pipeWriter{ResponseWriter: w, write: s.lim.write}
		conn, err := websocket.Accept(hijack, r.Request, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{subprotocol}})
		if err != nil {
			return // it was answered
		}
		conn.SetReadLimit(int64(s.lim.events))
		k := &socket{
			s: s, who: r.who, me: me, conn: conn, pipe: hijack.pipe, events: s.publisher(r.who),
			waiting: newWindow(s.lim.inFlight), queue: make(chan publish, s.lim.inFlight),
			commands: make(chan struct{}, s.lim.commands), confirms: make(chan struct{}, s.lim.commands), stopFeed: func() {},
		}
		k.serve(ctx)
	}), nil
}

// checkUpgrade refuses what is no WebSocket handshake.
func checkUpgrade(r *http.Request) error {
	token := func(h, want string) bool {
		for _, v := range strings.Split(strings.Join(r.Header.Values(h), ","), ",") {
			if strings.EqualFold(strings.TrimSpace(v), want) {
				return true
			}
		}
		return false
	}
	if token("Connection", "upgrade") && token("Upgrade", "websocket") && r.Header.Get("Sec-WebSocket-Version") == "13" && len(r.Header.Get("Sec-WebSocket-Key")) == 24 {
		return nil
	}
	p := newProblem(http.StatusUpgradeRequired, "upgrade", "Upgrade required", "this is a WebSocket: connect with version 13 of it")
	p.header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}}
	return p
}

// serve blocks until the socket has ended, with all its goroutines.
func (k *socket) serve(ctx context.Context) {
	ctx, end := context.WithCancel(ctx)
	leave := func() { k.close(websocket.StatusGoingAway, "the agent ends this connection") }
	unhook := context.AfterFunc(ctx, leave)
	k.running.Go(func() { defer end(); k.publishAll(ctx) })
	k.running.Go(func() { defer end(); k.ping(ctx) })
	err := k.read(ctx)
	if err != nil && ctx.Err() == nil && websocket.CloseStatus(err) == -1 && !errors.Is(err, io.EOF) {
		k.s.log.Debug("end a socket", "key", k.who.name, "address", k.who.address(), "err", err)
	}
	end()
	k.waiting.close()
	close(k.queue)
	k.stopFeed()
	k.running.Wait()
	if unhook() {
		leave()
	}
	_ = k.conn.CloseNow()
}

// close says goodbye, and hangs up where the peer takes long to answer that: the
// library alone would wait for many seconds.
func (k *socket) close(code websocket.StatusCode, why string) {
	hang := time.AfterFunc(goodbye, func() { _ = k.pipe.Close() })
	_ = k.conn.Close(code, why)
	hang.Stop()
}

// ping notices a peer that is gone while nothing is written to it.
func (k *socket) ping(ctx context.Context) {
	t := time.NewTicker(k.s.lim.ping)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		wait, cancel := context.WithTimeout(ctx, k.s.lim.ping)
		err := k.conn.Ping(wait)
		cancel()
		if err != nil {
			return
		}
	}
}

// read takes messages until the socket ends.
func (k *socket) read(ctx context.Context) error {
	var a arena
	for {
		// Without a deadline of its own, reading needs no timer a message: ping ends it.
		kind, r, err := k.conn.Reader(context.Background())
		if err != nil {
			return err
		}
		b, err := a.read(r)
		if err != nil {
			return err
		}
		if kind != websocket.MessageText {
			k.close(websocket.StatusUnsupportedData, "send text")
			return errGone
		}
		m, err := readMessage(b)
		if err == nil {
			err = k.handle(ctx, &m)
		}
		if errors.Is(err, errGone) {
			return err
		}
		if err != nil {
			if err := k.fail(m.ref, err); err != nil {
				return err
			}
		}
	}
}

// handle does what a message asks for. An error is the client's to know.
func (k *socket) handle(ctx context.Context, m *message) error {
	switch m.op {
	case "publish":
		return k.publish(ctx, m)
	case "subscribe":
		return k.subscribe(ctx, m)
	case "unsubscribe":
		k.stopFeed()
		k.stopFeed = func() {}
		return k.answerAfter("unsubscribed", m.ref, k.after)
	case "command":
		return k.command(ctx, m)
	case "confirm":
		return k.confirm(ctx, m)
	default:
		return badRequest("op %q is not known: use subscribe, unsubscribe, publish, command or confirm", m.op)
	}
}

// send writes one message.
func (k *socket) send(b []byte) error {
	if err := k.conn.Write(context.Background(), websocket.MessageText, b); err != nil {
		k.me.end()
		return errGone
	}
	return nil
}

// fail tells what was wrong with a message.
func (k *socket) fail(ref []byte, err error) error {
	p := asProblem(err)
	if p.Status == http.StatusInternalServerError {
		k.s.log.Error("answer a message", "key", k.who.name, "err", err)
	}
	return k.send(appendFailure(nil, ref, p))
}

// arena reads messages into memory that is allocated in pieces, larger ones for
// those who send much: what is published stays where it was read until it is
// stored.
type arena struct {
	free []byte
	size int // of the last piece
}

const (
	arenaPiece = 64 << 10 // the largest
	arenaLeast = 2 << 10  // the first, and the least room to read into
)

func (a *arena) read(r io.Reader) ([]byte, error) {
	if len(a.free) < arenaLeast {
		a.size = min(max(2*a.size, arenaLeast), arenaPiece)
		a.free = make([]byte, a.size)
	}
	buf, n := a.free, 0
	for {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if n == len(buf) {
			bigger := make([]byte, 4*len(buf))
			copy(bigger, buf)
			buf = bigger
		}
	}
	a.free = buf[n:]
	return buf[:n:n], nil
}
