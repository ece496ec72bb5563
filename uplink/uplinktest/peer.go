package uplinktest

import (
	"context"
	"errors"
	"sync"

	"fieldpost/edge"
	"fieldpost/queue"
	"fieldpost/uplink"
)

// Peer is a sender whose peer is in memory, with a dial for what peers do. It
// takes no time of its own, so that testing/synctest can drive it.
type Peer struct {
	mu       sync.Mutex
	down     error
	hold     bool
	never    func(*edge.Event) error
	chokes   int
	unsent   int
	got      []edge.Event
	batches  []uplink.Batch
	connects int
	conn     *peerConn
	waiting  []uplink.Ack // held back
}

var _ uplink.Sender = (*Peer)(nil)

// NewPeer makes a peer that takes everything.
func NewPeer() *Peer { return &Peer{} }

// Down makes Connect fail with err; nil lets it work again. A connection that is
// open is lost.
func (p *Peer) Down(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = err
	if err != nil {
		p.loseLocked(err)
	}
}

// Lose ends the connection that is open.
func (p *Peer) Lose() { p.mu.Lock(); defer p.mu.Unlock(); p.loseLocked(uplink.ErrNotConnected) }

// Hold keeps acknowledgements back (true) or lets them go. What is taken is
// taken either way.
func (p *Peer) Hold(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = yes
	if !yes && p.conn != nil {
		for _, a := range p.waiting {
			p.conn.acks <- a
		}
		p.waiting = nil
	}
}

// Never sets which events the peer will never take, and why.
func (p *Peer) Never(why func(*edge.Event) error) { p.mu.Lock(); defer p.mu.Unlock(); p.never = why }

// Chokes makes the peer close the connection on data of more bytes, without a word.
func (p *Peer) Chokes(bytes int) { p.mu.Lock(); defer p.mu.Unlock(); p.chokes = bytes }

// SetUnsent sets the length of the socket queue.
func (p *Peer) SetUnsent(bytes int) { p.mu.Lock(); defer p.mu.Unlock(); p.unsent = bytes }

// Received is all that the peer took, in order.
func (p *Peer) Received() []edge.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]edge.Event(nil), p.got...)
}

// Batches are the batches as they came.
func (p *Peer) Batches() []uplink.Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uplink.Batch(nil), p.batches...)
}

// Connects counts the connections so far.
func (p *Peer) Connects() int { p.mu.Lock(); defer p.mu.Unlock(); return p.connects }

// Address is where the peer is.
func (p *Peer) Address() string { return "memory" }

// Connect opens the one connection.
func (p *Peer) Connect(context.Context) (uplink.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connects++
	if p.down != nil {
		return nil, p.down
	}
	p.waiting = nil
	p.conn = &peerConn{p: p, acks: make(chan uplink.Ack, 1<<16), lost: make(chan error, 1)}
	return p.conn, nil
}

func (p *Peer) loseLocked(err error) {
	if c := p.conn; c != nil && !c.dead {
		c.dead = true
		c.lost <- err
	}
}

type peerConn struct {
	p      *Peer
	acks   chan uplink.Ack // far more room than any window
	lost   chan error
	dead   bool // under p.mu
	closed bool
}

func (c *peerConn) Send(ctx context.Context, b uplink.Batch) error {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.dead || c.closed {
		return uplink.ErrNotConnected
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.Events = append([]edge.Event(nil), b.Events...)
	p.batches = append(p.batches, b)
	for i := range b.Events {
		ev := &b.Events[i]
		a := uplink.Ack{Ring: b.Ring, Range: queue.Range{From: ev.Seq, To: ev.Seq}, Events: 1}
		if ev.Hole != nil {
			a.Range = queue.Range{From: ev.Hole.From, To: ev.Hole.To}
		}
		if p.never != nil {
			a.Err = uplink.Permanent(p.never(ev))
		}
		if p.chokes > 0 && len(ev.Data) > p.chokes {
			p.loseLocked(errors.New("connection reset by peer"))
			return nil
		}
		if a.Err == nil {
			p.got = append(p.got, *ev)
		}
		if p.hold {
			p.waiting = append(p.waiting, a)
		} else {
			c.acks <- a
		}
	}
	return nil
}

func (c *peerConn) Acks() <-chan uplink.Ack { return c.acks }
func (c *peerConn) Lost() <-chan error      { return c.lost }

func (c *peerConn) Unsent() (int, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.p.unsent, nil
}

func (c *peerConn) Close(context.Context) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.acks)
		if c.p.conn == c {
			c.p.conn = nil
		}
	}
	return nil
}
