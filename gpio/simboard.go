package gpio

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/edge"
)

// maxTrace is how many changes of each line a simulated board remembers.
const maxTrace = 4096

// SimBoard is a 40-pin board in memory. Its lines behave as the kernel's do
// (FACTS.md 8): a bounded queue that drops the oldest edge and shows it only as
// a hole in line_seqno, debounce in software stamped after its period, levels
// set in the request, one holder a line. Its failure dial is in simfault.go.
type SimBoard struct {
	mono func() int64
	seed uint64
	id   string

	mu       sync.Mutex // guards everything below, and the lines' requests
	lines    [headerLines]simLine
	requests uint64
	gone     bool // unplugged
}

// SimOptions say how a simulated board behaves.
type SimOptions struct {
	// Mono is CLOCK_MONOTONIC in nanoseconds; nil is the kernel's. It stamps edges.
	Mono func() int64
	// Seed is what chance on the board is made of, and its requests' ids; 0 makes those
	// of this process alone.
	Seed uint64
	// Bounce is how long the contacts of all lines jump; see SimBoard.Bounce.
	Bounce time.Duration
}

// SimChange is one change of a line's physical level.
type SimChange struct {
	Level bool
	Mono  int64
}

// simLine is the wire of one line and what pulls at it.
type simLine struct {
	name   string
	level  bool  // physical, now
	driven *bool // what the outside holds it at; nil: nothing
	bias   Bias
	req    *simRequest
	trace  []SimChange
	faults simFaults
	part   Part // what hears this line as an output; nil: nothing
	bounce bounce
	script *SimScript // what was recorded of the line; nil: it is a line like any other
}

// Part is what is wired to an output of a simulated board. It hears each change
// before the call that made it returns, and answers at once by driving inputs
// with drive; what comes later it drives with SimBoard.Drive. It may call nothing
// else of the board.
type Part func(ch SimChange, drive func(pin edge.Pin, level bool))

var _ Chip = (*SimBoard)(nil)

// NewSimBoard makes a board that is in no registry: Lookup finds its pins.
func NewSimBoard(opt SimOptions) *SimBoard {
	b := &SimBoard{mono: opt.Mono, seed: opt.Seed, id: randomID()}
	if opt.Seed != 0 {
		b.id = fmt.Sprintf("%08x", Stream(opt.Seed, "requests").Uint32())
	}
	if b.mono == nil {
		b.mono = kernelMono
	}
	for i := range b.lines {
		l := &b.lines[i]
		l.name, l.bounce.last = lineName(i), opt.Bounce
		// As a Pi comes out of reset: 0 to 8 are pulled up, the others down.
		l.bias = BiasDown
		if i <= 8 {
			l.bias, l.level = BiasUp, true
		}
	}
	return b
}

// randomID is 4 random bytes as hex. It stands in each event of an input and need
// only differ from the few requests of a line that went before.
func randomID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// kernelMono reads CLOCK_MONOTONIC.
func kernelMono() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // can't happen: every Linux has this clock
	}
	return ts.Nano()
}

// Lookup finds a pin as gpioreg.ByName would, by name or header position.
func (b *SimBoard) Lookup(name string) periph.PinIO {
	if real, ok := aliases()[name]; ok {
		name = real
	}
	i, err := b.offset(name)
	if err != nil {
		return nil // untyped: the caller compares with nil
	}
	return b.pin(i)
}

// pin is a line as periph sees it.
func (b *SimBoard) pin(i int) *linePin {
	return &linePin{chip: b, offset: i, name: b.lines[i].name}
}

// offset finds a line by its name.
func (b *SimBoard) offset(name string) (int, error) {
	if isLine(name) {
		if i, err := strconv.Atoi(name[4:]); err == nil && i >= 0 && i < headerLines && lineName(i) == name {
			return i, nil
		}
	}
	return 0, absentError("find line "+name+" of the simulated board", nil)
}

// Attach wires a part to a line; it hears the line while that is an output. A
// line has one part, and an unknown line none.
func (b *SimBoard) Attach(pin edge.Pin, part Part) {
	i, err := b.offset(string(pin))
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines[i].part = part
}

// Drive holds a line at a physical level from outside, as a sensor would. It
// fails with unix.EPERM on a line that is an output now.
func (b *SimBoard) Drive(pin edge.Pin, level bool) error {
	i, err := b.offset(string(pin))
	if err != nil {
		return err
	}
	return b.drive(i, &level)
}

// Undrive lets a line go: its pull resistor decides.
func (b *SimBoard) Undrive(pin edge.Pin) error {
	i, err := b.offset(string(pin))
	if err != nil {
		return err
	}
	return b.drive(i, nil)
}

