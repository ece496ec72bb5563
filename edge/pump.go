package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// What one Post may bring, and one flush takes.
const (
	MaxPost      = 8192    // events
	MaxPostBytes = 4 << 20 // of their binary forms and rows
)

const (
	defaultRoom    = 16384
	defaultReserve = 4096

	roomBytes    = 16 << 20 // what waits is bounded by size as well
	reserveBytes = 4 << 20
)

// appender is what the Pump needs of the store. *queue.Store is one.
type appender interface {
	Epoch() uint32
	NextN() uint64
	NextSeq(ring string) uint64
	Append(queue.Batch) (queue.Receipt, error)
	Get(table, key string) ([]byte, bool)
	Each(table, from string, fn func(key string, value []byte) bool) error
}

// PumpOptions say where a Pump puts what it gets. Store and Clock are needed.
type PumpOptions struct {
	Agent string   // the agent's id
	Store appender // nothing else may append to it
	Clock *Clock   // attached to the store

	// React is called by Emit, on its goroutine, for each event. It must be quick.
	// The ticket is the cause of what it does.
	React func(*Event, *Ticket)

	// Sync is how long an event of a ring that no caller waits for may stay in RAM.
	// nil: 0.
	Sync func(ring string) time.Duration

	Log     *slog.Logger // nil: discard
	Room    int          // events that may wait; 16,384
	Reserve int          // events that may wait beyond that, of Emit only; 4,096
}

// Pump is the one way into the store. It has one queue for all rings: who flushes
// takes all that waits, numbers it, and stores it in one flush; meanwhile the next
// batch gathers. That is Run, or a caller that found nobody at it. Nothing waits
// for a timer, but for what Sync allows to.
//
// All methods are safe for concurrent use.
type Pump struct {
	opt  PumpOptions
	keys keyring
	wake chan struct{} // cap 1: there may be something to do

	flusher sync.Mutex // held by who flushes: Run, or a caller that found nobody at it

	mu       sync.Mutex
	units    []unit // first come, first stored
	count    int    // their events
	bytes    int
	waiters  int       // requests among them
	due      time.Time // when the first of them must be stored; the zero time is now
	asker    string    // the ring whose event set due; "" is a call
	asking   string    // the asker of the running flush
	asks     map[string]uint64
	lost     lossBook
	err      error // of the last flush
	retryAt  time.Time
	closed   bool
	flushing time.Time // when the running flush began; zero: none runs
	took     time.Duration
	flushes  uint64
	events   uint64

	batch batch // of who holds flusher
	wait  backoff
}

// unit is what is stored together or not at all: the event of a ticket, or all
// of a request.
type unit struct {
	t *Ticket
	r *request
}

func (u unit) events() int {
	if u.r != nil {
		return len(u.r.entries)
	}
	return 1
}

// ring is the ring whose Sync says when the unit is due; "" of a request, which is
// due at once.
func (u unit) ring() string {
	if u.r != nil {
		return ""
	}
	return u.t.ev.Ring
}

func (u unit) size() int {
	if u.r != nil {
		return u.r.size
	}
	return u.t.size
}

