package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fieldpost/edge"
)

// MCP23017 is the config of an mcp23017: sixteen more lines on I2C.
type MCP23017 struct {
	Address uint16        `mapstructure:"mcp23017"` // 0x20 to 0x27
	Bus     string        `mapstructure:"bus"`
	Every   edge.Duration `mapstructure:"every"` // how often the inputs are read
}

// How long others wait for the part's first answer, how long a line's own transfer may
// take, and how long the part waits at the end for the lines to be left safe: less than
// a second in all, the time that a device has to stop.
const (
	expanderWait   = 500 * time.Millisecond
	expanderWithin = 500 * time.Millisecond
	expanderLinger = 800 * time.Millisecond
)

// expanderCheck is how often all registers are compared with what was set.
const expanderCheck = time.Second

func mcp23017Driver() Driver {
	return Driver{
		Name: "mcp23017",
		Doc: "Microchip's MCP23017 on I2C, at 0x20 to 0x27: sixteen more lines. Other devices name them as NAME.A0 to NAME.A7 and NAME.B0 to NAME.B7, such as digital_in: NAME.A0. " +
			"The inputs are read each every, and their edges are stamped by the agent; pull: up is there, pull: down is not. A7 and B7 are meant to be outputs. " +
			"Outputs that nobody names stay as they are. value is told at the start: the levels of all lines, A0 is worth 1 and B7 32768.",
		Example: "more: {mcp23017: 0x20, bus: I2C1, every: 20ms}",
		Config: func() any {
			return &MCP23017{Address: 0x20, Bus: "I2C1", Every: edge.Duration(20 * time.Millisecond)}
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[MCP23017](v)
			if err != nil {
				return nil, err
			}
			if cfg.Every < edge.Duration(time.Millisecond) {
				err = fmt.Errorf("every is %s: it must be 1ms or more", cfg.Every)
			}
			return &mcp23017{env: env, cfg: *cfg, tried: make(chan struct{})}, errors.Join(err, i2cAddress("MCP23017", cfg.Address, 0x20, 0x27))
		},
	}
}

// mcp23017 is the device.
type mcp23017 struct {
	env   Env
	cfg   MCP23017
	tried chan struct{} // closed once it is known whether the part is there
	once  sync.Once     // closes it

	mu   sync.Mutex
	part *expander // nil while it is not running
}

var (
	_ Device    = (*mcp23017)(nil)
	_ lineGiver = (*mcp23017)(nil)
)

// Run reads the inputs until ctx is done, then waits until who has outputs left them
// safe. What happens to the part happens to all lines of it.
func (d *mcp23017) Run(ctx context.Context, out *Outlet) (err error) {
	defer d.publish(nil)
	bus, err := d.env.I2C(d.cfg.Bus)
	if err != nil {
		return err
	}
	defer bus.Close()
	release, err := bus.Hold(ctx, d.cfg.Address) // two that change one register undo each other's work
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer release()
	x := &expander{i2cPart: i2cPart{bus, d.cfg.Address}, name: d.env.Name, log: d.env.Log,
		mono: func() int64 { return d.env.Clock.Stamp().Mono }, turn: make(chan struct{}, 1), freed: make(chan struct{}, 1), broken: make(chan struct{})}
	defer func() { x.fail(err) }()
	if err := again(ctx, func() error { return x.begin(ctx) }); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	d.publish(x)
	out.Ready()
	out.Emit(Report{Value: integer(uint64(x.levels))})
	err = x.watch(ctx, d.cfg.Every.D())
	d.publish(nil)
	if err == nil {
		x.linger()
	}
	return err
}

// publish says which part is running.
func (d *mcp23017) publish(x *expander) {
	d.mu.Lock()
	d.part = x
	d.mu.Unlock()
	d.once.Do(func() { close(d.tried) })
}

// hasLine reports whether the part has a line of that name.
func (d *mcp23017) hasLine(line string) bool {
	_, ok := expanderBit(line)
	return ok
}

// request takes a line. At the start it waits a moment until the part was found.
func (d *mcp23017) request(line string, cfg LineConfig) (Line, error) {
	wait := time.NewTimer(expanderWait)
	defer wait.Stop()
	select {
	case <-d.tried:
	case <-wait.C:
	}
	d.mu.Lock()
	x := d.part
	d.mu.Unlock()
	bit, ok := expanderBit(line)
	if x == nil || !ok {
		return nil, absentError(fmt.Sprintf("request line %s.%s: device %s is not running", d.env.Name, line, d.env.Name), nil)
	}
	return x.take(bit, cfg)
}

// expanderBit is the place of a line: A0 to A7 are 0 to 7, B0 to B7 are 8 to 15.
func expanderBit(line string) (int, bool) {
	if len(line) != 2 || line[0] < 'A' || line[0] > 'B' || line[1] < '0' || line[1] > '7' {
		return 0, false
	}
	return int(line[0]-'A')*8 + int(line[1]-'0'), true
}

// The registers with IOCON.BANK = 0, each with its fellow of port B after it
// (Microchip DS20001952D, table 3-5).
const (
	expDir   = 0x00 // 1: input
	expTest  = 0x06 // DEFVAL: of use to interrupts only, which are off
	expIOCON = 0x0a
	expPull  = 0x0c
	expGPIO  = 0x12
	expLatch = 0x14
)

