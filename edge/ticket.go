package edge

import "fieldpost/queue"

// Ticket is an event that may not have its number yet. Its methods are safe for
// concurrent use.
type Ticket struct {
	done chan struct{}

	// Until done is closed these belong to the Pump.
	ev    Event
	cause *Ticket
	rows  []queue.Row // stored with the event
	err   error
	size  int
}

func newTicket(ev Event, cause *Ticket) *Ticket {
	return &Ticket{done: make(chan struct{}), ev: ev, cause: cause}
}

// failed is the ticket of an event that will never be stored.
func failed(ev Event, err error) *Ticket {
	t := newTicket(ev, nil)
	t.finish(err)
	return t
}

// Done is closed when the event is stored, or never will be.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Event is the numbered event once Done is closed, or why it was lost. It waits
// for that.
func (t *Ticket) Event() (Event, error) {
	<-t.done
	return t.ev, t.err
}

// ID is the event's id, "" until it is stored. It does not wait.
func (t *Ticket) ID() string {
	select {
	case <-t.done:
		return t.ev.ID()
	default:
		return ""
	}
}

// finish tells those who wait.
func (t *Ticket) finish(err error) {
	if t.err = err; err != nil {
		t.ev.Epoch, t.ev.N, t.ev.Seq = 0, 0, 0
	}
	t.cause, t.rows = nil, nil // a chain of causes is not kept in memory
	close(t.done)
}

// resolve gives the event the id of its cause. The cause was queued before it, so
// it has its number, unless it was lost.
func (t *Ticket) resolve() {
	if t.cause != nil {
		t.ev.Cause = t.cause.ev.ID()
	}
}
