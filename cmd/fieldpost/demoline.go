package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// demoLine is the line to the broker: a TCP proxy that can be cut. While it is
// cut, connections end as they begin.
type demoLine struct {
	door net.Listener
	to   string
	wg   sync.WaitGroup

	mu     sync.Mutex
	isCut  bool
	closed bool
	open   map[net.Conn]struct{}
}

func newDemoLine(to string) (*demoLine, error) {
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the line to the broker: %w", err)
	}
	l := &demoLine{door: door, to: to, open: map[net.Conn]struct{}{}}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *demoLine) addr() string { return l.door.Addr().String() }

func (l *demoLine) accept() {
	for {
		c, err := l.door.Accept()
		if err != nil {
			return // closed
		}
		l.wg.Go(func() { l.carry(c) })
	}
}

// carry copies both ways until one end is done or the line is cut.
func (l *demoLine) carry(in net.Conn) {
	defer in.Close()
	if !l.keep(in) {
		return
	}
	defer l.drop(in)
	out, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer out.Close()
	if !l.keep(out) {
		return
	}
	defer l.drop(out)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(out, in) // either end may go at any time
		_ = out.Close()
	})
	_, _ = io.Copy(in, out)
	_ = in.Close()
	both.Wait()
}

// keep notes a connection, so that a cut finds it; false: the line is cut.
func (l *demoLine) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut || l.closed {
		return false
	}
	l.open[c] = struct{}{}
	return true
}

func (l *demoLine) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// cut cuts the line, or joins it again.
func (l *demoLine) cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = cut
	if cut {
		l.breakAll()
	}
}

// cutFor is cut for the API, which names an uplink; there is one.
func (l *demoLine) cutFor(_ context.Context, _ string, cut bool) error {
	l.cut(cut)
	return nil
}

// breakAll ends what is open. l.mu must be held.
func (l *demoLine) breakAll() {
	for c := range l.open {
		_ = c.Close()
	}
}

func (l *demoLine) close() {
	_ = l.door.Close()
	l.mu.Lock()
	l.closed = true
	l.breakAll()
	l.mu.Unlock()
	l.wg.Wait()
}
