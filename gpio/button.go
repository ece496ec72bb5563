package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fieldpost/edge"
)

// Button is the config of a button.
type Button struct {
	Pin       edge.Pin      `mapstructure:"button"`
	Pull      Pull          `mapstructure:"pull"`
	ActiveLow bool          `mapstructure:"active_low"`
	Debounce  edge.Duration `mapstructure:"debounce"`
	Long      edge.Duration `mapstructure:"long"`
	Double    edge.Duration `mapstructure:"double"`
}

func buttonDriver() Driver {
	return Driver{
		Name: "button",
		Doc: "A push button, told as what was done with it: value is press, double, long or release. " +
			"A press is let go of before long has passed; held says how many seconds it took. A double is two of them, the second begun within double after the first. " +
			"long is told while the button is still held; the release after it has held too. Two presses of which the second is held are a press and a long. " +
			"double: 0s tells a press as soon as it is let go of, instead of after the wait for a second one; with long: 0s too, as soon as it begins. " +
			"As it is, the button connects the pin to ground. Times are between the kernel's stamps, also over a restart of the agent; " +
			"where edges were lost there is a loss event instead of a guess.",
		Example: "bell: {button: GPIO23, pull: up, active_low: true, debounce: 20ms, long: 800ms, double: 300ms}",
		Config: func() any {
			return &Button{Pull: Pull(BiasUp), ActiveLow: true, Debounce: edge.Duration(20 * time.Millisecond),
				Long: edge.Duration(800 * time.Millisecond), Double: edge.Duration(300 * time.Millisecond)}
		},
		New: newButton,
	}
}

// button is the device. It keeps nothing between runs but its row.
type button struct {
	env  Env
	cfg  Button
	line LineConfig
}

var _ Device = (*button)(nil)

func newButton(env Env, v any) (Device, error) {
	cfg, err := options[Button](v)
	if err != nil {
		return nil, err
	}
	if cfg.Long < 0 || cfg.Double < 0 {
		return nil, fmt.Errorf("long is %s and double is %s: they are 0 or more", cfg.Long, cfg.Double)
	}
	line := LineConfig{Park: env.Name, ActiveLow: cfg.ActiveLow, Bias: Bias(cfg.Pull), Edges: Both, Debounce: cfg.Debounce.D()}
	return &button{env: env, cfg: *cfg, line: line}, line.check()
}

// Pins is the one line.
func (b *button) Pins() []edge.Pin { return []edge.Pin{b.cfg.Pin} }

// Run follows the line until ctx is done, then parks it. A press that is not
// decided by then is in the row: the next run goes on with it.
func (b *button) Run(ctx context.Context, out *Outlet) error {
	line, err := b.env.Line(b.cfg.Pin, b.line)
	if err != nil {
		return err
	}
	p := presser{follower: follower{line: line, out: out}, clock: b.env.Clock,
		debounce: b.line.Debounce, long: int64(b.cfg.Long), double: int64(b.cfg.Double)}
	if err = p.begin(); err == nil {
		p.keep()
		out.Ready()
		err = follow(ctx, line, &p)
		p.keep()
	}
	if perr := line.Park(); err == nil {
		err = perr
	}
	return err
}

// buttonRow is a button's durable state.
type buttonRow struct {
	inputRow        // what is known of the line
	presses         // what is not decided yet
	Boot     uint32 `json:"boot"`              // that the times are of
	Gesture  string `json:"gesture,omitempty"` // what was told last
}

// presser turns the edges of one line request into gestures. The follower's row
// is the line's part of the button's.
type presser struct {
	follower
	presses
	clock    Clock
	debounce time.Duration
	long     int64 // ns, 0: never
	double   int64 // ns, 0: never
	boot     uint32
	gesture  string    // what was told last
	kept     buttonRow // what was stored last
}

// stored is the state as it is now.
func (p *presser) stored() buttonRow {
	return buttonRow{inputRow: p.row, presses: p.presses, Boot: p.boot, Gesture: p.gesture}
}

