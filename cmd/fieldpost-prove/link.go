package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Link is the line between the agent and its broker: a TCP proxy that watches
// what passes, and that can freeze, which neither side is told of, or be down,
// where a dial is answered and closed at once.
type Link struct {
	Addr string // where the agent dials

	target  string
	watcher Watcher
	ln      net.Listener
	wg      sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	thawed   chan struct{} // closed while the line is not frozen
	down     bool
	closed   bool
	accepted int
}

// Watcher sees each connection of a link.
type Watcher interface{ Watch() Watched }

// Watched sees one connection: each piece of bytes before it is passed on, and
// the end. An error ends the connection.
type Watched interface {
	Up(b []byte) error   // towards the broker
	Down(b []byte) error // towards the agent
	End()
}

// unwatched lets everything pass.
type unwatched struct{}

func (unwatched) Watch() Watched    { return unwatched{} }
func (unwatched) Up([]byte) error   { return nil }
func (unwatched) Down([]byte) error { return nil }
func (unwatched) End()              {}

// newLink listens and passes connections on to target.
func newLink(target string, w Watcher) (*Link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the link: %w", err)
	}
	thawed := make(chan struct{})
	close(thawed)
	l := &Link{Addr: ln.Addr().String(), target: target, watcher: w, ln: ln, conns: make(map[net.Conn]bool), thawed: thawed}
	l.wg.Add(1)
	go l.accept()
	return l, nil
}

// Close ends the listener and every connection.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Thaw()
	l.ln.Close()
	l.cut()
	l.wg.Wait()
}

// Down cuts the line and keeps it down; Up lets new connections through.
func (l *Link) Down() {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.cut()
}

// Up ends Down.
func (l *Link) Up() {
	l.mu.Lock()
	l.down = false
	l.mu.Unlock()
}

// Freeze stops reading on every connection, old and new, without closing any.
func (l *Link) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen() {
		return
	}
	l.thawed = make(chan struct{})
}

// Thaw lets the bytes through again.
func (l *Link) Thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen() {
		close(l.thawed)
	}
}

// Accepted is how many connections came so far.
func (l *Link) Accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

func (l *Link) frozen() bool {
	select {
	case <-l.thawed:
		return false
	default:
		return true
	}
}

func (l *Link) wait() {
	l.mu.Lock()
	thawed := l.thawed
	l.mu.Unlock()
	<-thawed
}

func (l *Link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

// hold notes a connection, so that a cut closes it; false where the line is down.
func (l *Link) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down || l.closed {
		c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Link) release(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.Close()
}

func (l *Link) accept() {
	defer l.wg.Done()
	for {
		c, err := l.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // such as no descriptors left: the next one may do
		}
		l.mu.Lock()
		l.accepted++
		l.mu.Unlock()
		if !l.hold(c) {
			continue
		}
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			defer l.release(c)
			l.serve(c)
		}()
	}
}

// serve passes one connection on until either side ends it.
func (l *Link) serve(agent net.Conn) {
	l.wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	var d net.Dialer
	broker, err := d.DialContext(ctx, "tcp", l.target)
	cancel()
	if err != nil {
		return
	}
	if !l.hold(broker) {
		return
	}
	defer l.release(broker)
	w := l.watcher.Watch()
	defer w.End()
	var both sync.WaitGroup
	both.Go(func() {
		l.pass(broker, agent, w.Up)
		broker.Close()
	})
	both.Go(func() {
		l.pass(agent, broker, w.Down)
		agent.Close()
	})
	both.Wait()
}

func (l *Link) pass(dst, src net.Conn, watch func([]byte) error) {
	buf := make([]byte, 128<<10)
	for {
		n, err := src.Read(buf)
		l.wait()
		if n > 0 {
			if werr := watch(buf[:n]); werr != nil {
				return
			}
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