// NewPump makes a pump. It stores nothing until Run.
func NewPump(opt PumpOptions) *Pump {
	if opt.Room <= 0 {
		opt.Room = defaultRoom
	}
	if opt.Reserve <= 0 {
		opt.Reserve = defaultReserve
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pump{opt: opt, wake: make(chan struct{}, 1), asks: make(map[string]uint64)}
	p.keys.running = make(map[idemKey]bool)
	p.flusher.Lock() // until Run
	return p
}

// Emit takes an event of a device, a rule or the system, with the ticket of the
// event that caused it, or nil. It never blocks on the store, and calls React
// before anything is written. A Mono of 0 means now. The event is stored as soon as its
// ring's Sync asks, and tried again for as long as the store fails. Where there
// is no room for it, it is counted, and told by a loss event when there is. Data
// must not change until the ticket is done.
func (p *Pump) Emit(ev Event, cause *Ticket) *Ticket { return p.EmitWith(ev, cause) }

// EmitWith does the same with rows that are stored in the event's own flush, or
// lost with it.
func (p *Pump) EmitWith(ev Event, cause *Ticket, rows ...queue.Row) *Ticket {
	p.prepare(&ev)
	if err := ev.Validate(); err != nil {
		p.refuse(&ev, err)
		return failed(ev, err)
	}
	if ev.Mono == 0 {
		ev.Mono = p.opt.Clock.Stamp().Mono
	}
	t := newTicket(ev, cause)
	t.rows = rows
	t.size = len(ev.Data) + len(ev.Name) + len(ev.From) + overhead
	for _, row := range rows {
		t.size += len(row.Table) + len(row.Key) + len(row.Value)
	}
	wake, err := p.enqueueTicket(t)
	if err != nil {
		t.finish(err)
	}
	if p.opt.React != nil {
		p.opt.React(&ev, t) // also where it is lost: a full disk stops no rule
	}
	if wake {
		p.poke()
	}
	return t
}

// prepare fills in what every event has.
func (p *Pump) prepare(ev *Event) {
	if ev.Ring == "" {
		ev.Ring = RingFor(ev.Kind)
	}
	ev.Agent = p.opt.Agent
}

// refuse counts an event that can't be stored at all: a fault of its driver.
func (p *Pump) refuse(ev *Event, err error) {
	p.mu.Lock()
	first := p.lost.add(ev)
	p.mu.Unlock()
	if first {
		p.opt.Log.Warn("drop event", "from", ev.From, "err", err)
	}
}

// enqueueTicket queues a ticket, or counts it as lost. It is queued before React
// runs, so that a cause stands before its effects; wake says that Run must be
// told.
func (p *Pump) enqueueTicket(t *Ticket) (wake bool, err error) {
	var delay time.Duration
	if p.opt.Sync != nil {
		delay = p.opt.Sync(t.ev.Ring)
	}
	var due time.Time
	if delay > 0 {
		due = time.Now().Add(delay)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false, queue.ErrClosed
	}
	if p.count >= p.opt.Room+p.opt.Reserve || p.bytes+t.size > roomBytes+reserveBytes {
		p.lost.add(&t.ev)
		return false, ErrBusy
	}
	return p.push(unit{t: t}, due), nil
}

// push queues a unit; the caller holds mu. It is true where Run must be told.
func (p *Pump) push(u unit, due time.Time) bool {
	sooner := len(p.units) == 0 || due.Before(p.due)
	if sooner {
		p.due, p.asker = due, u.ring()
	}
	p.units = append(p.units, u)
	p.count += u.events()
	p.bytes += u.size()
	if u.r != nil {
		p.waiters++
	}
	return sooner || p.crowded()
}

// crowded: what waits fills a flush.
func (p *Pump) crowded() bool { return p.count >= MaxPost/2 || p.bytes >= MaxPostBytes/2 }

func (p *Pump) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Post stores events of a client, all or none, in one flush, and waits for it. It
// returns evs filled in with their numbers and times. A Mono of 0 means now.
//
// A call with a key that was answered before gets that answer again. It fails
// with ErrBusy where there is no room, ErrKeyReused, ErrKeyRunning,
// queue.ErrTooLarge beyond MaxPost or MaxPostBytes, an error of Validate, or the
// store's own (queue.ErrFull and others), which it gives at once and does not try again.
// When ctx ends first, the events may still be stored. A caller that finds nobody
// flushing does it, for itself and whatever else waits, and then waits for the disk
// even past ctx.
func (p *Pump) Post(ctx context.Context, evs []Event, key Idempotency) ([]Event, error) {
	if len(evs) == 0 {
		return evs, nil
	}
	if err := p.check(evs); err != nil {
		return nil, err
	}
	if key.Key == "" {
		return p.store(ctx, evs, nil, nil)
	}
	call := newKeyedCall(key)
	old, err := p.keys.begin(call, p.opt.Store, p.opt.Clock)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return p.replay(evs, old)
	}
	return p.store(ctx, evs, nil, call)
}

// Commit stores rows alone, in one flush with whatever else waits, and waits for
// it. Without rows it only waits for what was emitted before it.
func (p *Pump) Commit(ctx context.Context, rows ...queue.Row) error {
	_, err := p.store(ctx, nil, rows, nil)
	return err
}

// CommitWith stores events and rows, all or nothing, in one flush, and waits for
// it. It returns evs filled in, and fails as Post does.
func (p *Pump) CommitWith(ctx context.Context, evs []Event, rows []queue.Row) ([]Event, error) {
	if err := p.check(evs); err != nil {
		return nil, err
	}
	return p.store(ctx, evs, rows, nil)
}

func (p *Pump) check(evs []Event) error {
	for i := range evs {
		p.prepare(&evs[i])
		if err := evs[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// store queues a request and waits for its flush.
func (p *Pump) store(ctx context.Context, evs []Event, rows []queue.Row, call *keyedCall) ([]Event, error) {
	r, err := newRequest(p.opt.Clock, evs, rows)
	if err == nil {
		r.call = call
		err = p.submit(r)
	}
	if err != nil {
		p.keys.end(call)
		return nil, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the flush: %w", ctx.Err())
	}
	err = r.err
	if err == nil {
		r.fill(evs, p.opt.Clock)
	}
	r.recycle()
	if err != nil {
		return nil, err
	}
	return evs, nil
}

// submit queues a request, and flushes on the caller's own goroutine where nobody
// is at it: to wake Run and to be woken costs half as much as the flush. Under load
// somebody always is, and callers queue.
func (p *Pump) submit(r *request) error {
	free := p.flusher.TryLock()
	wake, err := p.enqueueRequest(r)
	if free {
		if err == nil {
			p.flushHere()
			wake = p.waiting() // what came meanwhile, or did not fit
		}
		p.flusher.Unlock()
	}
	if wake {
		p.poke()
	}
	return err
}

// flushHere flushes on a caller's goroutine. A panic in it ends the program, as it
// would in Run: a server that recovers one of its handlers' would go on with
// nobody flushing.
func (p *Pump) flushHere() {
	defer func() {
		if fault := recover(); fault != nil {
			go panic(fault)
			select {}
		}
	}()
	p.flush(p.take())
}

// enqueueRequest queues a request; wake says that Run must be told.
func (p *Pump) enqueueRequest(r *request) (wake bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return false, queue.ErrClosed
	case p.err != nil && time.Now().Before(p.retryAt):
		return false, p.err // it has just failed: the next try is for Run to begin
	case p.bytes > 0 && (p.count+len(r.entries) > p.opt.Room || p.bytes+r.size > roomBytes):
		if p.err != nil {
			return false, p.err
		}
		return false, ErrBusy
	}
	return p.push(unit{r: r}, time.Time{}), nil
}