// keep stores the state where no gesture took it along. It does not wait.
func (p *presser) keep() {
	if row := p.stored(); row != p.kept && p.out.Keep(row) == nil {
		p.kept = row
	}
}

// begin goes on where the run before stopped: with its presses where the line is
// the same request, whose queue has all that happened since.
func (p *presser) begin() error {
	var old buttonRow
	_ = p.out.Stored(&old) // where there is none it is the zero one
	level, err := p.line.Level()
	if err != nil {
		return err
	}
	waiting, err := drain(p.line)
	if err != nil {
		return err
	}
	if old.Gesture != "" {
		p.out.Show(quote(old.Gesture), "", "")
	}
	p.boot, p.gesture, p.hole = p.clock.Stamp().Boot, old.Gesture, "overflow"
	if old.Request != "" && old.Request == p.line.ID() {
		p.row, p.presses, p.kept = old.inputRow, old.presses, old
		if len(waiting) < MaxBuffer {
			p.hole, p.unread = "restart", true
		}
	} else {
		if len(waiting) > 0 {
			level = !waiting[0].Rising
		}
		p.row = inputRow{Value: level, Request: p.line.ID()}
		p.resume(old)
	}
	for _, e := range waiting {
		p.edge(e)
	}
	return nil
}

// wait is how long to wait for an edge: while the level is not settled for
// settleAfter only, and no longer than until time alone decides. What came of the
// last one is stored before.
func (p *presser) wait(settled bool) time.Duration {
	p.keep()
	wait := askEvery
	if !settled {
		wait = settleAfter
	}
	if at, ok := p.due(); ok {
		wait = min(wait, time.Duration(at-p.clock.Stamp().Mono))
	}
	return wait
}

// quiet decides what time alone decides, after it saw that the level is still
// what the edges said: an edge that the queue gets late comes before that. It
// reports whether level and edges agree.
func (p *presser) quiet(ctx context.Context) (settled bool, err error) {
	now := p.clock.Stamp().Mono
	level, err := p.line.Level()
	if err != nil {
		return false, err
	}
	if level == p.row.Value {
		p.unread = false
		p.advance(now)
		return true, nil
	}
	wait := missWithin
	if !p.line.Kernel() {
		wait += p.debounce // its edges come after it, and its level does not
	}
	e, err := within(ctx, p.line, wait)
	if err == nil {
		p.edge(e)
		return false, nil
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return false, err
	}
	if level, err = p.line.Level(); err == nil && level != p.row.Value && p.line.Kernel() {
		p.leap(level)
	}
	return false, err
}

// edge takes an edge, and before it tells what was lost.
func (p *presser) edge(e Edge) {
	if count, cause := p.missing(e); count > 0 {
		p.broken(count, cause, e.Mono)
	} else {
		p.advance(e.Mono)
	}
	p.hole, p.unread = "overflow", false
	p.row.LineSeqno, p.row.Value = e.LineSeqno, e.Rising
	if e.Rising {
		p.down(e.Mono)
	} else {
		p.up(e.Mono)
	}
}

// leap takes a level that no edge told of. It is no press: nobody knows when it
// began.
func (p *presser) leap(level bool) {
	cause := p.missed()
	p.row.Value = level
	p.broken(1, cause, 0)
}

// tell tells a gesture. A mono of 0 is now, an up of 0 that how long it was held
// is not known, or of no interest.
func (p *presser) tell(what string, mono int64, held click) {
	p.gesture = what
	p.kept = p.stored()
	r := Report{Mono: mono, Value: quote(what), Store: p.kept}
	if held.Up != 0 {
		seconds := time.Duration(held.Up - held.Down).Round(time.Millisecond).Seconds()
		r.More = append(r.More, Field{"held", number(seconds)})
	}
	if mono == 0 || !p.line.Kernel() {
		r.More = append(r.More, Field{"stamp", quote("agent")})
	}
	p.out.Emit(r)
}
