package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fieldpost/edge"
)

// Rotary is the config of a rotary: a knob whose two contacts switch one after
// the other.
type Rotary struct {
	A        edge.Pin      `mapstructure:"rotary"`
	B        edge.Pin      `mapstructure:"b"`
	Pull     Pull          `mapstructure:"pull"`
	Debounce edge.Duration `mapstructure:"debounce"`
	Steps    int           `mapstructure:"steps"` // edges of both lines from one detent to the next
	Min      int64         `mapstructure:"min"`
	Max      int64         `mapstructure:"max"`
	Wrap     bool          `mapstructure:"wrap"`
	Every    edge.Duration `mapstructure:"every"`
}

// mergeWithin is how long an edge waits for one of the other line that is older:
// the kernel stamps in the interrupt and queues a little later, each line alone.
const mergeWithin = 5 * time.Millisecond

// farthest is where a knob ends that has no min and max.
const farthest = 1_000_000_000

func rotaryDriver() Driver {
	return Driver{
		Name: "rotary",
		Doc: "A rotary encoder, a knob that clicks: value is its position, state is cw or ccw, whichever way it went last. " +
			"rotary and b are its two contacts; where it counts the wrong way, swap them. Its push button is a button of its own. " +
			"steps is the number of edges from one click to the next: 4 for most, 2 or 1 for some. " +
			"min and max end the way, a billion to either side where they are not given; with wrap it goes on at the other end. " +
			"A change is told at once, then no more than one each every, and where it came to rest always; the position goes on over restarts. " +
			"A contact that bounces does no harm, but with steps: 1 it needs a debounce. Where edges were lost and nobody can know which way it went there is a loss event. " +
			"It needs the kernel's time stamps, so pins of an expander will not do.",
		Example: "knob: {rotary: GPIO5, b: GPIO6, pull: up, min: 0, max: 100}",
		Config: func() any {
			return &Rotary{Pull: Pull(BiasUp), Steps: 4, Min: -farthest, Max: farthest, Every: edge.Duration(50 * time.Millisecond)}
		},
		New: newRotary,
	}
}

// rotary is the device. It keeps nothing between runs but its row.
type rotary struct {
	env  Env
	cfg  Rotary
	line LineConfig
}

var _ Device = (*rotary)(nil)

func newRotary(env Env, v any) (Device, error) {
	cfg, err := options[Rotary](v)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.B == "":
		return nil, errors.New("b is missing: it is the pin of the second contact")
	case cfg.Steps < 1 || cfg.Steps > 64:
		return nil, fmt.Errorf("steps is %d: it is 1 to 64, 4 for most knobs", cfg.Steps)
	case cfg.Min >= cfg.Max || cfg.Min < -farthest || cfg.Max > farthest:
		return nil, fmt.Errorf("min is %d and max is %d: min is less than max, and both are within a billion", cfg.Min, cfg.Max)
	case cfg.Every < 0:
		return nil, fmt.Errorf("every is %s: it must not be negative", cfg.Every)
	}
	line := LineConfig{Bias: Bias(cfg.Pull), Edges: Both, Debounce: cfg.Debounce.D()}
	return &rotary{env: env, cfg: *cfg, line: line}, line.check()
}

// Pins are the two lines.
func (r *rotary) Pins() []edge.Pin { return []edge.Pin{r.cfg.A, r.cfg.B} }

// Run follows the lines until ctx is done, then parks them: the kernel goes on
// queueing edges for the next owner.
func (r *rotary) Run(ctx context.Context, out *Outlet) error {
	t := turner{cfg: r.cfg, clock: r.env.Clock, out: out}
	err := r.open(&t)
	if err == nil {
		err = t.begin()
	}
	if err == nil {
		out.Ready()
		err = t.follow(ctx)
	}
	for _, l := range t.lines {
		if l == nil {
			continue
		}
		if perr := l.Park(); err == nil {
			err = perr
		}
	}
	return err
}

// open requests the two lines.
func (r *rotary) open(t *turner) (err error) {
	for i, pin := range r.Pins() {
		cfg := r.line
		cfg.Park = r.env.Name + "/" + [...]string{"a", "b"}[i]
		if t.lines[i], err = r.env.Line(pin, cfg); err != nil {
			t.lines[i] = nil
			return err
		}
		if !t.lines[i].Kernel() {
			return fmt.Errorf("follow %s: which contact was first is in the kernel's time stamps, and this line has none", pin)
		}
	}
	return nil
}

// rotaryRow is a rotary's durable state.
type rotaryRow struct {
	Position int64       `json:"position"`
	Past     int         `json:"past"` // edges past the last detent, less than a detent
	Lines    [2]inputRow `json:"lines"`
}

// turned is what one line had to say.
type turned struct {
	line int
	edge Edge
	err  error
}

// follow tells where the knob goes until ctx is done, and at the end where it is.
func (t *turner) follow(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := t.listen(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case h, ok := <-heard:
			if !ok { // both have stopped: nothing can come before what waits
				t.release(mergeWithin)
				t.tell(true)
				t.keep()
				return err
			}
			if h.err != nil && err == nil {
				err = h.err
				cancel()
			}
			if h.err == nil {
				t.add(h.line, h.edge)
			}
		case <-timer.C:
		}
		wait := t.release(0)
		if rest, lerr := t.look(); lerr != nil && err == nil {
			err = lerr
			cancel()
		} else {
			wait = min(wait, rest)
		}
		timer.Reset(min(wait, t.tell(false)))
	}
}

// listen reads both lines until ctx is done, then closes what it gave. Each edge
// that it took is given. A panic of a line is its error: no runner could catch it there.
func (t *turner) listen(ctx context.Context) <-chan turned {
	heard := make(chan turned)
	left := make(chan struct{}, len(t.lines))
	for i, l := range t.lines {
		go func() {
			defer func() { left <- struct{}{} }()
			defer func() {
				if p := recover(); p != nil {
					heard <- turned{line: i, err: fmt.Errorf("panic: %v", p)}
				}
			}()
			for n := 0; ctx.Err() == nil || n < MaxBuffer; n++ {
				e, err := l.NextEdge(ctx)
				if err != nil {
					if ctx.Err() == nil {
						heard <- turned{line: i, err: err}
					}
					return
				}
				heard <- turned{line: i, edge: e}
				if ctx.Err() == nil {
					n = 0
				}
			}
		}()
	}
	go func() {
		for range t.lines {
			<-left
		}
		close(heard)
	}()
	return heard
}
