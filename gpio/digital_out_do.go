package gpio

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"fieldpost/edge"
)

// maxPulse bounds a pulse: a longer one is a mistake in the unit.
const maxPulse = 30 * 24 * time.Hour

// Do switches the line. The level is set before anything is reported.
func (d *output) Do(a Action) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.line == nil {
		return Result{}, fmt.Errorf("%w: the line %s is not held now", edge.ErrAbsent, d.cfg.Pin)
	}
	if a.If != nil && string(a.If) != "null" && !d.is(a.If) {
		return Result{}, fmt.Errorf("%w: it is %s, not %s", edge.ErrRefused, boolean(d.row.Value), a.If)
	}
	level, pulse, err := d.wanted(a)
	if err != nil {
		return Result{}, err
	}
	if h := d.mayBe(level); h != nil {
		return Result{}, h.refusal()
	}
	now := d.env.Clock.Stamp()
	mono, err := d.set(level)
	if err != nil {
		if errors.Is(err, edge.ErrAbsent) {
			d.broken = err // else the line is kept: letting go of it may move it
			d.rouse()
		}
		return Result{}, err
	}
	changed := level != d.row.Value
	d.row.Value, d.row.Want, d.pend = level, level, false
	if changed {
		d.clear(now)
	}
	if d.row.Pulse = 0; pulse > 0 {
		d.row.Pulse = d.env.Clock.Age(d.row.Since) + pulse
	}
	d.limit()
	d.arm(now)
	res := Result{Value: boolean(level), State: d.cfg.States.of(level)}
	rep := a.Tell(res)
	rep.Mono = mono
	d.row.Pend = false
	rep.Store = d.row // with the id in one flush: who is answered may rely on the deadline
	res.Told = d.out.Queue(rep)
	if changed {
		d.told = d.tell(mono, res.Told, "")
	}
	return res, nil
}

// limit works out when it goes off by itself: at the end of a pulse, and at
// max_on at the latest, which counts from when it went on. The caller holds d.mu.
func (d *output) limit() {
	d.row.For, d.row.Why = 0, ""
	if !d.row.Value {
		return
	}
	if d.cfg.MaxOn > 0 {
		d.row.For, d.row.Why = d.cfg.MaxOn.D(), "max_on"
	}
	if end := d.row.Pulse; end > 0 && (d.row.For == 0 || end < d.row.For) {
		d.row.For, d.row.Why = end, "pulse"
	}
}

// wanted is the level that a command asks for, and for how long.
func (d *output) wanted(a Action) (level bool, pulse time.Duration, err error) {
	switch a.Verb {
	case "on", "off":
		return a.Verb == "on", 0, nil
	case "toggle":
		return !d.row.Value, 0, nil
	case "set":
		level, err = d.level(a.Value)
		return level, 0, err
	case "pulse":
		pulse, err = d.pulse(a.Value)
		return true, pulse, err
	}
	return false, 0, fmt.Errorf("%w: there is no %q", edge.ErrBadValue, a.Verb)
}

// level reads what set is to set.
func (d *output) level(v json.RawMessage) (bool, error) {
	for _, level := range []bool{true, false} {
		if d.means(v, level) {
			return level, nil
		}
	}
	return false, fmt.Errorf("%w: it takes on, off, toggle, pulse, or set with true or false; not %s", edge.ErrBadValue, clip(v))
}

// pulse reads how long a pulse lasts.
func (d *output) pulse(v json.RawMessage) (time.Duration, error) {
	var text string
	var dur edge.Duration
	if json.Unmarshal(v, &text) != nil || dur.UnmarshalText([]byte(text)) != nil || dur <= 0 || dur.D() > maxPulse {
		return 0, fmt.Errorf("%w: pulse takes a time like \"90s\", 30 days at most, not %s", edge.ErrBadValue, clip(v))
	}
	if d.cfg.MaxOn > 0 && dur > d.cfg.MaxOn {
		return 0, fmt.Errorf("%w: a pulse of %s is over max_on, %s", edge.ErrRefused, dur, d.cfg.MaxOn)
	}
	return dur.D(), nil
}

// is reports whether the device is at what a condition names.
func (d *output) is(v json.RawMessage) bool { return d.means(v, d.row.Value) }

// means reports whether JSON names a level: true, 1, "on", "ON" or the config's
// word for it, and the same for off.
func (d *output) means(v json.RawMessage, level bool) bool {
	var got any
	if json.Unmarshal(v, &got) != nil {
		return false
	}
	if s, ok := got.(string); ok {
		word := map[bool]string{true: "on", false: "off"}[level]
		return strings.EqualFold(s, word) || s == d.cfg.States.of(level)
	}
	n := 0.0
	if level {
		n = 1
	}
	return reflect.DeepEqual(got, level) || reflect.DeepEqual(got, n)
}

// clip is a caller's text, short enough for an error.
func clip(v []byte) string {
	switch {
	case len(v) == 0:
		return "nothing"
	case len(v) > 40:
		return string(v[:40]) + "..."
	}
	return string(v)
}
