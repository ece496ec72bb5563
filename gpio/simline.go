package gpio

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// simRequest is what the kernel keeps of a line request. Its board's mutex
// guards it.
type simRequest struct {
	board *SimBoard
	line  *simLine
	cfg   LineConfig
	id    string
	owner *simOwner // nil while it is parked

	value     bool // of an output: the logical level
	debounced bool // of a debounced input: the physical level after debounce
	timer     *time.Timer
	turn      uint64 // counts the timer's settings: an old one that still fires does nothing

	edges []Edge // the queue, oldest first
	seqno uint32
	wake  chan struct{} // a token: look again
}

// rawEdge is the interrupt: the physical level has just changed.
func (r *simRequest) rawEdge() {
	if r.line.script != nil {
		return // its edges are those that were recorded
	}
	if r.cfg.Debounce <= 0 {
		r.push(r.line.level)
		return
	}
	// The kernel's software debounce: each edge begins the period anew, and what
	// the level is at its end counts, stamped then.
	r.turn++
	turn := r.turn
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(r.cfg.Debounce, func() {
		r.board.mu.Lock()
		defer r.board.mu.Unlock()
		if r.turn == turn && r.debounced != r.line.level {
			r.debounced = r.line.level
			r.push(r.line.level)
		}
	})
}

// push queues an edge to a physical level.
func (r *simRequest) push(level bool) {
	rising := level != r.cfg.ActiveLow
	want := Falling
	if rising {
		want = Rising
	}
	if r.cfg.Edges&want == 0 {
		return
	}
	faults := &r.line.faults
	if faults.swallow > 0 {
		faults.swallow-- // never reached the queue: no number either
		return
	}
	r.seqno++
	if faults.drop > 0 {
		faults.drop--
		return
	}
	r.queue(Edge{Rising: rising, Mono: r.board.mono(), Seqno: r.seqno, LineSeqno: r.seqno})
}

// queue puts an edge at the end of the queue.
func (r *simRequest) queue(e Edge) {
	if len(r.edges) == cap(r.edges) {
		copy(r.edges, r.edges[1:]) // as kfifo_skip: the oldest goes, without a sign
		r.edges = r.edges[:len(r.edges)-1]
	}
	r.edges = append(r.edges, e)
	r.signal()
}

// signal wakes the reader.
func (r *simRequest) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stop ends the debounce timer.
func (r *simRequest) stop() {
	r.turn++
	if r.timer != nil {
		r.timer.Stop()
	}
}

// simOwner is one holder's descriptor of a request.
type simOwner struct {
	req  *simRequest
	done chan struct{} // closed when the holder let go
	gone bool          // the chip went away under it; guarded by the board's mutex
}

var _ Line = (*simOwner)(nil)

// ID names the request.
func (o *simOwner) ID() string { return o.req.id }

// Kernel is true: the board queues, stamps and counts.
func (o *simOwner) Kernel() bool { return true }

// check reports why the descriptor can't be used. The caller holds the board's mutex.
func (o *simOwner) check(verb string) error {
	switch {
	case o.gone:
		return absentError(verb+" "+o.req.line.name, unix.ENODEV)
	case o.req.owner != o:
		return fmt.Errorf("%s %s: %w", verb, o.req.line.name, unix.EBADF)
	}
	return nil
}

// NextEdge waits for an edge.
func (o *simOwner) NextEdge(ctx context.Context) (Edge, error) {
	for {
		if e, ok, err := o.take(); ok || err != nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return Edge{}, ctx.Err()
		case <-o.done:
		case <-o.req.wake:
		}
	}
}

// take removes the oldest edge of the queue, as read(2) does.
func (o *simOwner) take() (Edge, bool, error) {
	r := o.req
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	if err := o.check("wait for an edge of"); err != nil {
		return Edge{}, false, err
	}
	if len(r.edges) == 0 {
		return Edge{}, false, nil
	}
	e := r.edges[0]
	copy(r.edges, r.edges[1:])
	r.edges = r.edges[:len(r.edges)-1]
	return e, true, nil
}

// Level is the logical level, after debounce.
func (o *simOwner) Level() (bool, error) {
	r := o.req
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	if err := o.check("read"); err != nil {
		return false, err
	}
	switch {
	case r.cfg.Output:
		return r.value, nil
	case r.cfg.Debounce > 0:
		return r.debounced != r.cfg.ActiveLow, nil
	}
	return r.line.level != r.cfg.ActiveLow, nil
}

// Set sets an output.
func (o *simOwner) Set(level bool) (int64, error) {
	r := o.req
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	if err := o.check("set"); err != nil {
		return 0, err
	}
	if !r.cfg.Output {
		return 0, fmt.Errorf("set %s: it is an input: %w", r.line.name, unix.EPERM)
	}
	if err := r.line.faults.set(r.line.name); err != nil {
		return 0, err
	}
	r.value = level
	r.board.settle(r.line)
	return r.board.mono(), nil
}

// Close releases the line: an output becomes an input, and its pull decides.
func (o *simOwner) Close() error {
	r := o.req
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	if r.owner != o {
		return nil
	}
	o.letGo()
	r.stop()
	r.line.req = nil
	r.board.settle(r.line)
	return nil
}

// Park lets go of a line that has a name to be parked under.
func (o *simOwner) Park() error {
	if o.req.cfg.Park == "" {
		return o.Close()
	}
	o.req.board.mu.Lock()
	defer o.req.board.mu.Unlock()
	if o.req.owner == o {
		o.letGo()
	}
	return nil
}

// letGo ends a wait in progress. The caller holds the board's mutex.
func (o *simOwner) letGo() {
	o.req.owner = nil
	close(o.done)
}
