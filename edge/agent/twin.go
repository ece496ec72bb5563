package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/queue"
)

// apart is how far apart the parts of a twin begin: what two of them do every hour is
// then never at the same instant, and has an order.
const apart = 37 * time.Microsecond

// TwinOptions say what to run as a twin. Config, Board and World are needed.
type TwinOptions struct {
	Config  *config.Config // DataDir is where its store is; its API and uplinks are not used
	Version string
	Board   *TwinBoard
	Seed    uint64 // of all that is random; 0 is a seed like any other
	Bounce  time.Duration
	Sensor  gpio.SimSensor
	Traces  []*gpio.Trace
	Log     *slog.Logger // nil: discard

	// World is what happens around it. The twin ends when World returns, with its error.
	World func(ctx context.Context, t *Twin) error
	// Last, where it is set, is called once all is stored and before the store is closed.
	Last func(t *Twin) error
}

// Twin is a running agent without a machine: the drivers, the Pump, the store and the
// clock are those of the real one, the board and its sensors are simulated, and there
// is no socket, no API and no uplink. So it can run in a synctest bubble, where its
// time is virtual.
type Twin struct {
	Pins *gpio.SimBoard
	a    *agent
}

// Command does a command, as a client's would be.
func (t *Twin) Command(ctx context.Context, c edge.Command) (edge.Outcome, error) {
	return t.a.source.Command(ctx, c)
}

// Feed gives a step of a trace to the board, at its time.
func (t *Twin) Feed(s gpio.TraceStep) error { return t.a.twin.Feed(s) }

// Read reads events, as GET /v1/events does.
func (t *Twin) Read(q edge.Query) (edge.EventPage, error) { return t.a.read.Read(q) }

// RunTwin runs an agent without a machine until its World returns.
func RunTwin(ctx context.Context, opt TwinOptions) error {
	board := opt.Board.Board()
	pins := gpio.NewSimBoard(gpio.SimOptions{Mono: board.Mono, Seed: seedOf(opt.Seed), Bounce: opt.Bounce})
	a := &agent{started: time.Now(), failed: make(chan error, 1), log: opt.Log, opt: Options{
		Config: opt.Config, Version: opt.Version, Board: &board, Pins: pins, ids: newIDs(opt.Seed),
	}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.twin = gpio.NewTwin(gpio.TwinOptions{Board: pins, Seed: opt.Seed, Sensor: opt.Sensor, Mono: board.Mono, Alone: true})
	defer a.closeLines()
	for _, tr := range opt.Traces {
		if opt.Config.Devices[tr.Head.Device] == nil {
			return &ConfigError{fmt.Errorf("replay %s: the config has no such device", tr.Head.Device)}
		}
		if err := a.twin.Replay(tr); err != nil {
			return &ConfigError{err}
		}
	}
	if err := a.openBoard(); err != nil {
		return err
	}
	if err := a.tryStore(); err != nil {
		return err
	}
	defer a.closeStore()
	if err := a.openTwin(); err != nil {
		return err
	}
	return a.runTwin(ctx, &Twin{Pins: pins, a: a}, opt)
}

// openTwin makes what writes the store.
func (a *agent) openTwin() (err error) {
	if err := a.clock.Attach(a.store); err != nil {
		return fmt.Errorf("read the clock's table: %w", err)
	}
	a.pump = edge.NewPump(edge.PumpOptions{Agent: a.id, Store: a.store, Clock: a.clock, Sync: a.syncOf, Log: a.log})
	a.read = edge.NewLog(a.store, a.clock, a.id)
	if a.source, err = a.newSource(); err != nil {
		return &ConfigError{err}
	}
	return nil
}

// runTwin runs it as runParts does, its parts one after the other.
func (a *agent) runTwin(ctx context.Context, t *Twin, opt TwinOptions) error {
	pump, intake := newStage("the pump", a.failed), newStage("the devices", a.failed)
	pump.run("the pump", a.pump.Run)
	err := a.restore(ctx, opt.Traces)
	a.tellStart()
	for _, p := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"the clock", func(ctx context.Context) error { return a.clock.Run(ctx, a.pump) }},
		{"the store's watch", a.watchStore},
		{"the ledger", a.keepTwinLedger},
		{"the thinner", a.thinner().Run},
		{"the devices", a.source.Run},
	} {
		time.Sleep(apart)
		intake.run(p.name, p.run)
	}
	if err == nil {
		err = opt.World(ctx, t)
	}
	select {
	case failed := <-a.failed:
		err = failed
	default:
	}
	a.logged(intake.end(intakeBudget))
	a.tellTwinStop()
	a.logged(pump.end(pumpBudget))
	if err == nil && opt.Last != nil {
		err = opt.Last(t)
	}
	return err
}

