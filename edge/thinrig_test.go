package edge_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// thinRig is a store whose samples are thinned when the test says so. Its records
// have stamps of the test's choice.
type thinRig struct {
	*edgetest.Rig
	t       *testing.T
	thinner *edge.Thinner
	fault   atomic.Value // of func(step string) error: what it gives takes the step's place
}

func newThinRig(t *testing.T, dir string, b *edgetest.Board, rings map[string]queue.Limits, change func(*queue.Options)) *thinRig {
	t.Helper()
	r := &thinRig{t: t}
	opt := edgetest.Options(dir, b)
	opt.Rings = rings
	opt.MoveRecords = 4096
	opt.Fault = func(step string) error {
		if fault, _ := r.fault.Load().(func(string) error); fault != nil {
			return fault(step)
		}
		return nil
	}
	if change != nil {
		change(&opt)
	}
	rig := &edgetest.Rig{Board: b, Store: edgetest.OpenStore(t, opt)}
	rig.Clock = edgetest.NewClock(t, b, rig.Store)
	rig.Log = edge.NewLog(rig.Store, rig.Clock, "test")
	pump, stop := edgetest.RunPump(t, edge.PumpOptions{Agent: "test", Store: rig.Store, Clock: rig.Clock})
	rig.Pump, rig.Stop = pump, func() {
		stop()
		rig.Store.Close()
	}
	r.Rig = rig
	r.thinner = edge.NewThinner(edge.ThinnerOptions{Store: rig.Store, Pump: pump, Clock: rig.Clock})
	return r
}

func syncedBoard(boot string) *edgetest.Board {
	b := edgetest.NewBoard(boot)
	b.SetSync(true, time.Millisecond)
	return b
}

// thinRings is a ring of samples that thins, with those that its rows go to.
func thinRings(samples, minutes, hours queue.Limits) map[string]queue.Limits {
	samples.Thin, minutes.Thin = true, true
	return map[string]queue.Limits{"samples": samples, "samples-1m": minutes, "samples-1h": hours}
}

// zero is the mono of a full hour, a little in the future.
func (r *thinRig) zero() time.Duration {
	now, _, _ := r.Clock.Time(queue.Stamp{Boot: r.Store.Boot(), Mono: int64(time.Hour)})
	return time.Hour + now.Truncate(time.Hour).Add(time.Hour).Sub(now)
}

// at is an event of a test, and when it was in the running boot.
type at struct {
	mono time.Duration
	ev   edge.Event
}

func sample(mono time.Duration, name, data string) at {
	return at{mono, edge.Event{Name: name, Kind: edge.Sample, From: "device:" + name, Data: json.RawMessage(data)}}
}

// put stores events in the ring samples.
func (r *thinRig) put(all ...at) {
	r.t.Helper()
	for part := range slices.Chunk(all, 4096) {
		var b queue.Batch
		for i := range part {
			data, err := edge.AppendPayload(nil, &part[i].ev)
			if err != nil {
				r.t.Fatal(err)
			}
			b.Entries = append(b.Entries, queue.Entry{Ring: "samples", Stamp: queue.Stamp{Boot: r.Store.Boot(), Mono: int64(part[i].mono)}, Data: data})
		}
		if _, err := r.Store.Append(b); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *thinRig) thin() {
	r.t.Helper()
	if err := r.thinner.Work(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// each reads a ring from its first seq.
func (r *thinRig) each(ring string, fn func(*edge.Event)) {
	r.t.Helper()
	for after := uint64(0); ; {
		evs, next, end, err := r.Log.Ring(ring, after, queue.Max{})
		if err != nil {
			r.t.Fatal(err)
		}
		for i := range evs {
			fn(&evs[i])
		}
		if end {
			return
		}
		after = next
	}
}

// tallies reads the rows of a ring: "time name" and what they tell.
func (r *thinRig) tallies(ring string) (out []string) {
	r.each(ring, func(ev *edge.Event) {
		if ev.Hole == nil {
			out = append(out, ev.Time.UTC().Format("15:04:05 ")+ev.Name+" "+string(ev.Data))
		}
	})
	return out
}

// gaps reads the gaps of a ring: "from-to cause ring:from-to".
func (r *thinRig) gaps(ring string) (out []string) {
	r.each(ring, func(ev *edge.Event) {
		if h := ev.Hole; h != nil {
			text := fmt.Sprintf("%d-%d %s", h.From, h.To, h.Cause)
			if h.Thinned.Ring != "" {
				text += fmt.Sprintf(" %s:%d-%d", h.Thinned.Ring, h.Thinned.From, h.Thinned.To)
			}
			out = append(out, text)
		}
	})
	return out
}

// askFor makes the ring ask for its oldest records, by a bound that comes later.
func (r *thinRig) askFor(keep uint64) {
	l := queue.Limits{Keep: keep, Thin: true}
	r.Store.SetLimits(map[string]queue.Limits{"samples": l, "samples-1m": {Thin: true}}, queue.Limits{})
}
