package gpio

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// take requests a line. An output gets its level before it becomes one. It takes at most
// expanderWithin.
func (x *expander) take(bit int, cfg LineConfig) (Line, error) {
	l := &expanderLine{x: x, bit: bit, mask: 1 << bit, name: fmt.Sprintf("%s.%c%d", x.name, 'A'+bit/8, bit%8), cfg: cfg, news: make(chan struct{}, 1)}
	if cfg.Bias == BiasDown {
		return nil, fmt.Errorf("request line %s: an MCP23017 has no pull-down: %w", l.name, unix.EINVAL)
	}
	if !cfg.Output && bit%8 == 7 {
		x.log.Warn("Microchip means this line to be an output: as an input it may disturb the bus (DS20001952D)", "line", l.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), expanderWithin)
	defer cancel()
	if err := x.lock(ctx); err != nil { // first: no poll may look at a line that is not set up
		return nil, fmt.Errorf("request line %s: %w", l.name, err)
	}
	defer x.unlock()
	if err := x.enter(l); err != nil {
		return nil, err
	}
	set := l.input
	if cfg.Output {
		set = l.output
	}
	if err := set(ctx); err != nil {
		if !errors.Is(err, errNoTurn) {
			x.fail(err)
		}
		x.leave(l)
		return nil, fmt.Errorf("request line %s: %w", l.name, err)
	}
	return l, nil
}

// enter notes who has a line.
func (x *expander) enter(l *expanderLine) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return x.err
	}
	if other := x.lines[l.bit]; other != nil {
		return &BusyError{Line: l.name, Holder: other.cfg.Consumer}
	}
	x.lines[l.bit] = l
	return nil
}

// leave forgets it.
func (x *expander) leave(l *expanderLine) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lines[l.bit] == l {
		x.lines[l.bit] = nil
	}
	select {
	case x.freed <- struct{}{}:
	default:
	}
}

// put writes one bit of a register pair, whose present value is at was. The error wraps
// errNoTurn where no try reached the bus. The caller holds x.turn.
func (x *expander) put(ctx context.Context, reg int, was *uint16, mask uint16, on bool) error {
	v := *was &^ mask
	if on {
		v |= mask
	}
	port := 0
	if mask > 0xff {
		port = 1
	}
	var begun error // what became of a try that may have written
	err := again(ctx, func() error {
		err := x.write(ctx, byte(reg+port), byte(v>>(8*port)))
		if !errors.Is(err, errNoTurn) {
			begun = err
		}
		return err
	})
	switch {
	case err != nil && begun != nil:
		return begun
	case err != nil:
		return err
	}
	*was = v
	return nil
}

// expanderLine is one line of an expander. What it knows of its edges the poll told it.
type expanderLine struct {
	x    *expander
	bit  int
	mask uint16
	name string
	cfg  LineConfig
	news chan struct{} // a token: look at the queue again

	// The expander's mu guards the rest.
	closed bool
	level  bool   // logical: of an input as told, of an output as set
	raw    bool   // of an input: as read last
	since  int64  // when raw became that
	queue  []Edge // at most MaxBuffer: the oldest go, and their numbers show it
	seq    uint32
}

var _ Line = (*expanderLine)(nil)

// output makes it one. The caller holds x.turn.
func (l *expanderLine) output(ctx context.Context) error {
	high := (l.cfg.Initial == High) != l.cfg.ActiveLow
	if l.cfg.Initial == Keep {
		high = l.x.levels&l.mask != 0
		if l.x.dir&l.mask == 0 {
			high = l.x.latch&l.mask != 0
		}
	}
	l.level = high != l.cfg.ActiveLow
	if err := l.x.put(ctx, expLatch, &l.x.latch, l.mask, high); err != nil {
		return err
	}
	return l.x.put(ctx, expDir, &l.x.dir, l.mask, false)
}

// input makes it one, and reads its level. The caller holds x.turn.
func (l *expanderLine) input(ctx context.Context) error {
	if err := l.x.put(ctx, expDir, &l.x.dir, l.mask, true); err != nil {
		return err
	}
	if l.cfg.Bias != BiasAsIs {
		if err := l.x.put(ctx, expPull, &l.x.pull, l.mask, l.cfg.Bias == BiasUp); err != nil {
			return err
		}
	}
	var b [2]byte
	if err := again(ctx, func() error { return l.x.read(ctx, expGPIO, b[:]) }); err != nil {
		return err
	}
	l.level = (word(b[:])&l.mask != 0) != l.cfg.ActiveLow
	l.raw = l.level
	return nil
}

