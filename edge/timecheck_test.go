package edge_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// slack is what a duration on CLOCK_MONOTONIC may differ from the true one: the
// kernel's assumption, a leap second and slews.
func slack(d time.Duration) time.Duration { return d/1e6*ppmAssumed + 3*time.Second }

// checkAge holds each age that the store is told against the truth: nothing may
// be taken for older than it is.
func (s *script) checkAge(st queue.Stamp, age time.Duration) time.Duration {
	s.mu.Lock()
	truth, ok := s.stamps[st]
	s.mu.Unlock()
	if _, now := s.m.now(); ok && age > now.Sub(truth)+slack(now.Sub(truth)) {
		s.t.Errorf("%s: an event of %v is taken for %v old and is %v", s.doing, truth, age, now.Sub(truth))
	}
	return age
}

// seen is an event as it was read, and what the test knows of it.
type seen struct {
	edge.Event
	fact *fact // nil: the agent's own
	boot int
}

func (s *script) read(q edge.Query) (all []seen) {
	q.Rings = []string{edge.RingEvents, edge.RingSamples, "days"}
	q.Limit = edge.MaxLimit
	for {
		page, err := s.log.Read(q)
		if err != nil {
			s.t.Fatalf("%s: %v", s.doing, err)
		}
		for _, ev := range page.Events {
			if ev.Kind != edge.Gap {
				all = append(all, s.know(ev))
			}
		}
		if q.After = page.Next; page.End {
			return all
		}
	}
}

// boot is the store's index of a boot.
func (s *script) boot(m *machine) uint32 {
	for index, other := range s.indexes {
		if other == m {
			return index
		}
	}
	return 0
}

func (s *script) know(ev edge.Event) seen {
	e := seen{Event: ev}
	for _, m := range s.indexes {
		if m.id[:8] == ev.Boot {
			e.boot = m.boot
		}
	}
	var data struct{ Number *int }
	if ev.Kind != edge.System && json.Unmarshal(ev.Data, &data) == nil && data.Number != nil {
		e.fact = s.events[*data.Number]
	}
	return e
}

// check reads all there is, and holds it against the truth.
func (s *script) check() {
	if s.dead.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.read(edge.Query{})
	s.checkOrder(all)
	s.checkThere(all)
	for _, e := range all {
		if e.fact != nil {
			s.checkTime(e)
		}
	}
	s.checkBoots(all)
	if len(all) > 0 {
		s.checkRange(all, all[s.rng.IntN(len(all))].Time)
	}
	s.checkCorrected(all)
	s.checkKeys()
}

// checkOrder: n and seq follow the order in which the events were brought.
func (s *script) checkOrder(all []seen) {
	seqs := map[string]uint64{}
	n, number := uint64(0), -1
	for _, e := range all {
		if e.N <= n || e.Seq <= seqs[e.Ring] {
			s.t.Errorf("%s: %s comes after n %d, seq %d", s.doing, e.ID(), n, seqs[e.Ring])
		}
		n, seqs[e.Ring] = e.N, e.Seq
		if e.fact != nil {
			if e.fact.number <= number {
				s.t.Errorf("%s: event %d comes after %d", s.doing, e.fact.number, number)
			}
			number = e.fact.number
		}
	}
}

// checkThere: what was acknowledged is there, or older than its ring lets it get.
func (s *script) checkThere(all []seen) {
	there := make(map[int]bool, len(all))
	for _, e := range all {
		if e.fact != nil {
			there[e.fact.number] = true
		}
	}
	_, now := s.m.now()
	for _, f := range s.events {
		if !f.acked || there[f.number] {
			continue
		}
		keep, age := ringAges[f.ring], now.Sub(f.truth)
		if keep == 0 || age < keep-slack(keep) {
			s.t.Errorf("%s: event %d of ring %s is gone, %v old", s.doing, f.number, f.ring, age)
		}
	}
}

// checkTime: a bound that is told holds, and what was told of a sync is told for good.
func (s *script) checkTime(e seen) {
	f := e.fact
	off := e.Time.Sub(f.truth)
	fail := func(what string) {
		s.t.Errorf("%s: event %d of boot %d at mono %v: %s: told %v (%s ± %v), true %v, off by %v", s.doing, f.number, f.m.boot, time.Duration(e.Mono), what, e.Time, e.Clock, e.Bound, f.truth, off)
	}
	switch {
	case e.Boot != f.m.id[:8]:
		fail("it is told of boot " + e.Boot)
	case e.Clock == edge.Unsynced && e.Bound != 0:
		fail("a bound of a time that is not known")
	case e.Clock == edge.Unsynced && f.told != "":
		fail("it was " + string(f.told) + " before")
	case e.Clock != edge.Unsynced && !f.m.ever:
		fail("its boot was never synced")
	case e.Clock != edge.Unsynced && e.Bound <= 0:
		fail("it has no bound")
	case e.Clock != edge.Unsynced && off.Abs() > e.Bound:
		fail("its bound does not hold")
	}
	if e.Clock != edge.Unsynced {
		f.told = e.Clock
	}
}

