package gpio

import (
	"encoding/json"
	"strconv"
	"time"

	"fieldpost/edge"
)

// turner turns the edges of a knob's two lines into positions.
type turner struct {
	cfg   Rotary
	clock Clock
	out   *Outlet
	lines [2]Line

	queue  [2][]Edge // what waits for older edges of the other line
	row    rotaryRow
	kept   rotaryRow // what was stored last
	hole   [2]string // why a hole before the line's next edge would be there
	passed [2]bool   // the other line changed since the line's last edge
	newest int64     // the stamp of the last edge that counted
	way    int       // of the last step: 1 or -1
	lookAt int64     // when to compare the levels
	unsure bool      // they were found to differ

	told    int64 // position
	toldAt  int64 // when
	movedAt int64 // the stamp of the last change of the position
	moved   int   // its direction
}

// begin goes on where the run before stopped. Where both lines are the same
// requests, their queues have all that happened since; else the position is what
// it was, since nobody saw the knob turn.
func (t *turner) begin() error {
	var old rotaryRow
	had := t.out.Stored(&old)
	same, levels := had, [2]bool{}
	var first [2][]Edge
	for i, l := range t.lines {
		var err error
		if levels[i], err = l.Level(); err != nil {
			return err
		}
		if first[i], err = drain(l); err != nil {
			return err
		}
		if len(first[i]) > 0 {
			levels[i] = !first[i][0].Rising
		}
		same = same && old.Lines[i].Request != "" && old.Lines[i].Request == l.ID()
	}
	t.row = old
	t.row.Position = min(max(old.Position, t.cfg.Min), t.cfg.Max)
	if !had {
		t.row.Position = min(max(0, t.cfg.Min), t.cfg.Max)
	}
	if t.row.Past <= -t.cfg.Steps || t.row.Past >= t.cfg.Steps {
		t.row.Past = 0 // the config had other steps
	}
	for i, l := range t.lines {
		t.hole[i], t.passed[i] = "overflow", same // what happened before the levels were read is nothing to us
		switch {
		case !same:
			if levels[i] != old.Lines[i].Value {
				t.row.Past = 0
			}
			t.row.Lines[i] = inputRow{Value: levels[i], Request: l.ID()}
		case len(first[i]) < MaxBuffer:
			t.hole[i] = "restart"
		}
		t.queue[i] = first[i]
	}
	t.kept, t.told, t.way = old, t.row.Position, 1
	t.lookAt = t.now() + int64(settleAfter)
	if !had || t.row.Position != old.Position {
		t.emit(t.now())
	}
	t.out.Show(t.position(), "", "")
	return nil
}

// now is CLOCK_MONOTONIC, which edges are stamped with.
func (t *turner) now() int64 { return t.clock.Stamp().Mono }

// add takes an edge that its line gave.
func (t *turner) add(line int, e Edge) { t.queue[line] = append(t.queue[line], e) }

// release counts what waits, in the order of the stamps, and gives the time until
// it is to be called again. An edge whose other line has nothing waits until it
// is mergeWithin old; it seems older than it is by grace.
func (t *turner) release(grace time.Duration) time.Duration {
	for {
		i := 0
		switch a, b := t.queue[0], t.queue[1]; {
		case len(a) == 0 && len(b) == 0:
			return askEvery
		case len(a) == 0 || len(b) > 0 && b[0].Mono < a[0].Mono:
			i = 1
		}
		e := t.queue[i][0]
		if len(t.queue[1-i]) == 0 {
			age := time.Duration(t.now()-e.Mono) + grace
			if age < mergeWithin {
				return min(mergeWithin-age, mergeWithin)
			}
		}
		t.queue[i] = t.queue[i][1:]
		t.edge(i, e)
	}
}

// edge counts an edge. One that is missing on its line before it, or told twice,
// is a loss only where the other line changed meanwhile: while that rested, the
// contact went to and fro and the knob did not. So is one that comes too late to
// know what was first.
func (t *turner) edge(i int, e Edge) {
	l := &t.row.Lines[i]
	missing := int32(e.LineSeqno - l.LineSeqno - 1) // wraps as the kernel's number does
	switch {
	case e.Mono < t.newest:
		t.lose(1, "late")
	case !t.passed[i]:
	case missing > 0:
		t.lose(uint64(missing), t.hole[i])
	case e.Rising == l.Value:
		t.lose(1, "repeat")
	}
	l.LineSeqno, t.hole[i] = e.LineSeqno, "overflow"
	t.passed[i], t.passed[1-i] = false, true
	t.newest = max(t.newest, e.Mono)
	t.lookAt, t.unsure = t.now()+int64(settleAfter), false
	levels := [2]bool{t.row.Lines[0].Value, t.row.Lines[1].Value}
	levels[i] = e.Rising
	t.reach(levels, e.Mono)
}