// expTestValue in DEFVAL shows that the part has such registers, and later that it was
// not reset: then it would be 0.
const expTestValue = 0x5aa5

// expander is the part in one run of the device. Bit 0 of its words is A0, bit 15 B7.
type expander struct {
	i2cPart
	name   string
	log    *slog.Logger
	mono   func() int64
	freed  chan struct{} // a token: a line was closed
	broken chan struct{} // closed with err

	turn   chan struct{} // has a token while somebody has the registers, which it guards; held over transactions
	dir    uint16
	pull   uint16
	latch  uint16
	levels uint16 // as read last

	mu    sync.Mutex // guards the rest; never held over a transaction
	lines [16]*expanderLine
	err   error // why it is over
}

// lock waits for the registers until ctx is done. The error wraps errNoTurn and
// ErrBusHeld: who has them waits for the bus or for the part.
func (x *expander) lock(ctx context.Context) error {
	select {
	case x.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w: device %s waits for it: %w", errNoTurn, ErrBusHeld, x.name, ctx.Err())
	}
}

// unlock gives the registers to the next one.
func (x *expander) unlock() { <-x.turn }

// begin brings the part into the state that all else takes for granted, and leaves the
// lines as they are: they may hold something on since before a restart.
func (x *expander) begin(ctx context.Context) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	defer x.unlock()
	// With BANK = 1 IOCON is at 0x05; with BANK = 0 that is GPINTENB, which is to be 0 too.
	for _, reg := range []byte{0x05, expIOCON} {
		if err := x.write(ctx, reg, 0); err != nil {
			return err
		}
	}
	// No polarity of the part's own, no interrupts, the test value, no comparison.
	test := [...]byte{0, 0, 0, 0, expTestValue & 0xff, expTestValue >> 8, 0, 0}
	if err := x.write(ctx, 0x02, test[:]...); err != nil {
		return err
	}
	var b [22]byte
	if err := x.read(ctx, 0, b[:]); err != nil {
		return err
	}
	x.dir, x.pull, x.latch, x.levels = word(b[expDir:]), word(b[expPull:]), word(b[expLatch:]), word(b[expGPIO:])
	// Once more: what broke off halfway would turn on all outputs of a port with the first one.
	if err := x.read(ctx, 0, b[:]); err != nil {
		return err
	}
	return x.check(b[:])
}

// word is two registers as one.
func word(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

// check compares all registers with what was set. The caller holds x.turn.
func (x *expander) check(b []byte) error {
	for _, r := range []struct {
		name string
		reg  int
		want uint16
	}{{"DEFVAL", expTest, expTestValue}, {"IOCON", expIOCON, 0}, {"IPOL", 0x02, 0},
		{"IODIR", expDir, x.dir}, {"GPPU", expPull, x.pull}, {"OLAT", expLatch, x.latch}} {
		if got := word(b[r.reg:]); got != r.want {
			return fmt.Errorf("check MCP23017 at 0x%02x: %s is 0x%04x, not 0x%04x: it was reset, or it is another part, or another program uses it", x.addr, r.name, got, r.want)
		}
	}
	return nil
}

// watch reads the inputs on a schedule until ctx is done, or a line finds the part broken.
func (x *expander) watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	checked := time.Now()
	for {
		all := time.Since(checked) >= expanderCheck
		if all {
			checked = time.Now()
		}
		if err := again(ctx, func() error { return x.poll(ctx, all) }); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-x.broken:
			x.mu.Lock()
			defer x.mu.Unlock()
			return x.err
		case <-tick.C:
		}
	}
}

// poll reads the levels, and with them registers that tell a good answer from one that
// broke off, and from that of a part that was reset.
func (x *expander) poll(ctx context.Context, all bool) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	defer x.unlock()
	var b [22]byte
	from := expPull
	if all {
		from = 0
	}
	if err := x.read(ctx, byte(from), b[from:]); err != nil {
		return err
	}
	if got, latch := word(b[expPull:]), word(b[expLatch:]); !all && (got != x.pull || latch != x.latch) {
		return fmt.Errorf("read MCP23017 at 0x%02x: GPPU and OLAT are 0x%04x and 0x%04x, not 0x%04x and 0x%04x: it was reset, or it broke off", x.addr, got, latch, x.pull, x.latch)
	}
	if all {
		if err := x.check(b[:]); err != nil {
			return err
		}
	}
	x.levels = word(b[expGPIO:])
	mono := x.mono()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lines {
		if l != nil && !l.cfg.Output {
			l.observe(x.levels&l.mask != 0, mono)
		}
	}
	return nil
}

// linger waits until all lines were closed.
func (x *expander) linger() {
	wait := time.NewTimer(expanderLinger)
	defer wait.Stop()
	for {
		x.mu.Lock()
		held := x.lines != [16]*expanderLine{}
		x.mu.Unlock()
		if !held {
			return
		}
		select {
		case <-x.freed:
		case <-wait.C:
			return
		}
	}
}

// fail ends it: each line of it fails from now on, with why.
func (x *expander) fail(why error) {
	if why == nil {
		why = absentError("use a line of device "+x.name+": it has stopped", nil)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return
	}
	x.err = why
	close(x.broken)
}
