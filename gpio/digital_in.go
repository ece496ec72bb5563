package gpio

import (
	"context"
	"errors"
	"time"

	"fieldpost/edge"
)

// DigitalIn is the config of a digital_in: a switch, a door contact, a float.
type DigitalIn struct {
	Pin       edge.Pin      `mapstructure:"digital_in"`
	Pull      Pull          `mapstructure:"pull"`
	Debounce  edge.Duration `mapstructure:"debounce"`
	ActiveLow bool          `mapstructure:"active_low"`
	States    States        `mapstructure:"states"`
}

// After edges the level is read once it was quiet for settleAfter, and then every
// askEvery; a level that no edge told of is believed if none comes within
// missWithin either, which is more than an interrupt is ever late (FACTS.md 8, T1).
const (
	settleAfter = 100 * time.Millisecond
	missWithin  = 300 * time.Millisecond
)

func digitalInDriver() Driver {
	return Driver{
		Name: "digital_in",
		Doc: "A line that is on or off: a switch, a door contact, a float. Each change becomes an event with the kernel's time. " +
			"pull: up, down, off or none (as it is). debounce: the kernel reports a level once it has been stable that long, stamped then. " +
			"active_low: on means a low voltage. states: words for on and off. Edges that the kernel had to drop become a loss event.",
		Example: "door: {digital_in: GPIO17, pull: up, debounce: 30ms, active_low: true, states: {on: closed, off: open}}",
		Config:  func() any { return &DigitalIn{States: States{On: "on", Off: "off"}} },
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[DigitalIn](v)
			if err != nil {
				return nil, err
			}
			line := LineConfig{Park: env.Name, ActiveLow: cfg.ActiveLow, Bias: Bias(cfg.Pull), Edges: Both, Debounce: cfg.Debounce.D()}
			return &digitalIn{env: env, cfg: *cfg, line: line}, line.check()
		},
	}
}

// digitalIn is the device. It keeps nothing between runs but its row.
type digitalIn struct {
	env  Env
	cfg  DigitalIn
	line LineConfig
}

var _ Device = (*digitalIn)(nil)

// inputRow is a digital_in's durable state.
type inputRow struct {
	Value     bool   `json:"value"`                // the level that was told last
	Request   string `json:"request,omitempty"`    // the request that the number is of
	LineSeqno uint32 `json:"line_seqno,omitempty"` // the last edge that was told
}

// Pins is the one line.
func (d *digitalIn) Pins() []edge.Pin { return []edge.Pin{d.cfg.Pin} }

// Run follows the line until ctx is done, then parks it: the kernel goes on
// queueing edges for the next owner.
func (d *digitalIn) Run(ctx context.Context, out *Outlet) error {
	line, err := d.env.Line(d.cfg.Pin, d.line)
	if err != nil {
		return err
	}
	f := follower{states: d.cfg.States, line: line, out: out}
	if err = f.begin(); err == nil {
		out.Ready()
		err = follow(ctx, line, &f)
	}
	if perr := line.Park(); err == nil {
		err = perr
	}
	return err
}

// follower turns the edges of one line request into reports.
type follower struct {
	states States
	line   Line
	out    *Outlet
	row    inputRow // what was told last
	hole   string   // why a hole before the next edge would be there
	unread bool     // the process before may have read an edge that it did not store
}

// begin tells what happened before and the level now, where it is news.
func (f *follower) begin() error {
	var old inputRow
	had := f.out.Stored(&old)
	adopted := had && old.Request != "" && old.Request == f.line.ID()
	f.hole = "overflow"
	f.row = inputRow{Value: old.Value, Request: f.line.ID()}
	level, err := f.line.Level()
	if err != nil {
		return err
	}
	waiting, err := drain(f.line)
	if err != nil {
		return err
	}
	if adopted {
		f.row.LineSeqno = old.LineSeqno
		if len(waiting) < MaxBuffer {
			f.hole, f.unread = "restart", true
		}
	} else {
		// Edges that wait already say what the level was before them.
		var mono int64
		if len(waiting) > 0 {
			level, mono = !waiting[0].Rising, waiting[0].Mono
		}
		if !had || level != old.Value {
			f.tell(level, mono, f.origin(0, !f.line.Kernel())...)
		}
	}
	for _, e := range waiting {
		f.edge(e)
	}
	f.out.Show(boolean(f.row.Value), f.states.of(f.row.Value), "")
	return nil
}

// wait is how long to wait for an edge until it is time to look at the level: not
// every kernel wakes a wait when the chip goes away.
func (f *follower) wait(settled bool) time.Duration {
	if settled || !f.line.Kernel() {
		return askEvery
	}
	return settleAfter
}

// quiet reads the level and tells it where no edge did, so that the final one is
// told whatever happened to its edge.
func (f *follower) quiet(ctx context.Context) (settled bool, err error) {
	level, err := f.line.Level()
	if err == nil && level == f.row.Value {
		f.unread = false
	}
	if err != nil || level == f.row.Value {
		return true, err
	}
	e, err := within(ctx, f.line, missWithin) // it may have changed just now
	switch {
	case err == nil:
		f.edge(e)
		return true, nil
	case !errors.Is(err, context.DeadlineExceeded):
		return true, err
	}
	if level, err = f.line.Level(); err != nil || level == f.row.Value {
		return true, err
	}
	f.lose(1, f.missed())
	f.tell(level, 0, f.origin(0, true)...)
	return true, nil
}

// missed is why no edge told of a level. One that the process before had read
// has a number, and must not be missing once more at the next edge.
func (f *follower) missed() (cause string) {
	if !f.unread {
		return "missed"
	}
	f.unread = false
	f.row.LineSeqno++
	return f.hole
}

// edge tells an edge, and before it what was lost.
func (f *follower) edge(e Edge) {
	if count, cause := f.missing(e); count > 0 {
		f.lose(count, cause)
	}
	f.hole, f.unread = "overflow", false
	f.row.LineSeqno = e.LineSeqno
	f.tell(e.Rising, e.Mono, f.origin(e.LineSeqno, e.ByAgent)...)
}

// missing is how many edges were lost before this one, and why: a hole in
// line_seqno, or an edge that never reached the queue and shows as the same edge
// twice.
func (f *follower) missing(e Edge) (count uint64, cause string) {
	lost := int32(e.LineSeqno - f.row.LineSeqno - 1) // wraps as the kernel's number does
	switch {
	case e.LineSeqno != 0 && lost > 0:
		return uint64(lost), f.hole
	case e.Rising == f.row.Value:
		return 1, "repeat"
	}
	return 0, ""
}

// lose tells a loss.
func (f *follower) lose(count uint64, cause string) {
	f.out.Emit(Report{Kind: edge.Loss, Count: count, More: []Field{{"cause", quote(cause)}}})
}

// origin says where a level is known from: an edge's number in its request, which
// counts from 1 without holes but those that are told, or the agent's own look.
func (f *follower) origin(lineSeqno uint32, byAgent bool) []Field {
	var fs []Field
	if f.line.Kernel() {
		fs = append(fs, Field{"request", quote(f.line.ID())})
		if lineSeqno != 0 {
			fs = append(fs, Field{"line_seqno", integer(uint64(lineSeqno))})
		}
	}
	if byAgent {
		fs = append(fs, Field{"stamp", quote("agent")})
	}
	return fs
}

// tell tells a level.
func (f *follower) tell(level bool, mono int64, more ...Field) {
	f.row.Value = level
	f.out.Emit(Report{Mono: mono, Value: boolean(level), State: f.states.of(level), More: more, Store: f.row})
}
