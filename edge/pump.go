package edge

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"fieldpost/queue"
)

// What Post and Commit can be refused for, beside the store's own errors.
var (
	// ErrBusy: as much waits to be stored as there is room for. Try again soon.
	ErrBusy = errors.New("too much waits to be stored")
	// ErrKeyReused: the idempotency key was used with another body.
	ErrKeyReused = errors.New("the idempotency key was used with another body")
	// ErrKeyRunning: a call with the same idempotency key has not been answered yet.
	ErrKeyRunning = errors.New("a call with this idempotency key is running")
)

// Ticket is an event that may not have its number yet.
type Ticket struct {
	done chan struct{}
	ev   Event
	err  error
}

// Done is closed when the event is stored, or never will be.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Event is the numbered event, once Done is closed; the error says why it was lost.
func (t *Ticket) Event() (Event, error) { return t.ev, t.err }

// ID is the event's id, "" until it is stored.
func (t *Ticket) ID() string { return t.ev.ID() }

// PumpOptions say where a Pump puts what it gets.
type PumpOptions struct {
	Agent   string
	Store   Appender
	Clock   *Clock
	React   func(*Event, *Ticket)
	Sync    func(ring string) time.Duration
	Log     *slog.Logger
	Room    int
	Reserve int
}

// Appender is what the Pump needs of the store. *queue.Store is one.
type Appender interface {
	Epoch() uint32
	NextN() uint64
	NextSeq(ring string) uint64
	Append(queue.Batch) (queue.Receipt, error)
	Get(table, key string) ([]byte, bool)
	Each(table, from string, fn func(key string, value []byte) bool) error
}

// Idempotency names a call, so that its repeat is answered and not stored again.
type Idempotency struct {
	Key  string   // "" for none; scoped by the caller's principal
	Body [32]byte // a hash of the body
}

// PumpStats is the state of the Pump.
type PumpStats struct {
	Waiting  int               // events that wait to be stored
	Bytes    int64             // and their size
	Lost     map[string]uint64 // events of devices that never got a number, by name
	Err      error             // of the last flush; nil when it worked
	Took     time.Duration     // the last flush
	Progress time.Time         // when the Pump last had nothing to do or a flush ended
	Flushes  uint64
	Events   uint64
}

// Pump is the one way into the store.
type Pump struct{ opt PumpOptions }

// NewPump makes a pump.
func NewPump(opt PumpOptions) *Pump { return &Pump{opt: opt} }

// Run stores until ctx is done.
func (p *Pump) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Emit takes an event of a device, a rule or the system.
func (p *Pump) Emit(ev Event, cause *Ticket) *Ticket { return &Ticket{done: make(chan struct{})} }

// Post stores events of a client.
func (p *Pump) Post(ctx context.Context, evs []Event, key Idempotency) ([]Event, error) {
	return nil, ErrBusy
}

// Commit stores rows.
func (p *Pump) Commit(ctx context.Context, rows ...queue.Row) error { return ErrBusy }

// CommitWith stores events and rows, all or nothing.
func (p *Pump) CommitWith(ctx context.Context, evs []Event, rows []queue.Row) ([]Event, error) {
	return nil, ErrBusy
}

// Stats is the state of the Pump.
func (p *Pump) Stats() PumpStats { return PumpStats{} }