// observe takes a level that was read. A change counts once it has been there for the
// debounce period, and has the time when it began. The caller holds x.mu.
func (l *expanderLine) observe(high bool, mono int64) {
	if level := high != l.cfg.ActiveLow; level != l.raw {
		l.raw, l.since = level, mono
	}
	if l.raw == l.level || mono-l.since < int64(l.cfg.Debounce) {
		return
	}
	l.level = l.raw
	want := Falling
	if l.level {
		want = Rising
	}
	if l.cfg.Edges&want == 0 {
		return
	}
	l.seq++
	if len(l.queue) >= l.cfg.buffer() {
		l.queue = append(l.queue[:0], l.queue[1:]...)
	}
	l.queue = append(l.queue, Edge{Rising: l.level, Mono: l.since + int64(l.cfg.Debounce), Seqno: l.seq, LineSeqno: l.seq, ByAgent: true})
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// ID is empty: nothing of this line outlives its owner.
func (l *expanderLine) ID() string { return "" }

// Kernel is false.
func (l *expanderLine) Kernel() bool { return false }

// gone is closed once the part is broken, and the line with it: an output's owner waits
// for no edges, which would tell it.
func (l *expanderLine) gone() <-chan struct{} { return l.x.broken }

// NextEdge waits for an edge that the poll saw, or for the end of the part.
func (l *expanderLine) NextEdge(ctx context.Context) (Edge, error) {
	for {
		e, ok, err := l.next()
		if ok || err != nil {
			return e, err
		}
		if err := ctx.Err(); err != nil {
			return Edge{}, err
		}
		select {
		case <-l.news:
		case <-l.x.broken:
		case <-ctx.Done():
		}
	}
}

// next is an edge that waits.
func (l *expanderLine) next() (e Edge, ok bool, err error) {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	if len(l.queue) > 0 && !l.closed {
		e, l.queue = l.queue[0], l.queue[1:]
		return e, true, nil
	}
	return Edge{}, false, l.overLocked("wait for an edge of")
}

// overLocked is why nothing can be done with the line any more. The caller holds x.mu.
func (l *expanderLine) overLocked(what string) error {
	switch {
	case l.closed:
		return fmt.Errorf("%s %s: %w", what, l.name, unix.EBADF)
	case l.x.err != nil:
		return fmt.Errorf("%s %s: %w", what, l.name, l.x.err)
	}
	return nil
}

// Level is an input's as the poll saw it last, debounced; an output's as it was set.
func (l *expanderLine) Level() (bool, error) {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	return l.level, l.overLocked("read")
}

// Set sets an output. It takes at most expanderWithin. Where the bus was another's all
// that time, the error wraps ErrBusHeld and nothing was written; else the part is broken.
func (l *expanderLine) Set(level bool) (int64, error) {
	if !l.cfg.Output {
		return 0, fmt.Errorf("set %s: it is an input: %w", l.name, unix.EPERM)
	}
	x := l.x
	ctx, cancel := context.WithTimeout(context.Background(), expanderWithin)
	defer cancel()
	if err := x.lock(ctx); err != nil {
		return 0, fmt.Errorf("set %s: %w", l.name, err)
	}
	defer x.unlock()
	x.mu.Lock()
	err := l.overLocked("set")
	x.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if err := x.put(ctx, expLatch, &x.latch, l.mask, level != l.cfg.ActiveLow); err != nil {
		err = fmt.Errorf("set %s: %w", l.name, err)
		if !errors.Is(err, errNoTurn) {
			x.fail(err) // whether it was written is not known
		}
		return 0, err
	}
	mono := x.mono()
	x.mu.Lock()
	l.level = level
	x.mu.Unlock()
	return mono, nil
}

// Close lets go of the line. It stays as it is: an input harms nobody, and an output has
// the level that its owner left it at.
func (l *expanderLine) Close() error {
	l.x.mu.Lock()
	l.closed = true
	l.x.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
	l.x.leave(l)
	return nil
}

// Park is Close: nothing can be parked.
func (l *expanderLine) Park() error { return l.Close() }