func (b *SimBoard) drive(i int, level *bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.strike(i, level)
}

// driveLocked is drive for who holds b.mu.
func (b *SimBoard) driveLocked(i int, level *bool) error {
	l := &b.lines[i]
	if l.req != nil && l.req.cfg.Output {
		return fmt.Errorf("drive %s: %s uses it as an output: %w", l.name, l.req.cfg.Consumer, unix.EPERM)
	}
	l.driven = level
	b.settle(l)
	return nil
}

// answer is how a part drives an input in the same instant. The caller holds b.mu.
func (b *SimBoard) answer(pin edge.Pin, level bool) {
	if i, err := b.offset(string(pin)); err == nil {
		_ = b.driveLocked(i, &level) // an output is the other's, as on a wire
	}
}

// Level is a line's physical level.
func (b *SimBoard) Level(pin edge.Pin) (bool, error) {
	i, err := b.offset(string(pin))
	if err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[i].level, nil
}

// Trace gives the changes of a line's physical level, oldest first, the newest
// 4,096 of them.
func (b *SimBoard) Trace(pin edge.Pin) []SimChange {
	i, err := b.offset(string(pin))
	if err != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]SimChange(nil), b.lines[i].trace...)
}

// settle works out a line's level and tells its request of a change. The caller
// holds b.mu.
func (b *SimBoard) settle(l *simLine) {
	level := l.level
	switch {
	case l.req != nil && l.req.cfg.Output:
		level = l.req.value != l.req.cfg.ActiveLow
	case l.driven != nil:
		level = *l.driven
	case l.bias == BiasUp:
		level = true
	case l.bias == BiasDown:
		level = false
	}
	if level == l.level {
		return
	}
	l.level = level
	if len(l.trace) == maxTrace {
		l.trace = append(l.trace[:0], l.trace[maxTrace/2:]...)
	}
	l.trace = append(l.trace, SimChange{level, b.mono()})
	switch {
	case l.req == nil:
	case !l.req.cfg.Output:
		l.req.rawEdge()
	case l.part != nil:
		l.part(l.trace[len(l.trace)-1], b.answer)
	}
}

// Info tells of a line.
func (b *SimBoard) Info(offset int) (LineInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || offset < 0 || offset >= headerLines {
		return LineInfo{}, absentError("ask the simulated board", unix.ENODEV)
	}
	l := &b.lines[offset]
	level := l.level
	info := LineInfo{Level: &level, Consumer: l.faults.holder}
	if l.req != nil {
		info.Consumer, info.Output, info.ActiveLow = l.req.cfg.Consumer, l.req.cfg.Output, l.req.cfg.ActiveLow
	}
	return info, nil
}

// Request takes a line. A parked one that is asked for by its name is taken
// over: its queue and its numbers go on, and an output keeps its level, whoever asks.
func (b *SimBoard) Request(offset int, cfg LineConfig) (Line, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("request line %s: %w", lineName(offset), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || offset < 0 || offset >= headerLines {
		return nil, absentError("request line "+lineName(offset), unix.ENODEV)
	}
	l := &b.lines[offset]
	if err := l.faults.request(l.name); err != nil {
		return nil, err
	}
	if l.req != nil {
		if l.req.owner != nil {
			return nil, &BusyError{l.name, l.req.cfg.Consumer}
		}
		if l.goesOn(cfg) {
			return b.adopt(l, cfg), nil
		}
		b.unpark(l)
	}
	b.requests++
	r := &simRequest{board: b, line: l, cfg: cfg, id: b.id + "-" + strconv.FormatUint(b.requests, 10),
		edges: make([]Edge, 0, cfg.buffer()), wake: make(chan struct{}, 1)}
	l.script.begin(r)
	r.value = cfg.Initial == High
	if cfg.Initial == Keep {
		r.value = l.level != cfg.ActiveLow
	}
	if cfg.Bias != BiasAsIs {
		l.bias = cfg.Bias
	}
	if !cfg.Output {
		b.settle(l) // before the request sees edges: a new pull is not one
	}
	l.req = r
	b.settle(l)
	r.debounced = l.level
	r.owner = &simOwner{req: r, done: make(chan struct{})}
	return r.owner, nil
}

// adopt gives a parked request a new owner. The caller holds b.mu.
func (b *SimBoard) adopt(l *simLine, cfg LineConfig) Line {
	r := l.req
	output, value := r.cfg.Output, r.value
	r.cfg = cfg
	if cfg.Output && !output {
		value = cfg.Initial == High
	}
	r.value = value
	if cfg.Bias != BiasAsIs {
		l.bias = cfg.Bias
	}
	b.settle(l)
	r.owner = &simOwner{req: r, done: make(chan struct{})}
	return r.owner
}
