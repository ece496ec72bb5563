package main

import (
	"fmt"
	"slices"
	"time"
)

// mostCoalesced is how many toggles may be neither an event nor told as lost: the
// kernel merges two edges without a trace where its thread is late (FACTS.md 8, T1).
const mostCoalesced = 4

const (
	// mostLost is how many edges a kill may cost: those that were read and not yet
	// stored. FACTS.md 8 saw one at most.
	mostLost = 2
	// lossReach is how long before a kill an edge may have come that is lost with it.
	lossReach = time.Second
)

// toggle is one change of a line's level, on CLOCK_MONOTONIC.
type toggle struct {
	before, after int64 // around the write
	level         bool
}

// lineEvent is what the agent stored of a line.
type lineEvent struct {
	ID   string
	N    uint64
	Kind string
	Mono int64
	Data struct {
		Value     bool
		Request   string
		LineSeqno uint32 `json:"line_seqno"`
		Count     uint64
		Cause     string
		Why       string
	}
}

// edgeVerdict is what became of the toggles.
type edgeVerdict struct {
	edges, unnumbered int
	lost              uint64 // told
	gaps              uint64 // edges that the kernel numbered and nobody stored
	coalesced         int    // toggles that are neither; negative where more was told than there was
	requests          []string
	latency           []time.Duration // the kernel's stamp after the write began, sorted
	holes             []string        // what was told as lost
	faults            []string
}

func (v *edgeVerdict) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// judgeEdges compares what is stored of a line, in the order of n, with its
// toggles and with what befell the agent, both in order of time.
func judgeEdges(toggles []toggle, events []lineEvent, befell []span) *edgeVerdict {
	v := &edgeVerdict{}
	v.count(events)
	v.blame(v.numbers(events), befell)
	v.match(toggles, events)
	v.coalesced = len(toggles) - v.edges - int(v.lost)
	switch {
	case v.coalesced < 0:
		v.fault("%d toggles, and %d events with %d told as lost: %d too many", len(toggles), v.edges, v.lost, -v.coalesced)
	case v.coalesced > mostCoalesced:
		v.fault("%d toggles, and %d events with %d told as lost: %d are missing without a word", len(toggles), v.edges, v.lost, v.coalesced)
	case v.lost > v.gaps && v.coalesced+int(v.lost-v.gaps) > mostCoalesced:
		v.fault("%d are told as lost, and only %d are missing in the kernel's numbers", v.lost, v.gaps)
	}
	if len(v.requests) != 1 {
		v.fault("the line was requested %d times (%v): it was let go of in between", len(v.requests), v.requests)
	}
	return v
}

// count sorts the events by kind, and sees that none is there twice.
func (v *edgeVerdict) count(events []lineEvent) {
	ids, last := map[string]bool{}, uint64(0)
	for _, e := range events {
		if ids[e.ID] {
			v.fault("event %s is there twice", e.ID)
		}
		ids[e.ID] = true
		if e.N <= last {
			v.fault("event %s has number %d after %d", e.ID, e.N, last)
		}
		last = e.N
		switch {
		case e.Kind == "loss":
			v.lost += e.Data.Count
			v.holes = append(v.holes, fmt.Sprintf("%d %s before n %d", e.Data.Count, e.Data.Cause, e.N))
		case e.Data.LineSeqno == 0:
			v.unnumbered++
		default:
			v.edges++
		}
	}
}

// gap is a hole in a request's numbers, between the edges on both sides of it.
type gap struct {
	count    uint64
	from, to int64
}

// numbers sees that each request's numbers run from 1 without a hole but those
// that a loss tells before the next edge, and gives these.
func (v *edgeVerdict) numbers(events []lineEvent) (gaps []gap) {
	last := map[string]uint32{}
	before := int64(0) // the edge before
	told := uint64(0)  // since the edge before
	for _, e := range events {
		d := e.Data
		if e.Kind == "loss" {
			told += d.Count
			continue
		}
		if d.LineSeqno == 0 {
			continue
		}
		if d.Request == "" {
			v.fault("event %s has a line_seqno and no request", e.ID)
		}
		if _, known := last[d.Request]; !known {
			v.requests = append(v.requests, d.Request)
		}
		prev := last[d.Request]
		switch {
		case d.LineSeqno <= prev:
			v.fault("event %s: line_seqno %d after %d: an edge is stored twice", e.ID, d.LineSeqno, prev)
		case uint64(d.LineSeqno-prev-1) > told:
			v.fault("event %s: line_seqno %d after %d, and only %d told as lost", e.ID, d.LineSeqno, prev, told)
		}
		if d.LineSeqno > prev+1 {
			gaps = append(gaps, gap{uint64(d.LineSeqno - prev - 1), before, e.Mono})
		}
		last[d.Request] = max(prev, d.LineSeqno)
		told, before = 0, e.Mono
	}
	return gaps
}