// restore stores what the devices of traces had stored then.
func (a *agent) restore(ctx context.Context, traces []*gpio.Trace) error {
	var rows []queue.Row
	for _, tr := range traces {
		if table, key, value, ok := tr.Row(); ok {
			rows = append(rows, queue.Row{Table: table, Key: key, Value: value})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := a.pump.Commit(ctx, rows...); err != nil {
		return fmt.Errorf("store what the traces begin with: %w", err)
	}
	return nil
}

// keepTwinLedger tells the bounds of every ring each hour. What is written to the card
// underneath is not the twin's.
func (a *agent) keepTwinLedger(ctx context.Context) error {
	tick := time.NewTicker(ledgerEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.pump.Emit(edge.LedgerEvent(a.store), nil)
		}
	}
}

// tellTwinStop stores what is on its way and the ledger that closes it.
func (a *agent) tellTwinStop() {
	ctx, cancel := context.WithTimeout(context.Background(), idleWait)
	defer cancel()
	err := a.pump.Commit(ctx)
	if err == nil {
		_, err = a.pump.CommitWith(ctx, []edge.Event{edge.LedgerEvent(a.store)}, nil)
	}
	a.logged(err)
}

// seedOf is a seed for what takes 0 for none.
func seedOf(seed uint64) uint64 {
	if seed == 0 {
		return ^seed
	}
	return seed
}

// seededIDs are ids that a seed foretells.
type seededIDs struct{ *rand.ChaCha8 }

func newIDs(seed uint64) seededIDs {
	var key [32]byte
	rnd := gpio.Stream(seed, "ids")
	for i := range key {
		key[i] = byte(rnd.Uint32())
	}
	return seededIDs{rand.NewChaCha8(key)}
}

// TwinBoard is the machine of a twin: its clocks follow time.Now, which in a bubble
// is virtual, and its wall clock is synchronised until somebody sets it.
type TwinBoard struct {
	boot  string
	start time.Time // when it was made
	mono  int64     // CLOCK_MONOTONIC then

	mu     sync.Mutex
	offset time.Duration // wall = time.Now + offset
	steps  []chan struct{}
}

// NewTwinBoard makes a board whose wall clock says wall and whose CLOCK_MONOTONIC says
// mono, now.
func NewTwinBoard(boot string, wall time.Time, mono int64) *TwinBoard {
	now := time.Now()
	return &TwinBoard{boot: boot, start: now, mono: mono, offset: wall.Sub(now)}
}

// Board is the board as edge sees it.
func (b *TwinBoard) Board() edge.Board {
	return edge.Board{BootID: b.boot, Serial: "twin", Model: "twin", Mono: b.now, Wall: b.wall, Steps: b.watch,
		Adjtimex: func() (bool, time.Duration, error) { return true, time.Millisecond, nil }}
}

// Step sets the wall clock forward, or back where d is below 0.
func (b *TwinBoard) Step(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset += d
	for _, c := range b.steps {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (b *TwinBoard) now() int64 { return b.mono + int64(time.Since(b.start)) }

func (b *TwinBoard) wall() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.offset)
}

// watch ends with ctx.
func (b *TwinBoard) watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps = append(b.steps, c)
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range b.steps {
			if b.steps[i] == c {
				b.steps = append(b.steps[:i], b.steps[i+1:]...)
				break
			}
		}
		close(c)
	})
	return c
}
