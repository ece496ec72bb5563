package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"
)

// A pin of another periph driver can only be waited on. Zero and negative
// timeouts mean different things in different drivers, so a wait is always a
// finite slice (FACTS.md 1.2).
const (
	waitSlice = 250 * time.Millisecond
	pollEvery = 20 * time.Millisecond
)

// polledLine is a Line over periph's own calls: an expander's pin. It sees an
// edge only while NextEdge waits, and finds by reading what a wait missed.
type polledLine struct {
	pin  periph.PinIO
	cfg  LineConfig
	mono func() int64

	mu     sync.Mutex // guards the rest and keeps Set and Close apart
	level  bool       // of an output: as set
	closed bool

	last bool   // NextEdge's own: the level told last
	seq  uint32 // NextEdge's own
}

var _ Line = (*polledLine)(nil)

// openPolled sets up the pin.
func openPolled(p periph.PinIO, cfg LineConfig, mono func() int64) (Line, error) {
	l := &polledLine{pin: p, cfg: cfg, mono: mono}
	if cfg.Output {
		if cfg.Initial == Keep {
			return nil, fmt.Errorf("request line %s: its driver can't tell an output's level, so hold is not possible; use off, on or last", p.Name())
		}
		l.level = cfg.Initial == High
		if err := p.Out(periph.Level(l.level != cfg.ActiveLow)); err != nil {
			return nil, fmt.Errorf("request line %s: %w", p.Name(), err)
		}
		return l, nil
	}
	// Both edges even where one is asked for: a debounced level needs both.
	if err := p.In(pullOf(cfg.Bias), periph.BothEdges); err != nil {
		// Not every expander has interrupts: reading alone still works.
		if err = p.In(pullOf(cfg.Bias), periph.NoEdge); err != nil {
			return nil, fmt.Errorf("request line %s: %w", p.Name(), err)
		}
	}
	l.last = l.read()
	return l, nil
}

// pullOf is the bias in periph's words.
func pullOf(b Bias) periph.Pull {
	switch b {
	case BiasOff:
		return periph.Float
	case BiasUp:
		return periph.PullUp
	case BiasDown:
		return periph.PullDown
	}
	return periph.PullNoChange
}

// ID is empty: nothing of this line outlives its owner.
func (l *polledLine) ID() string { return "" }

// Kernel is false.
func (l *polledLine) Kernel() bool { return false }

// read is the logical level of an input.
func (l *polledLine) read() bool { return bool(l.pin.Read()) != l.cfg.ActiveLow }

// NextEdge waits in slices and reads after each, so that neither a missed
// interrupt nor a driver that returns at once hides the final level.
func (l *polledLine) NextEdge(ctx context.Context) (Edge, error) {
	for {
		if l.isClosed() {
			return Edge{}, fmt.Errorf("wait for an edge of %s: %w", l.pin.Name(), unix.EBADF)
		}
		if e, ok := l.changed(ctx); ok {
			return e, nil
		}
		if err := ctx.Err(); err != nil {
			return Edge{}, err
		}
		began := time.Now()
		if !l.pin.WaitForEdge(waitSlice) && time.Since(began) < waitSlice/2 {
			// It does not wait at all: poll, so that no core is burnt.
			pause(ctx, pollEvery)
		}
	}
}

// changed settles the level and reports whether it is another one.
func (l *polledLine) changed(ctx context.Context) (Edge, bool) {
	if l.read() == l.last {
		return Edge{}, false
	}
	if l.cfg.Debounce > 0 && !l.settle(ctx) {
		return Edge{}, false
	}
	l.last = !l.last
	if want := map[bool]EdgeMask{true: Rising, false: Falling}[l.last]; l.cfg.Edges&want == 0 {
		return Edge{}, false
	}
	l.seq++
	return Edge{Rising: l.last, Mono: l.mono(), Seqno: l.seq, LineSeqno: l.seq, ByAgent: true}, true
}

// settle waits until the pin was quiet for the debounce period, and reports
// whether it then still is at another level than the last.
func (l *polledLine) settle(ctx context.Context) bool {
	quiet := time.Now()
	for level := !l.last; time.Since(quiet) < l.cfg.Debounce && ctx.Err() == nil; {
		pause(ctx, min(l.cfg.Debounce-time.Since(quiet), time.Millisecond))
		if now := l.read(); now != level {
			level, quiet = now, time.Now()
		}
	}
	return ctx.Err() == nil && l.read() != l.last
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (l *polledLine) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Level reads an input; an output's is what it was set to, since reading one
// turns it into an input with some drivers.
func (l *polledLine) Level() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.Output {
		return l.level, nil
	}
	return l.read(), nil
}

// Set sets an output.
func (l *polledLine) Set(level bool) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return 0, fmt.Errorf("set %s: %w", l.pin.Name(), unix.EBADF)
	case !l.cfg.Output:
		return 0, fmt.Errorf("set %s: it is an input: %w", l.pin.Name(), unix.EPERM)
	}
	if err := l.pin.Out(periph.Level(level != l.cfg.ActiveLow)); err != nil {
		return 0, fmt.Errorf("set %s: %w", l.pin.Name(), err)
	}
	l.level = level
	return l.mono(), nil
}

// Close halts the pin.
func (l *polledLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.cfg.Output {
		return nil // halting an output may change its level
	}
	if err := l.pin.Halt(); err != nil && !errors.Is(err, unix.EBADF) {
		return fmt.Errorf("release %s: %w", l.pin.Name(), err)
	}
	return nil
}

// Park is Close: nothing can be parked.
func (l *polledLine) Park() error { return l.Close() }
