package edge

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func verifyEvent(seq uint64) Event {
	e := stored()
	e.Ring, e.Seq, e.N = "events", seq, seq
	e.Data = json.RawMessage(fmt.Sprintf(`{"value":%d,"unit":"C"}`, seq))
	return e
}

func verifyGap(from, to uint64) Event {
	return Event{Epoch: 0x7f3a9c21, Ring: "events", Seq: to, Agent: "greenhouse", Name: "gap", Kind: Gap, Hole: &Hole{From: from, To: to, Count: to - from + 1, Cause: "age"}}
}

func verifyLedger(seq, first, last uint64) Event {
	e := verifyEvent(seq)
	e.Name, e.Kind, e.Ring, e.Seq = "ledger", System, "system", seq-1000
	e.Data = json.RawMessage(fmt.Sprintf(`{"epoch":"7f3a9c21","rings":{"events":{"first":%d,"last":%d},"system":{"first":1,"last":%d},"audit":{"first":1,"last":9}}}`, first, last, seq-1001))
	return e
}

func add(t *testing.T, v *Verifier, evs ...Event) {
	t.Helper()
	for _, e := range evs {
		if err := v.Add(e.AppendJSON(nil)); err != nil {
			t.Fatal(err)
		}
	}
}

func eventsReport(v *Verifier) RingReport {
	for _, r := range v.Report().Rings {
		if r.Ring == "events" {
			return r
		}
	}
	return RingReport{}
}

func TestVerifyCloses(t *testing.T) {
	v := NewVerifier()
	add(t, v, verifyGap(1, 5))
	order := rand.New(rand.NewPCG(1, 2)).Perm(100)
	for _, i := range order {
		add(t, v, verifyEvent(uint64(i)+4)) // 4 and 5 were received, though a gap tells of them
	}
	if r := v.Report(); r.Closed || r.Missing != 0 {
		t.Fatalf("closed without a ledger: %+v", r)
	}
	add(t, v, verifyLedger(1001, 1, 103), verifyEvent(50))
	r := eventsReport(v)
	if !r.Closed || r.Received != 100 || r.Gaps != 3 || r.Duplicates != 1 || r.First != 1 || r.Last != 103 || !v.Report().Closed {
		t.Errorf("%+v", v.Report())
	}
	add(t, v, verifyEvent(105))
	if r := eventsReport(v); r.Closed || r.Missing != 1 || r.Ranges[0].From != 104 {
		t.Errorf("104 is missing: %+v", r)
	}
}

func TestVerifyMissing(t *testing.T) {
	v := NewVerifier()
	add(t, v, verifyEvent(2), verifyEvent(3), verifyEvent(7), verifyGap(5, 5), verifyLedger(1001, 1, 10))
	r := eventsReport(v)
	if got := fmt.Sprint(r.Ranges); r.Closed || r.Missing != 6 || got != "[{1 1} {4 4} {6 6} {8 10}]" {
		t.Errorf("%+v", r)
	}
}

func TestVerifyConflicts(t *testing.T) {
	same := verifyEvent(1)
	same.Clock, same.Bound, same.Time = Corrected, 5, same.Time.AddDate(1, 0, 0) // worked out anew on each reading
	spaced := verifyEvent(1)
	spaced.Data = json.RawMessage(`{"unit": "C", "value": 1}`)
	for name, c := range map[string]struct {
		change               func(*Event)
		duplicates, conflict uint64
	}{
		"time":   {func(e *Event) { *e = same }, 1, 0},
		"spaces": {func(e *Event) { *e = spaced }, 1, 0},
		"data":   {func(e *Event) { e.Data = json.RawMessage(`2`) }, 0, 1},
		"name":   {func(e *Event) { e.Name = "x" }, 0, 1},
		"kind":   {func(e *Event) { e.Kind = Sample }, 0, 1},
		"boot":   {func(e *Event) { e.Boot = "x" }, 0, 1},
		"mono":   {func(e *Event) { e.Mono++ }, 0, 1},
		"from":   {func(e *Event) { e.From = "x" }, 0, 1},
		"cause":  {func(e *Event) { e.Cause = "x" }, 0, 1},
		"origin": {func(e *Event) { e.Origin = &Origin{} }, 0, 1},
		"seq":    {func(e *Event) { e.Seq = 2 }, 0, 1},
		"n":      {func(e *Event) { e.N = 2 }, 0, 1},
	} {
		v := NewVerifier()
		e := verifyEvent(1)
		c.change(&e)
		add(t, v, verifyEvent(1), e)
		r := v.Report()
		if r.Duplicates != c.duplicates || r.Conflicts != c.conflict {
			t.Errorf("%s: %d duplicates, %d conflicts", name, r.Duplicates, r.Conflicts)
		}
		var ids []string
		for _, ring := range r.Rings {
			ids = append(ids, ring.IDs...)
		}
		if len(ids) != int(c.conflict) || len(ids) > 0 && ids[0] != e.ID() {
			t.Errorf("%s: conflicts in %q", name, ids)
		}
	}
}

