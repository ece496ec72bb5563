package main

import (
	"net"
	"sync"
)

// demoHall is the listener of the demo's broker. The library waits for its clients
// when it is closed, but not for one that it is just letting in: so nobody closes it
// before each connection is being read.
type demoHall struct {
	net.Listener

	mu     sync.Mutex
	begun  *sync.Cond
	coming int // connections that nobody reads yet
}

func newDemoHall(l net.Listener) *demoHall {
	d := &demoHall{Listener: l}
	d.begun = sync.NewCond(&d.mu)
	return d
}

// Accept waits for the next connection.
func (d *demoHall) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.count(1)
	return &demoGuest{Conn: c, in: sync.OnceFunc(func() { d.count(-1) })}, nil
}

func (d *demoHall) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.coming += n
	d.begun.Broadcast()
}

// shut lets nobody in any more, and waits for those who are on their way.
func (d *demoHall) shut() {
	_ = d.Listener.Close() // the server closes it again
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.coming > 0 {
		d.begun.Wait()
	}
}

// demoGuest is a connection that says when it is read first, or closed.
type demoGuest struct {
	net.Conn
	in func()
}

// Read reads.
func (g *demoGuest) Read(b []byte) (int, error) {
	g.in()
	return g.Conn.Read(b)
}

// Close closes.
func (g *demoGuest) Close() error {
	g.in()
	return g.Conn.Close()
}