// reach moves to other levels. Four pairs of them follow each other in a circle,
// and only one line changes from one to the next. It reports false where both
// did: then the way that it went last is as good a guess as the other, and keeps
// the detents where they are.
func (t *turner) reach(levels [2]bool, mono int64) bool {
	step := (phase(levels) - phase([2]bool{t.row.Lines[0].Value, t.row.Lines[1].Value})) & 3
	t.row.Lines[0].Value, t.row.Lines[1].Value = levels[0], levels[1]
	switch step {
	case 1:
		t.way = 1
	case 3:
		step, t.way = 1, -1
	}
	t.row.Past += step * t.way
	for t.row.Past >= t.cfg.Steps || t.row.Past <= -t.cfg.Steps {
		t.row.Past -= t.way * t.cfg.Steps
		t.click(mono)
	}
	return step < 2
}

// phase is where in the circle a pair of levels is: A goes first, clockwise.
func phase(levels [2]bool) int {
	switch levels {
	case [2]bool{true, false}:
		return 1
	case [2]bool{true, true}:
		return 2
	case [2]bool{false, true}:
		return 3
	}
	return 0
}

// click goes one detent on, to the end of the way or around it.
func (t *turner) click(mono int64) {
	p := t.row.Position + int64(t.way)
	switch {
	case p > t.cfg.Max && t.cfg.Wrap:
		p = t.cfg.Min
	case p < t.cfg.Min && t.cfg.Wrap:
		p = t.cfg.Max
	}
	if p = min(max(p, t.cfg.Min), t.cfg.Max); p != t.row.Position {
		t.row.Position, t.movedAt, t.moved = p, mono, t.way
	}
}

// look compares the levels when no edge came for a while, so that the knob is
// where the contacts are, whatever happened to their edges. It gives the time
// until it is to be called again.
func (t *turner) look() (time.Duration, error) {
	now := t.now()
	if now < t.lookAt || len(t.queue[0])+len(t.queue[1]) > 0 {
		return max(time.Duration(t.lookAt-now), mergeWithin), nil
	}
	var levels [2]bool
	for i, l := range t.lines {
		var err error
		if levels[i], err = l.Level(); err != nil {
			return 0, err
		}
	}
	wait := askEvery
	switch {
	case levels == [2]bool{t.row.Lines[0].Value, t.row.Lines[1].Value}:
		t.unsure = false
		t.keep()
	case !t.unsure: // it may have changed just now
		t.unsure, wait = true, missWithin
	default:
		t.unsure = false
		if !t.reach(levels, now) {
			t.lose(1, "missed")
		}
		t.passed = [2]bool{true, true}
	}
	t.lookAt = now + int64(wait)
	return wait, nil
}

// tell tells the position where it is news, and gives the time until it may.
func (t *turner) tell(atOnce bool) time.Duration {
	now := t.now()
	if t.row.Position == t.told {
		return askEvery
	}
	if wait := time.Duration(t.toldAt-now) + t.cfg.Every.D(); wait > 0 && t.toldAt != 0 && !atOnce {
		return wait
	}
	t.toldAt = now
	t.emit(t.movedAt)
	return askEvery
}

// emit tells the position.
func (t *turner) emit(mono int64) {
	t.told, t.kept = t.row.Position, t.row
	r := Report{Mono: mono, Value: t.position(), Store: t.row}
	if t.moved != 0 {
		r.State = map[int]string{1: "cw", -1: "ccw"}[t.moved]
	}
	t.out.Emit(r)
}

// position is the position as JSON.
func (t *turner) position() json.RawMessage {
	return strconv.AppendInt(nil, t.row.Position, 10)
}

// keep stores the state where no report took it along. It does not wait.
func (t *turner) keep() {
	if t.row != t.kept && t.out.Keep(t.row) == nil {
		t.kept = t.row
	}
}

// lose tells a loss.
func (t *turner) lose(count uint64, cause string) {
	t.out.Emit(Report{Kind: edge.Loss, Count: count, More: []Field{{"cause", quote(cause)}}})
}
