package gpio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"fieldpost/edge"
)

// reading is what a sensor said at one time.
type reading struct {
	value float64
	other json.RawMessage // a boolean or a text, in place of value; nil: there is a value
	more  []Field
	why   string // why there is no value, though the sensor answered; "" where there is one
	doubt string // why the value can't be true, as "is ..."; "": the sensor knows nothing against it
	mono  int64  // when it was read, on CLOCK_MONOTONIC
}

// sampler reads a sensor on a schedule, and decides what is worth telling.
type sampler struct {
	Sampling
	unit string
	read func(context.Context) (reading, error) // it returns soon after ctx is done

	told    bool // something was told
	bad     bool // the last that was told was not plausible
	last    float64
	other   json.RawMessage // what was told last where it was no number
	lastAt  time.Time
	dropped uint64 // readings that were not plausible
}

// run reads until ctx is done or a reading fails.
func (s *sampler) run(ctx context.Context, out *Outlet) error {
	tick := time.NewTicker(s.Every.D())
	defer tick.Stop()
	for {
		r, err := s.read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if r.mono == 0 {
			r.mono = out.clock.Stamp().Mono
		}
		out.tap.reading(r.mono, r, err)
		if err != nil {
			return err
		}
		out.Ready()
		s.judge(r, out)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// judge tells a reading where it is plausible and differs enough. The first of
// a run of implausible ones is told as such, without a value that a chart would draw.
func (s *sampler) judge(r reading, out *Outlet) {
	if r.other != nil {
		s.changed(r, out)
		return
	}
	if s.other != nil {
		s.other, s.told = nil, false
	}
	why, more := s.against(r)
	if why != "" {
		s.dropped++
		out.Doubt(fmt.Errorf("%s; %d such since the start", why, s.dropped))
		if !s.bad || s.due() {
			out.Emit(Report{Kind: edge.Sample, Mono: r.mono, Value: []byte("null"), Unit: s.unit, Quality: "implausible", More: more})
			s.told, s.bad, s.lastAt = true, true, time.Now()
		}
		return
	}
	if !s.worth(r.value) {
		return
	}
	out.Emit(Report{Kind: edge.Sample, Mono: r.mono, Value: number(r.value), Unit: s.unit, More: r.more})
	s.told, s.bad, s.last, s.lastAt = true, false, r.value, time.Now()
}

// against says what speaks against a reading, and what is told of it; "" where
// nothing does.
func (s *sampler) against(r reading) (why string, more []Field) {
	if r.why != "" {
		return r.why, []Field{{"why", quote(r.why)}}
	}
	why = r.doubt
	if why == "" && (!(r.value >= s.Accept.Min && r.value <= s.Accept.Max) || math.IsInf(r.value, 0)) {
		why = fmt.Sprintf("is outside %v to %v", s.Accept.Min, s.Accept.Max)
	}
	if why == "" {
		return "", nil
	}
	return fmt.Sprintf("reading %v %s", r.value, why), []Field{{"reading", quote(fmt.Sprint(r.value))}}
}

// changed tells what is no number where it is not what was told last.
func (s *sampler) changed(r reading, out *Outlet) {
	if s.told && bytes.Equal(s.other, r.other) && !s.due() {
		return
	}
	out.Emit(Report{Mono: r.mono, Value: r.other, Unit: s.unit, More: r.more})
	s.told, s.bad, s.other, s.lastAt = true, false, r.other, time.Now()
}

// worth reports whether a plausible reading is to be told.
func (s *sampler) worth(v float64) bool {
	if s.Report == (Reporting{}) || !s.told || s.bad || s.due() {
		return true
	}
	d := math.Abs(v - s.last)
	return d > 0 && d >= s.Report.Delta
}

// due reports whether the heartbeat wants something told.
func (s *sampler) due() bool {
	return s.Report.Heartbeat > 0 && time.Since(s.lastAt) >= s.Report.Heartbeat.D()
}
