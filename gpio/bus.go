package gpio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2creg"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/conn/v3/spi/spireg"

	"fieldpost/edge"
)

// How long a transaction may take, and how long one waits for those before it. The
// kernel's I2C adapters give up after a second; a part that stretches the clock, or a
// USB adapter that hangs, may never.
const (
	busWithin = 2 * time.Second
	busWait   = 2 * time.Second
	partWait  = 5 * time.Second // for a part that another device converses with
)

// ErrBusHeld: a transaction on the bus has not ended.
var ErrBusHeld = errors.New("the bus is held")

// errNoTurn: this transaction never began, so the part is as it was.
var errNoTurn = errors.New("it had no turn")

// Buses open a bus by its name, as periph's registries do; "" is the first one. A nil
// one is that of periph's registry.
type Buses struct {
	I2C func(name string) (i2c.BusCloser, error)
	SPI func(name string) (spi.PortCloser, error)
}

// I2CBus is a device's view of an I2C bus. What it waits for is bounded.
type I2CBus interface {
	i2c.BusCloser
	// TxContext is Tx that nobody waits for any more once ctx is done.
	TxContext(ctx context.Context, addr uint16, w, r []byte) error
	// Hold keeps other devices that hold it too from a part, for what takes several
	// transactions. It waits at most partWait.
	Hold(ctx context.Context, addr uint16) (release func(), err error)
}

// SPIConn is an SPI port, set up for one part. What it waits for is bounded.
type SPIConn interface {
	// Tx sends w and reads as much into r, which has the same length. Nobody waits for
	// it any more once ctx is done.
	Tx(ctx context.Context, w, r []byte) error
	io.Closer
}

// buses keeps one guard a bus for all devices on it.
type buses struct {
	open  Buses
	files Files

	mu     sync.Mutex
	guards map[string]*busGuard
}

func newBuses(open Buses, files Files) *buses {
	if open.I2C == nil {
		open.I2C = i2creg.Open
	}
	if open.SPI == nil {
		open.SPI = spireg.Open
	}
	return &buses{open: open, files: files.orKernel(), guards: map[string]*busGuard{}}
}

// guard is the guard of a bus, made when it is first asked for.
func (b *buses) guard(name string) *busGuard { return b.guardOf(name, busWait, busWithin) }

// guardOf is guard with the bounds of its transactions.
func (b *buses) guardOf(name string, wait, within time.Duration) *busGuard {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.guards[name]
	if g == nil {
		g = &busGuard{name: name, turn: make(chan struct{}, 1), parts: map[uint16]*busPart{}, wait: wait, within: within}
		b.guards[name] = g
	}
	return g
}

// i2c opens a bus for a device. The error wraps edge.ErrAbsent where there is none.
func (b *buses) i2c(name, device string) (I2CBus, error) {
	bus, err := b.open.I2C(name)
	if err != nil {
		return nil, absentError("open I2C bus "+busName(name), err)
	}
	g := b.guard("I2C " + bus.String())
	if err := g.hung(); err != nil { // else each try of a device would leave one more open file behind
		bus.Close()
		return nil, err
	}
	return &guardedI2C{bus: bus, guard: g, device: device}, nil
}

// spi opens a port for a device. The error wraps edge.ErrAbsent where there is none.
func (b *buses) spi(name, device string, f physic.Frequency, mode spi.Mode, bits int) (SPIConn, error) {
	port, err := b.open.SPI(name)
	if err != nil {
		return nil, absentError("open SPI port "+busName(name), err)
	}
	g := b.guard("SPI " + port.String())
	conn, err := port.Connect(f, mode, bits)
	if err == nil {
		err = g.hung()
	}
	if err != nil {
		port.Close()
		return nil, fmt.Errorf("set up SPI port %s: %w", busName(name), err)
	}
	return &guardedSPI{port: port, conn: conn, guard: g, device: device}, nil
}

func busName(name string) string {
	if name == "" {
		return "(the first)"
	}
	return name
}

// busGuard lets one transaction at a time onto a bus, and bounds how long anybody
// waits: for the kernel there is no bound, and a call that hangs can't be taken back.
type busGuard struct {
	name string
	turn chan struct{} // has a token while a transaction is under way

	wait   time.Duration // for those before
	within time.Duration // for the transaction itself

	mu     sync.Mutex
	holder string
	since  time.Time
	owner  string // the device that has it for itself; of a channel of a PWM
	parts  map[uint16]*busPart
}

// busPart is a part that takes several transactions for one answer.
type busPart struct {
	turn chan struct{} // has a token while a device converses with it
	by   string        // the last that did; the guard's mu guards it
}

