package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"fieldpost/edge"
)

// Counter is the config of a counter: a flow meter, an energy meter's pulses.
type Counter struct {
	Pin       edge.Pin      `mapstructure:"counter"`
	Edge      Edges         `mapstructure:"edge"`
	Pull      Pull          `mapstructure:"pull"`
	Debounce  edge.Duration `mapstructure:"debounce"`
	ActiveLow bool          `mapstructure:"active_low"`
	Scale     float64       `mapstructure:"scale"`
	Unit      string        `mapstructure:"unit"`
	Every     edge.Duration `mapstructure:"every"`
	Report    Reporting     `mapstructure:"report"`
}

func counterDriver() Driver {
	return Driver{
		Name: "counter",
		Doc: "Counts the edges of a line: a flow meter, an energy meter's pulses. The total is told every so often as value = edges x scale, with count beside it. " +
			"It goes on over restarts: it is the stored total plus the difference of the kernel's own number, so edges that nobody had time to read count too. " +
			"edge: rising, falling or both.",
		Example: "flow: {counter: GPIO22, edge: rising, every: 10s, scale: 0.00225, unit: L}",
		Config: func() any {
			return &Counter{Edge: Edges(Rising), Scale: 1, Every: edge.Duration(10 * time.Second)}
		},
		New: newCounter,
	}
}

// counter is the device.
type counter struct {
	env   Env
	cfg   Counter
	line  LineConfig
	every Sampling
}

var _ Device = (*counter)(nil)

// counterRow is a counter's durable state.
type counterRow struct {
	Total     uint64 `json:"total"`
	Request   string `json:"request,omitempty"` // the request that the number is of
	LineSeqno uint32 `json:"line_seqno,omitempty"`
}

func newCounter(env Env, v any) (Device, error) {
	cfg, err := options[Counter](v)
	if err != nil {
		return nil, err
	}
	if cfg.Scale == 0 || math.IsNaN(cfg.Scale) || math.IsInf(cfg.Scale, 0) {
		return nil, fmt.Errorf("scale is %v: it is what one edge is worth", cfg.Scale)
	}
	line := LineConfig{Park: env.Name, ActiveLow: cfg.ActiveLow, Bias: Bias(cfg.Pull), Edges: EdgeMask(cfg.Edge), Debounce: cfg.Debounce.D()}
	every := sampling(cfg.Every)
	every.Report = cfg.Report
	return &counter{env: env, cfg: *cfg, line: line, every: every}, errors.Join(line.check(), every.check())
}

// Pins is the one line.
func (c *counter) Pins() []edge.Pin { return []edge.Pin{c.cfg.Pin} }

// Run counts until ctx is done, tells the last total and parks the line.
func (c *counter) Run(ctx context.Context, out *Outlet) error {
	line, err := c.env.Line(c.cfg.Pin, c.line)
	if err != nil {
		return err
	}
	t := tally{line: line}
	had := out.Stored(&t.row)
	if t.row.Request == "" || t.row.Request != line.ID() {
		t.row.Request, t.row.LineSeqno = line.ID(), 0
	}
	err = c.count(ctx, &t, out, had)
	if perr := line.Park(); err == nil {
		err = perr
	}
	return err
}

// count tells the total at each tick; at the start and at the end only where it
// is not the stored one.
func (c *counter) count(ctx context.Context, t *tally, out *Outlet, had bool) error {
	stored := t.row.Total
	out.Show(c.value(stored), "", c.cfg.Unit)
	s := sampler{Sampling: c.every, told: had, last: float64(stored) * c.cfg.Scale, lastAt: time.Now()}
	tick := time.NewTicker(c.cfg.Every.D())
	out.tap.ticks(out.clock.Stamp().Mono)
	defer tick.Stop()
	for first := true; ; first = false {
		if err := t.drain(); err != nil {
			return err
		}
		out.Ready()
		total, done := float64(t.row.Total)*c.cfg.Scale, ctx.Err() != nil
		tell := s.worth(total)
		if first || done {
			tell = !had || t.row.Total != stored
		}
		if tell {
			out.Emit(Report{Kind: edge.Sample, Value: c.value(t.row.Total), Unit: c.cfg.Unit, More: []Field{{"count", integer(t.row.Total)}}, Store: t.row})
			had, stored = true, t.row.Total
			s.told, s.last, s.lastAt = true, total, time.Now()
		}
		if done {
			return nil
		}
		if err := t.wait(ctx, tick.C); err != nil {
			return err
		}
	}
}

// value is the total in the user's unit, without the noise of binary fractions.
func (c *counter) value(total uint64) []byte {
	if c.cfg.Scale == 1 {
		return integer(total)
	}
	return number(tidy(float64(total) * c.cfg.Scale))
}

// tally counts the edges of one line request.
type tally struct {
	line Line
	row  counterRow
}

// drain counts what waits. What the queue had to drop is in the number of the
// edge after it.
func (t *tally) drain() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return t.take(ctx, MaxBuffer)
}

// take counts edges until ctx is done, at most so many.
func (t *tally) take(ctx context.Context, most int) error {
	for range most {
		e, err := t.line.NextEdge(ctx)
		switch {
		case err == nil:
			t.row.Total += uint64(e.LineSeqno - t.row.LineSeqno)
			t.row.LineSeqno = e.LineSeqno
		case errors.Is(err, ctx.Err()):
			return nil
		default:
			return err
		}
	}
	return nil
}

// wait waits for the next tick or for the end. The kernel counts meanwhile, and
// is asked now and then whether it still does; where there is no kernel, the wait
// itself counts.
func (t *tally) wait(ctx context.Context, tick <-chan time.Time) error {
	if t.line.Kernel() {
		ask := time.NewTicker(askEvery)
		defer ask.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick:
				return nil
			case <-ask.C:
				if err := t.drain(); err != nil {
					return err
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		defer cancel()
		select {
		case <-ctx.Done():
		case <-tick:
		}
	}()
	err := t.take(ctx, math.MaxInt)
	cancel()
	<-stopped
	return err
}
