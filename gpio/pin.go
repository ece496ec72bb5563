package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	periph "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/pin"

	"fieldpost/edge"
)

// pinConsumer is who holds a line that was asked for through periph's own calls.
const pinConsumer = "fieldpost:periph"

// requester is a pin that gives the whole of a line: ours do.
type requester interface {
	Request(cfg LineConfig) (Line, error)
}

// informer is a pin that tells of its line without holding it.
type informer interface {
	Info() (LineInfo, error)
}

// linePin is a line of a chip as periph's registry knows it: a gpio.PinIO with
// NextEdge. In and Out request the line on first use, Halt releases it.
type linePin struct {
	chip   Chip
	offset int
	name   string
	alias  string // another name; "" where it has none

	mu   sync.Mutex
	line Line
	cfg  LineConfig
}

var (
	_ periph.PinIO = (*linePin)(nil)
	_ pin.PinFunc  = (*linePin)(nil)
	_ requester    = (*linePin)(nil)
	_ informer     = (*linePin)(nil)
)

// Request takes the line from its chip.
func (p *linePin) Request(cfg LineConfig) (Line, error) { return p.chip.Request(p.offset, cfg) }

// Info tells of the line without holding it.
func (p *linePin) Info() (LineInfo, error) { return p.chip.Info(p.offset) }

// NextEdge waits for an edge until ctx is done. In with an edge comes first.
func (p *linePin) NextEdge(ctx context.Context) (Edge, error) {
	line := p.held()
	if line == nil {
		return Edge{}, fmt.Errorf("wait for an edge of %s: call In first", p.name)
	}
	return line.NextEdge(ctx)
}

// In makes the line an input.
func (p *linePin) In(pull periph.Pull, e periph.Edge) error {
	cfg := LineConfig{Consumer: pinConsumer, Edges: EdgeMask(e)}
	switch pull {
	case periph.Float:
		cfg.Bias = BiasOff
	case periph.PullDown:
		cfg.Bias = BiasDown
	case periph.PullUp:
		cfg.Bias = BiasUp
	}
	return p.take(cfg)
}

// Out makes the line an output that is at l from the first instant on.
func (p *linePin) Out(l periph.Level) error {
	p.mu.Lock()
	line, out := p.line, p.cfg.Output
	p.mu.Unlock()
	if line != nil && out {
		_, err := line.Set(bool(l))
		return err
	}
	cfg := LineConfig{Consumer: pinConsumer, Output: true}
	if l {
		cfg.Initial = High
	}
	return p.take(cfg)
}

// take requests the line anew with another config.
func (p *linePin) take(cfg LineConfig) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != nil {
		if err := p.line.Close(); err != nil {
			return err
		}
		p.line = nil
	}
	line, err := p.Request(cfg)
	if err != nil {
		return err
	}
	p.line, p.cfg = line, cfg
	return nil
}

// held is the line that In or Out took; nil if none.
func (p *linePin) held() Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line
}

// Read is the level; of a line that periph does not hold, what the chip can tell.
func (p *linePin) Read() periph.Level {
	if line := p.held(); line != nil {
		level, err := line.Level()
		return periph.Level(err == nil && level)
	}
	info, err := p.Info()
	return periph.Level(err == nil && info.Level != nil && *info.Level)
}

// WaitForEdge waits for an edge; a negative timeout waits for ever.
func (p *linePin) WaitForEdge(timeout time.Duration) bool {
	ctx := context.Background()
	if timeout >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	_, err := p.NextEdge(ctx)
	return err == nil
}

// Halt releases the line; a wait in progress ends.
func (p *linePin) Halt() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == nil {
		return nil
	}
	err := p.line.Close()
	p.line = nil
	return err
}

// Pull is the bias that In asked for.
func (p *linePin) Pull() periph.Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.cfg.Bias {
	case BiasOff:
		return periph.Float
	case BiasUp:
		return periph.PullUp
	case BiasDown:
		return periph.PullDown
	}
	return periph.PullNoChange
}

// DefaultPull is not known to the kernel's interface.
func (p *linePin) DefaultPull() periph.Pull { return periph.PullNoChange }

// PWM is not a matter of lines.
func (p *linePin) PWM(periph.Duty, physic.Frequency) error {
	return fmt.Errorf("%s: a line has no PWM; see the pwm driver", p.name)
}

// Func tells the direction without touching the line.
func (p *linePin) Func() pin.Func {
	info, err := p.Info()
	switch {
	case err != nil || info.Consumer == "":
		return pin.FuncNone
	case info.Output:
		return periph.OUT
	}
	return periph.IN
}

// SupportedFuncs are in and out.
func (p *linePin) SupportedFuncs() []pin.Func { return []pin.Func{periph.IN, periph.OUT} }

// SetFunc is In or Out.
func (p *linePin) SetFunc(f pin.Func) error {
	switch f {
	case periph.IN:
		return p.In(periph.PullNoChange, periph.NoEdge)
	case periph.OUT:
		return p.Out(periph.Low)
	}
	return errors.New("set the function of " + p.name + ": it is a line: in or out")
}

// Function is Func as text.
func (p *linePin) Function() string { return string(p.Func()) }

// Name is the line's name in the registry.
func (p *linePin) Name() string { return p.name }

// Number is the BCM number; -1 of a line that is not on the header.
func (p *linePin) Number() int {
	if n, ok := edge.Pin(p.name).Number(); ok {
		return n
	}
	return -1
}

// String is the name: short, so that it may go into a log line.
func (p *linePin) String() string { return p.name }