// do runs a transaction on a goroutine of its own. After within it is left to its
// fate, as it is once ctx is done: it keeps the bus until the kernel gives up, and
// everybody else is told who holds it. The error wraps errNoTurn where tx was never
// called. A panic of tx is its error: no runner could catch it on that goroutine. What tx
// fills must not be the caller's own memory.
func (g *busGuard) do(ctx context.Context, device string, tx func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", errNoTurn, err)
	}
	wait := time.NewTimer(g.wait)
	defer wait.Stop()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w: %w", errNoTurn, g.held(), ctx.Err())
	case <-wait.C:
		return fmt.Errorf("%w: %w", errNoTurn, g.held())
	}
	g.begin(device)
	done := make(chan error, 1)
	go func() {
		defer g.end()
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- tx()
	}()
	within := time.NewTimer(g.within)
	defer within.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-within.C:
		return fmt.Errorf("%w: %s does not answer within %s", ErrBusHeld, g.name, g.within)
	}
}

func (g *busGuard) begin(device string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holder, g.since = device, time.Now()
}

func (g *busGuard) end() {
	g.mu.Lock()
	g.holder = ""
	g.mu.Unlock()
	<-g.turn
}

// hold keeps a part for a device until release is called.
func (g *busGuard) hold(ctx context.Context, device string, addr uint16) (release func(), err error) {
	g.mu.Lock()
	part := g.parts[addr]
	if part == nil {
		part = &busPart{turn: make(chan struct{}, 1)}
		g.parts[addr] = part
	}
	g.mu.Unlock()
	wait := time.NewTimer(partWait)
	defer wait.Stop()
	select {
	case part.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		g.mu.Lock()
		defer g.mu.Unlock()
		return nil, fmt.Errorf("use 0x%02x on %s: device %s uses it", addr, g.name, part.by)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	part.by = device
	return sync.OnceFunc(func() { <-part.turn }), nil
}

// held says who has the bus.
func (g *busGuard) held() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heldLocked()
}

// heldLocked says who has the bus. The caller holds g.mu.
func (g *busGuard) heldLocked() error {
	return fmt.Errorf("%w: %s by device %s for %s", ErrBusHeld, g.name, g.holder, time.Since(g.since).Round(time.Second))
}

// hung is an error while a transaction is under way that nobody waits for any more.
func (g *busGuard) hung() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holder == "" || time.Since(g.since) < g.within {
		return nil
	}
	return g.heldLocked()
}

// close closes a file on the bus, as soon as no transaction is under way. It does not
// wait for one that hangs.
func (g *busGuard) close(f io.Closer) error {
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
		return f.Close()
	default:
		go func() {
			g.turn <- struct{}{}
			defer func() { <-g.turn }()
			f.Close()
		}()
		return nil
	}
}

// guardedI2C is one device's view of a bus.
type guardedI2C struct {
	bus    i2c.BusCloser
	guard  *busGuard
	device string
}

var _ I2CBus = (*guardedI2C)(nil)

func (b *guardedI2C) String() string { return b.bus.String() }

// Tx is one transaction. It takes at most busWait and busWithin.
func (b *guardedI2C) Tx(addr uint16, w, r []byte) error {
	return b.TxContext(context.Background(), addr, w, r)
}

// TxContext is Tx until ctx is done.
func (b *guardedI2C) TxContext(ctx context.Context, addr uint16, w, r []byte) error {
	out, in := slices.Clone(w), make([]byte, len(r)) // a transaction that hangs keeps them
	if len(r) == 0 {
		in = nil
	}
	err := b.guard.do(ctx, b.device, func() error { return b.bus.Tx(addr, out, in) })
	if err != nil {
		return fmt.Errorf("talk to 0x%02x on %s: %w", addr, b.bus, err)
	}
	copy(r, in)
	return nil
}

// Hold keeps a part for this device.
func (b *guardedI2C) Hold(ctx context.Context, addr uint16) (release func(), err error) {
	return b.guard.hold(ctx, b.device, addr)
}

// SetSpeed is refused: a bus has one speed, the one of the board's config.txt.
func (b *guardedI2C) SetSpeed(physic.Frequency) error {
	return fmt.Errorf("set speed of %s: %w", b.bus, edge.ErrRefused)
}

// Close lets go of the bus.
func (b *guardedI2C) Close() error { return b.guard.close(b.bus) }

// guardedSPI is a port, set up for one part.
type guardedSPI struct {
	port   spi.PortCloser
	conn   spi.Conn
	guard  *busGuard
	device string
}

func (p *guardedSPI) Tx(ctx context.Context, w, r []byte) error {
	out, in := slices.Clone(w), make([]byte, len(r))
	if err := p.guard.do(ctx, p.device, func() error { return p.conn.Tx(out, in) }); err != nil {
		return fmt.Errorf("talk on %s: %w", p.port, err)
	}
	copy(r, in)
	return nil
}

func (p *guardedSPI) Close() error { return p.guard.close(p.port) }