// blame finds what befell the agent at each hole. Only a kill may cost edges, and
// few: all that was not read yet waits in the kernel.
func (v *edgeVerdict) blame(gaps []gap, befell []span) {
	lost := make([]uint64, len(befell))
	for _, g := range gaps {
		v.gaps += g.count
		at := slices.IndexFunc(befell, func(s span) bool { return g.from <= s.to && g.to >= s.from-int64(lossReach) })
		switch {
		case at < 0:
			v.fault("%d edges are lost before mono %d, where nothing befell the agent", g.count, g.to)
		case befell[at].graceful:
			v.fault("%d edges are lost at the %s, which gives the agent time to store all", g.count, befell[at].what)
		default:
			lost[at] += g.count
		}
	}
	for i, n := range lost {
		if n > mostLost {
			v.fault("%d edges are lost at the %s, and %d at most may be", n, befell[i].what, mostLost)
		}
	}
}

// match finds each edge's toggle: the last that began before the kernel's stamp.
func (v *edgeVerdict) match(toggles []toggle, events []lineEvent) {
	taken := make([]string, len(toggles))
	for _, e := range events {
		if e.Kind == "loss" || e.Data.LineSeqno == 0 {
			continue
		}
		i, _ := slices.BinarySearchFunc(toggles, e.Mono+1, func(t toggle, mono int64) int { return int(min(max(t.before-mono, -1), 1)) })
		i--
		switch {
		case i < 0:
			v.fault("event %s is stamped before the first toggle", e.ID)
			continue
		case taken[i] != "":
			v.fault("event %s and event %s are of one toggle", taken[i], e.ID)
		case toggles[i].level != e.Data.Value:
			v.fault("event %s says %t, and the toggle before it was to %t", e.ID, e.Data.Value, toggles[i].level)
		}
		taken[i] = e.ID
		v.latency = append(v.latency, time.Duration(e.Mono-toggles[i].before))
	}
	if n := len(toggles); n > 0 {
		for _, l := range v.latency {
			if l > time.Second {
				v.fault("an event is stamped %v after its toggle", l)
				break
			}
		}
	}
	slices.Sort(v.latency)
}

// quantile is the p-th of sorted durations.
func quantile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// sample is a look at outputs' levels in sysfs, between two moments.
type sample struct {
	at, end    int64
	lamp, pump bool
}

// span is a time in which the pump's level is known, or of a fault.
type span struct {
	what     string
	from, to int64
	falls    bool // from on to off, once; else it is level throughout
	level    bool
	graceful bool // the agent was asked to end, or not to
}

// judgePump compares the samples with the spans.
func judgePump(samples []sample, spans []span) (faults []string) {
	for _, s := range spans {
		seen, low := 0, false
		for _, p := range samples {
			if p.at < s.from || p.end > s.to {
				continue
			}
			seen++
			switch {
			case !s.falls && p.pump != s.level:
				faults = append(faults, fmt.Sprintf("%s: the pump is %t, not %t, after %v", s.what, p.pump, s.level, time.Duration(p.at-s.from)))
			case s.falls && low && p.pump:
				faults = append(faults, fmt.Sprintf("%s: the pump came on again after %v", s.what, time.Duration(p.at-s.from)))
			}
			low = low || !p.pump
		}
		if seen == 0 {
			faults = append(faults, s.what+": no sample")
		}
		if s.falls && !low {
			faults = append(faults, s.what+": the pump never went off")
		}
	}
	return faults
}

// judgeStops sees that the agent itself drove the pump to its safe level at each
// stop that gave it the time: sysfs alone can't tell that from a line that is let
// go of and falls.
func judgeStops(events []lineEvent, spans []span) (faults []string) {
	for _, s := range spans {
		if !s.falls {
			continue
		}
		drives := 0
		for _, e := range events {
			if e.Kind == "change" && e.Data.Why == "stop" && !e.Data.Value && e.Mono >= s.from && e.Mono <= s.to {
				drives++
			}
		}
		want := 0
		if s.graceful {
			want = 1
		}
		if drives != want {
			faults = append(faults, fmt.Sprintf("%s: the agent drove the pump off %d times, not %d", s.what, drives, want))
		}
	}
	return faults
}

// judgeLamp sees that the lamp was on in every sample.
func judgeLamp(samples []sample) (faults []string) {
	for _, p := range samples {
		if !p.lamp {
			faults = append(faults, fmt.Sprintf("the lamp is off at mono %d", p.at))
		}
	}
	return faults
}

// missingOf gives the ids of events that are not in got.
func missingOf(events []lineEvent, got map[string]bool) (ids []string) {
	for _, e := range events {
		if !got[e.ID] {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
