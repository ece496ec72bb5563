package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Spec is one uplink of the config.
type Spec struct {
	Name    string
	Sender  string // a row of Senders
	Options any    // what that row's Config gave, filled in

	Rings       []string      // nil: all but the guarded ones, those made later included
	Order       string        // InOrder (also "") or LiveFirst
	FromNow     bool          // a new uplink skips what is stored already
	BatchEvents int           // events in a message; 0 and 1: each on its own
	BatchWait   time.Duration // how long a message waits to fill
	Prefix      string        // of topics; "" is the sender's default
}

// pump is what the forwarder stores through. *edge.Pump is one.
type pump interface {
	Emit(ev edge.Event, cause *edge.Ticket) *edge.Ticket
	CommitWith(ctx context.Context, evs []edge.Event, rows []queue.Row) ([]edge.Event, error)
}

// ForwarderOptions say what an uplink works with. Log, Store and Pump are needed.
type ForwarderOptions struct {
	Spec
	Log   eventLog
	Store *queue.Store
	Pump  pump
	Agent string

	Devices func() []edge.DeviceStatus // nil: no states are published
	Command func(context.Context, edge.Command) (edge.Outcome, error)
	About   func() json.RawMessage // nil: nothing is told
	Wake    <-chan struct{}        // a route or address changed: try at once
	Dial    dialer                 // nil: the standard library's
	TLS     tlsSource              // nil: the system's roots
	Logger  *slog.Logger           // nil: discard

	Make Sender // takes the place of the table's; for tests
}

// Forwarder is one uplink: it keeps a connection to the peer, sends what its
// rings hold, and remembers what arrived.
type Forwarder struct {
	opt     ForwarderOptions
	log     *slog.Logger
	sender  Sender
	cursor  *queue.Cursor
	notices notices
	meter   meter
	suspect suspects
	closing sync.WaitGroup  // connections that are being closed
	shown   map[string]bool // devices whose state the peer has; of the session that is up, and of Follow before Run

	mu      sync.Mutex
	state   status
	session *session // of the connection that is up; nil: none is
	shrink  int      // how often the batch was halved
}

// status is what Status tells beside the numbers.
type status struct {
	name     string // connecting, up, down, stopped
	since    time.Time
	err      error
	next     time.Time
	inflight int
	refused  uint64
	connects uint64
}

// NewForwarder makes an uplink. Its cursor is made where it is new. Run starts it.
func NewForwarder(opt ForwarderOptions) (*Forwarder, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{opt: opt, log: opt.Logger.With("uplink", opt.Name), sender: opt.Make, shown: map[string]bool{}}
	f.notices = notices{uplink: opt.Name, pump: opt.Pump}
	f.state = status{name: "stopped", since: time.Now()}
	switch opt.Order {
	case "", InOrder, LiveFirst:
	default:
		return nil, fmt.Errorf("make uplink %q: order %q is neither %s nor %s", opt.Name, opt.Order, InOrder, LiveFirst)
	}
	if f.sender == nil {
		if err := f.makeSender(); err != nil {
			return nil, fmt.Errorf("make uplink %q: %w", opt.Name, err)
		}
	}
	fresh := !slices.Contains(opt.Store.Cursors(), opt.Name)
	f.cursor = opt.Store.Cursor(opt.Name)
	if fresh && opt.FromNow {
		f.cursor.SkipAll()
	}
	return f, nil
}

func (f *Forwarder) makeSender() error {
	for _, t := range Senders() {
		if t.Name != f.opt.Sender {
			continue
		}
		var err error
		f.sender, err = t.New(SenderEnv{
			Uplink: f.opt.Name, Agent: f.opt.Agent, StoreID: f.opt.Store.ID(), Prefix: f.opt.Prefix,
			Dial: f.opt.Dial, TLS: f.opt.TLS, Command: f.opt.Command, Log: f.log,
		}, f.opt.Options)
		return err
	}
	return fmt.Errorf("there is no sender %q", f.opt.Sender)
}

