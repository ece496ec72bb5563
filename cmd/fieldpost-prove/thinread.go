package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// thinFound is what can be read of a history.
type thinFound struct {
	hours   hourly
	minutes [][]int // samples of each minute, by sensor, but of rows of an hour
	events  map[string]int
	bytes   map[string]int64
}

// thinSeries is what a sample or a row tells of a quantity.
type thinSeries struct {
	Min, Mean, Max float64
	N              int
}

// thinRow is the data of a row.
type thinRow struct {
	thinSeries
	Fields map[string]thinSeries
}

// read reads all rings as an uplink would that was away all the time, and proves
// that gaps and events together are all there was.
func (h *thinHistory) read(p *proof, r *result) (*thinFound, error) {
	got := &thinFound{hours: newHourly(h.days), events: map[string]int{}, bytes: map[string]int64{}}
	for range thinSensors {
		got.minutes = append(got.minutes, make([]int, h.days*1440))
	}
	log := edge.NewLog(h.store, h.clock, "prove")
	verify := edge.NewVerifier()
	var line []byte
	for _, info := range h.store.Rings() {
		got.bytes[info.Name] = info.Bytes
		for after, end := uint64(0), false; !end; {
			var evs []edge.Event
			var err error
			if evs, after, end, err = log.Ring(info.Name, after, queue.Max{}); err != nil {
				return nil, err
			}
			for i := range evs {
				line = evs[i].AppendJSON(line[:0])
				if err := verify.Add(line); err != nil {
					return nil, err
				}
				if err := got.take(h, &evs[i], r); err != nil {
					return nil, err
				}
			}
		}
		p.say("%s: %d events in %d kB, %d gone, of which %d thinned", info.Name, got.events[info.Name], info.Bytes/1000, info.Gone, info.Thinned)
	}
	ledger := edge.LedgerEvent(h.store)
	ledger.Agent = "prove"
	if err := verify.Add(ledger.AppendJSON(nil)); err != nil {
		return nil, err
	}
	if rep := verify.Report(); !rep.Closed {
		r.failed("the ledger does not close: %+v", rep)
	}
	return got, nil
}

// take takes one event.
func (f *thinFound) take(h *thinHistory, ev *edge.Event, r *result) error {
	minutes, hours := edge.ThinRings(edge.RingSamples)
	if ev.Hole != nil {
		if t := ev.Hole.Thinned; ev.Hole.Cause != string(queue.Thinned) || t.Ring == "" {
			r.failed("a gap of ring %s from %d to %d: %s", ev.Ring, ev.Hole.From, ev.Hole.To, ev.Hole.Cause)
		}
		return nil
	}
	f.events[ev.Ring]++
	if ev.Kind != edge.Sample {
		return nil
	}
	all := make([]thinSeries, len(thinQuantities))
	if ev.Ring == edge.RingSamples {
		var d map[string]any
		if err := json.Unmarshal(ev.Data, &d); err != nil {
			return fmt.Errorf("read %s: %w", ev.ID(), err)
		}
		for q, name := range thinQuantities {
			v, _ := d[name].(float64)
			all[q] = thinSeries{v, v, v, 1}
		}
	} else {
		var d thinRow
		if err := json.Unmarshal(ev.Data, &d); err != nil {
			return fmt.Errorf("read %s: %w", ev.ID(), err)
		}
		all[0] = d.thinSeries
		for q, name := range thinQuantities[1:] {
			all[q+1] = d.Fields[name]
		}
	}
	at := ev.Time.Sub(h.begin)
	s := slices.Index(thinSensors, ev.Name)
	if s < 0 || at < 0 || at >= time.Duration(h.days)*24*time.Hour {
		r.failed("%s is of %q at %v", ev.ID(), ev.Name, ev.Time)
		return nil
	}
	if ev.Ring == edge.RingSamples || ev.Ring == minutes {
		f.minutes[s][at/time.Minute] += all[0].N
	} else if ev.Ring != hours {
		r.failed("%s is in ring %s", ev.ID(), ev.Ring)
	}
	for q := range all {
		f.hours[s][q][at/time.Hour].add(all[q].N, all[q].Min, all[q].Max, all[q].Mean)
	}
	return nil
}

// compare judges what was read.
func (f *thinFound) compare(h *thinHistory, r *result) {
	minutes, hours := edge.ThinRings(edge.RingSamples)
	for ring, most := range map[string]int64{edge.RingSamples: h.ring, minutes: h.ring / 4, hours: h.ring / 4} {
		if f.events[ring] == 0 {
			r.failed("ring %s has nothing: the history is too small to prove anything", ring)
		}
		if f.bytes[ring] > most+max(most/4, 1<<20) {
			r.failed("ring %s takes %d bytes, and may take %d and a quarter", ring, f.bytes[ring], most)
		}
	}
	for s, name := range thinSensors {
		for q, quantity := range thinQuantities {
			for hour := range h.truth[s][q] {
				want, got := h.truth[s][q][hour], f.hours[s][q][hour]
				r.lost += max(0, want.n-got.n)
				r.duplicated += max(0, got.n-want.n)
				if got.n != want.n || got.min != want.min || got.max != want.max || math.Abs(got.sum-want.sum) > 1e-9*math.Abs(want.sum) {
					r.failed("%s of %s in hour %d: %+v, and was %+v", quantity, name, hour, got, want)
				}
			}
		}
		first := slices.IndexFunc(f.minutes[s], func(n int) bool { return n > 0 })
		for minute := max(first, 0); minute < len(f.minutes[s]); minute++ {
			if n := f.minutes[s][minute]; n != int(time.Minute/thinEvery) {
				r.failed("%s in minute %d: %d samples, with minutes from %d on", name, minute, n, first)
			}
		}
	}
}