// checkBoots: within a boot time follows the monotonic clock, and no boot's events
// are told before those of an earlier one where a sync of either proves it.
func (s *script) checkBoots(all []seen) {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b seen) int { return cmp.Or(cmp.Compare(a.boot, b.boot), cmp.Compare(a.Mono, b.Mono)) })
	var last, proven seen
	for i, e := range sorted {
		if i > 0 && e.boot == last.boot && e.Time.Before(last.Time) {
			s.t.Errorf("%s: boot %d: mono %v is %v (%s), after mono %v at %v (%s)", s.doing, e.boot, e.Mono, e.Time, e.Clock, last.Mono, last.Time, last.Clock)
		}
		if e.Clock == edge.Unsynced && proven.boot > 0 && proven.boot < e.boot && e.Time.Before(proven.Time) {
			s.t.Errorf("%s: boot %d mono %v is guessed at %v, after boot %d mono %v at %v (%s)", s.doing, e.boot, e.Mono, e.Time, proven.boot, proven.Mono, proven.Time, proven.Clock)
		}
		if last = e; e.Clock != edge.Unsynced {
			proven = e
		}
	}
	var next seen
	for _, e := range slices.Backward(sorted) {
		if e.Clock != edge.Unsynced {
			next = e
		} else if next.boot > e.boot && e.Time.After(next.Time) {
			s.t.Errorf("%s: boot %d mono %v is guessed at %v, before boot %d mono %v at %v (%s)", s.doing, e.boot, e.Mono, e.Time, next.boot, next.Mono, next.Time, next.Clock)
		}
	}
}

// checkRange: since and until give what the times say.
func (s *script) checkRange(all []seen, at time.Time) {
	ns := func(evs []seen) (out []uint64) {
		for _, e := range evs {
			out = append(out, e.N)
		}
		return out
	}
	var before, after []seen
	for _, e := range all {
		if e.Time.Before(at) {
			before = append(before, e)
		} else {
			after = append(after, e)
		}
	}
	if got := s.read(edge.Query{Since: at}); !slices.Equal(ns(got), ns(after)) {
		s.t.Errorf("%s: since %v gives %d events, not %d", s.doing, at, len(got), len(after))
	}
	if got := s.read(edge.Query{Until: at}); !slices.Equal(ns(got), ns(before)) {
		s.t.Errorf("%s: until %v gives %d events, not %d", s.doing, at, len(got), len(before))
	}
}

// checkCorrected: once a boot is synced, so is all that came before in it.
func (s *script) checkCorrected(all []seen) {
	if _, state, _ := s.clock.Time(s.clock.Stamp()); state != edge.Synced {
		return
	}
	for _, e := range all {
		if e.fact != nil && e.boot == s.m.boot && e.Clock == edge.Unsynced && e.fact.slept == 0 {
			s.t.Errorf("%s: boot %d is synced, and event %d is not", s.doing, e.boot, e.fact.number)
		}
	}
}

// checkKeys: a key lives for a day of uptime, whatever the clock says. The caller
// holds mu.
func (s *script) checkKeys() {
	if len(s.keys) == 0 {
		return
	}
	k := &s.keys[s.rng.IntN(len(s.keys))]
	mono, truth := s.m.now()
	f := &fact{number: len(s.events), ring: edge.RingEvents, truth: truth, m: s.m, slept: time.Duration(s.m.slept)}
	s.events = append(s.events, f)
	s.stamps[queue.Stamp{Boot: s.store.Boot(), Mono: mono}] = truth
	age := s.awake() - k.awake
	s.mu.Unlock()
	ev := edge.Event{Name: "door", Kind: edge.Change, From: "device:door", Ring: k.ring, Mono: mono, Data: fmt.Appendf(nil, `{"number":%d}`, f.number)}
	evs, err := s.pump.Post(context.Background(), []edge.Event{ev}, edge.Idempotency{Key: k.key})
	s.mu.Lock()
	if err != nil {
		if !s.dead.Load() {
			s.t.Errorf("%s: repeat %q: %v", s.doing, k.key, err)
		}
		return
	}
	again := evs[0].N == k.n
	switch lives := 24*time.Hour - slack(24*time.Hour); {
	case !again && age < lives:
		s.t.Errorf("%s: %q stored twice, %v after it was used", s.doing, k.key, age)
	case again && age > 24*time.Hour+slack(24*time.Hour) && k.m == s.m:
		s.t.Errorf("%s: %q still answered, %v after it was used", s.doing, k.key, age)
	}
	if !again {
		*k, f.acked, f.ring = keyedFact{k.key, evs[0].Ring, evs[0].N, s.awake(), s.m}, true, evs[0].Ring
	}
}

// calm is the end of a script: a day and more with a right clock. Then all old
// things have gone, and ages are what they are.
func (s *script) calm() {
	s.doing = "the calm at the end"
	s.m.fail(false)
	for range 26 {
		s.m.sync(5 * time.Millisecond)
		s.write()
		<-time.After(time.Hour)
	}
	if s.dead.Load() {
		s.powerCut()
		return
	}
	s.check()
	_, now := s.m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.read(edge.Query{})
	var slept time.Duration // of all boots
	for _, m := range s.indexes {
		slept += time.Duration(m.slept)
	}
	ages := map[string][]time.Duration{} // of the events of a ring, as far as syncs prove them
	var age time.Duration
	for _, e := range slices.Backward(all) {
		if e.fact != nil && e.Clock != edge.Unsynced { // the others may be no older than what comes next
			age = now.Sub(e.fact.truth)
			age -= slept + slack(age) + 2*time.Minute
		}
		keep := ringAges[e.Ring]
		if e.fact == nil || keep == 0 {
			continue
		}
		later := append(ages[e.Ring], age)
		ages[e.Ring] = later
		// It goes with its segment, which takes no more than these.
		if n := len(later) - segmentEvents; n >= 0 && later[n] > keep+time.Hour {
			s.t.Errorf("event %d of ring %s is still there, with %d after it: %v old by the clock", e.fact.number, e.Ring, segmentEvents,
				s.clock.Age(queue.Stamp{Boot: s.boot(e.fact.m), Mono: e.Mono}))
		}
	}
}