func TestVerifyRings(t *testing.T) {
	ledger := verifyLedger(1001, 1, 2)
	ledger.Data = json.RawMessage(`{"epoch":"7f3a9c21","rings":{"events":{"first":1,"last":2},"samples":{"first":1,"last":9},"audit":{"first":1,"last":9},"empty":{"first":4,"last":3}}}`)
	v := NewVerifier()
	add(t, v, verifyEvent(1), verifyEvent(2), ledger)
	if r := v.Report(); r.Closed || r.Missing != 9 {
		t.Errorf("a ring that never came: %+v", r)
	}
	v = NewVerifier("events")
	add(t, v, verifyEvent(1), verifyEvent(2), ledger)
	if r := v.Report(); !r.Closed || len(r.Rings) != 1 {
		t.Errorf("events alone: %+v", r)
	}
}

// An epoch between two that were seen can't be missing as a whole; the ones
// before all of them can.
func TestVerifyEpochs(t *testing.T) {
	ledger := verifyLedger(1001, 1, 0)
	span := func(epoch string) string { return `{"epoch":"` + epoch + `","rings":{"events":{"first":1,"last":1}}}` }
	ledger.Data = json.RawMessage(`{"epoch":"7f3a9c21","rings":{"system":{"first":1,"last":1}},"before":[` +
		span("0000000c") + `,` + span("0000000b") + `,` + span("0000000a") + `]}`)
	for _, c := range []struct {
		seen    []uint32
		missing uint64
	}{{nil, 0}, {[]uint32{0xc}, 0}, {[]uint32{0xb}, 1}, {[]uint32{0xc, 0xa}, 1}, {[]uint32{0xa, 0xb, 0xc}, 0}} {
		v := NewVerifier()
		for _, epoch := range c.seen {
			e := verifyEvent(1)
			e.Epoch = epoch
			add(t, v, e)
		}
		add(t, v, ledger)
		if r := v.Report(); r.Missing != c.missing || r.Closed != (c.missing == 0) {
			t.Errorf("seen %x: %+v", c.seen, r)
		}
	}
}

func TestVerifyLines(t *testing.T) {
	v := NewVerifier()
	a, b := verifyEvent(1), verifyEvent(2)
	line := "[" + string(a.AppendJSON(nil)) + ", " + string(b.AppendJSON(nil)) + "]\r\n"
	if err := v.Add([]byte(line)); err != nil {
		t.Fatal(err)
	}
	for _, ok := range []string{"", " \n", "[]"} {
		if err := v.Add([]byte(ok)); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"{", "x", "{}", `[{"id":"x"}]`, strings.Replace(line, `"seq":1,`, `"seq":0,`, 1)} {
		if v.Add([]byte(bad)) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if r := v.Report(); r.Events != 2 {
		t.Errorf("%d events", r.Events)
	}
}

func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var a, b spans
		inA, inB := map[uint64]bool{}, map[uint64]bool{}
		for range 30 {
			from := rng.Uint64N(60) + 1
			to := from + rng.Uint64N(4)
			known := false
			for i := from; i <= to; i++ {
				known = known || inA[i]
				inA[i] = true
			}
			if got := a.add(from, to); got != known {
				t.Fatalf("add %d to %d: %v, not %v", from, to, got, known)
			}
			from = rng.Uint64N(60) + 1
			inB[from] = true
			b.add(from, from)
		}
		var want, only uint64
		for i := uint64(1); i <= 70; i++ {
			if !inA[i] && !inB[i] {
				want++
			}
			if inA[i] && !inB[i] {
				only++
			}
		}
		got, ranges := missing(1, 70, a, b, 1000)
		var sum uint64
		for _, r := range ranges {
			sum += r.To - r.From + 1
		}
		if got != want || sum != want || a.without(b) != only || a.count() != uint64(len(inA)) {
			t.Fatalf("%v %v: %d missing, not %d", a, b, got, want)
		}
		for i := 1; i < len(a); i++ {
			if a[i].From <= a[i-1].To+1 {
				t.Fatalf("%v touch", a)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	e, g, l := verifyEvent(1), verifyGap(2, 3), verifyLedger(1001, 1, 3)
	for _, e := range []Event{e, g, l} {
		f.Add(e.AppendJSON(nil))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		v := NewVerifier()
		if v.Add(line) == nil {
			v.Report()
		}
	})
}