// Run keeps the uplink going until ctx is done. Then it takes up to 4 s to send
// what is stored, says goodbye, and returns nil. The store must stay open until
// it returned. What goes wrong on the way is in Status and in the log.
func (f *Forwarder) Run(ctx context.Context) error {
	defer f.closing.Wait()
	defer f.set(func(s *status) {
		*s = status{name: "stopped", since: time.Now(), refused: s.refused, connects: s.connects}
	})
	var sampling sync.WaitGroup
	sampled, stop := context.WithCancel(ctx)
	sampling.Go(func() { f.sample(sampled) })
	defer sampling.Wait()
	defer stop()

	waits := newBackoff(time.Now())
	for ctx.Err() == nil {
		began, up, err := f.once(ctx)
		if ctx.Err() != nil {
			break
		}
		now := time.Now()
		wait := waits.next(now)
		if errors.Is(err, ErrDenied) {
			wait = waits.slow()
		}
		if up {
			waits.ended(began, now)
			wait = waits.next(now)
		}
		f.down(err, now, wait, up)
		f.sleep(ctx, wait)
	}
	return nil
}

// once makes one connection and uses it until it ends. began and up tell whether
// and since when it was up.
func (f *Forwarder) once(ctx context.Context) (began time.Time, up bool, err error) {
	f.set(func(s *status) { s.name, s.next = "connecting", time.Time{} })
	conn, err := f.connect(ctx)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("connect to %s: %w", f.sender.Address(), err)
	}
	began = time.Now()
	f.set(func(s *status) { *s = status{name: "up", since: began, refused: s.refused, connects: s.connects + 1} })
	f.log.Info("uplink is up", "address", f.sender.Address())
	f.notices.state("up", nil, began)
	f.notices.ledger(func() edge.Event { return edge.LedgerEvent(f.opt.Store) }, began)
	s := newSession(f, conn)
	f.use(s)
	defer f.use(nil)
	return began, true, s.run(ctx)
}

// use notes which connection is up.
func (f *Forwarder) use(s *session) { f.mu.Lock(); defer f.mu.Unlock(); f.session = s }

// connect tries to connect. A route or address that changes ends a try that has
// been waiting for a while, since its packets may have gone nowhere; the one
// after it is left alone, so that a line that flaps can't keep us from it.
func (f *Forwarder) connect(ctx context.Context) (Conn, error) {
	conn, woken, err := f.try(ctx, f.opt.Wake)
	if woken {
		conn, _, err = f.try(ctx, nil)
	}
	return conn, err
}

// try makes one try, which a token of wake may end once it is hurryAfter old.
func (f *Forwarder) try(ctx context.Context, wake <-chan struct{}) (conn Conn, woken bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		young := time.NewTimer(hurryAfter)
		defer young.Stop()
		select {
		case <-young.C:
		case <-done:
			return
		}
		select {
		case <-wake:
			woken = true
			cancel()
		case <-done:
		}
	})
	conn, err = f.sender.Connect(ctx)
	close(done)
	watch.Wait()
	return conn, woken && err != nil, err
}

// down notes why there is no connection now.
func (f *Forwarder) down(err error, now time.Time, wait time.Duration, wasUp bool) {
	if wasUp {
		f.notices.state("down", err, now)
	}
	f.log.Warn("uplink is down", "error", err, "next_try", wait.Round(time.Millisecond))
	f.set(func(s *status) {
		if wasUp || s.err == nil {
			s.since = now
		}
		s.name, s.err, s.next, s.inflight = "down", err, now.Add(wait), 0
	})
}

// sleep waits for the next try, or for a line that may have come back.
func (f *Forwarder) sleep(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.opt.Wake:
		f.log.Info("a route or address changed: trying at once")
	case <-ctx.Done():
	}
}

// takes reports whether a ring is one of this uplink's.
func (f *Forwarder) takes(ring string) bool {
	if f.opt.Rings == nil {
		return !edge.Guarded(ring)
	}
	return slices.Contains(f.opt.Rings, ring)
}

// per is how many events a message may have now.
func (f *Forwarder) per() int { return max(f.opt.BatchEvents>>f.halved(), 1) }

// halved is how often the batch was halved, less how often that was taken back.
func (f *Forwarder) halved() int { f.mu.Lock(); defer f.mu.Unlock(); return f.shrink }

func (f *Forwarder) halve()  { f.mu.Lock(); defer f.mu.Unlock(); f.shrink = min(f.shrink+1, 12) }
func (f *Forwarder) double() { f.mu.Lock(); defer f.mu.Unlock(); f.shrink = max(f.shrink-1, 0) }

func (f *Forwarder) set(change func(*status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
}

// Probe tests the way to the peer step by step, beside the connection that runs.
func (f *Forwarder) Probe(ctx context.Context) ([]Step, error) {
	p, ok := f.sender.(Prober)
	if !ok {
		return nil, fmt.Errorf("probe uplink %q: a %s sender can't be tested", f.opt.Name, f.opt.Sender)
	}
	return p.Probe(ctx)
}
