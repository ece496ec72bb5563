package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/queue"
)

func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range mutants() {
		texts, err := m.apply("../..")
		if err != nil {
			t.Error(err)
		}
		for _, e := range m.edits {
			if err == nil && !strings.Contains(texts[e.file], e.new) {
				t.Errorf("mutant %q: %s does not have its new text", m.name, e.file)
			}
		}
	}
	_, err := mutant{name: "old", edits: []edit{{"queue/half.go", "a text that is nowhere", ""}}}.apply("../..")
	if err == nil || !strings.Contains(err.Error(), "no longer fits") {
		t.Errorf("a mutant that does not fit: %v", err)
	}
}

// crashLog is four writes of a sector each to their own place, a flush in the
// middle, and one of two sectors.
func crashLog() []blockOp {
	at := func(i int64, sectors int) blockOp {
		return blockOp{offset: i * 4 * sector, data: slices.Repeat([]byte{byte(i + 1)}, sectors*sector)}
	}
	return []blockOp{at(0, 1), at(1, 1), {}, at(2, 1), at(3, 2), {}}
}

func TestCrashImagePlaysBack(t *testing.T) {
	log := crashLog()
	m := &crashImage{log: log, disk: make([]byte, 64<<10), mapped: make([]byte, 64<<10)}
	has := func() (out []byte) { // the first byte of each place, and that of the last one's second sector
		for i := range 4 {
			out = append(out, m.mapped[i*4*sector])
		}
		return append(out, m.mapped[13*sector])
	}
	for _, c := range []struct {
		s    crashState
		want []byte
	}{
		{crashState{}, []byte{0, 0, 0, 0, 0}},
		{crashState{kept: []int{1}}, []byte{0, 2, 0, 0, 0}},
		{crashState{flushed: 3}, []byte{1, 2, 0, 0, 0}},
		{crashState{flushed: 3, kept: []int{4}}, []byte{1, 2, 0, 4, 4}},
		{crashState{flushed: 3, kept: []int{3, 4}, torn: sector}, []byte{1, 2, 3, 4, 0}},
		{crashState{flushed: 6}, []byte{1, 2, 3, 4, 4}},
	} {
		m.set(c.s)
		if got := has(); !slices.Equal(got, c.want) {
			t.Errorf("%v: the disk has %v, want %v", c.s, got, c.want)
		}
	}
}

func TestCrashPlan(t *testing.T) {
	log := slices.Concat(crashLog(), crashLog(), crashLog())
	notes := []crashNote{{At: 2, What: noteOpen}, {At: 4, What: noteOpened}, {At: 7, What: noteMove}, {At: 11, What: noteMoved}}
	count := map[string]int{}
	for _, s := range crashPlan(log, notes, 1000, rand.New(rand.NewPCG(1, 2))) {
		count[s.kind]++
		for _, i := range s.kept {
			if i < s.flushed || log[i].data == nil || s.kind != stateLie && i >= s.at {
				t.Errorf("%v keeps %d", s, i)
			}
		}
		for i := s.flushed; s.kind == statePrefix && i < s.at; i++ {
			if log[i].data == nil {
				t.Errorf("%v: there is a flush at %d", s, i)
			}
		}
		if s.kind == stateLie && (s.at <= 4 || s.until <= s.at) {
			t.Errorf("%v is a lie about what came before the start", s)
		}
		if want := s.until > 7 && s.until <= 11; slices.Contains(s.inside, duringMove) != want {
			t.Errorf("%v: inside a move must be %v", s, want)
		}
	}
	if count[statePrefix] != len(log)+1 || count[stateReordered] == 0 || count[stateTorn] == 0 || count[stateLie] == 0 {
		t.Errorf("the plan has %v", count)
	}
	if n := len(crashPlan(log, notes, 7, rand.New(rand.NewPCG(1, 2)))); n != 7 {
		t.Errorf("of a choice of 7 there are %d", n)
	}
}

func TestCrashMustTellsWhatAnIDBreaks(t *testing.T) {
	id := func(c, n, seq uint64) crashID { return crashID{Ring: edge.RingEvents, C: c, Epoch: 1, N: n, Seq: seq} }
	for name, c := range map[string]struct {
		ids  []crashID
		want string
	}{
		"nothing":            {[]crashID{id(1, 1, 1), id(2, 2, 2), id(1, 1, 1)}, ""},
		"nobody's":           {[]crashID{id(9, 1, 1)}, "never posted"},
		"two contents":       {[]crashID{id(1, 1, 1), id(2, 1, 2)}, "two contents"},
		"two contents, seq":  {[]crashID{id(1, 1, 1), id(2, 2, 1)}, "two contents"},
		"stored twice":       {[]crashID{id(1, 1, 1), id(1, 2, 2)}, "stored twice"},
		"of another's ring ": {[]crashID{{Ring: edge.RingAlarms, C: 1, Epoch: 1, N: 1, Seq: 1}}, "never posted"},
	} {
		m := newCrashMust()
		m.add(crashNote{What: noteTry, IDs: []crashID{{Ring: edge.RingEvents, C: 1}, {Ring: edge.RingEvents, C: 2}}})
		got := strings.Join(m.add(crashNote{What: noteAck, IDs: c.ids}), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// storeOf fills a small store as the workload does, and gives what it was told.
func storeOf(t *testing.T) (queue.Options, *crashMust) {
	t.Helper()
	opt := crashOptions(t.TempDir(), "boot", 1)
	s, err := openCrashStore(opt)
	if err != nil {
		t.Fatal(err)
	}
	must := newCrashMust()
	for c := uint64(1); c <= 300; c += 3 {
		ids := []crashID{{Ring: edge.RingEvents, C: c}, {Ring: edge.RingAlarms, C: c + 1}, {Ring: edge.RingSamples, C: c + 2}}
		must.add(crashNote{What: noteTry, IDs: ids})
		got, err := s.post(context.Background(), ids, "")
		if err != nil {
			t.Fatal(err)
		}
		if broken := must.add(crashNote{What: noteAck, IDs: got}); len(broken) > 0 {
			t.Fatal(broken)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opt.Boot = "cut"
	return opt, must
}

func TestCheckStoreFindsAnInventedLoss(t *testing.T) {
	opt, must := storeOf(t)
	if v := checkStore(context.Background(), opt, must.clone(), true); len(v.broken) > 0 || v.lost > 0 {
		t.Fatalf("a whole store: %d lost, %v", v.lost, v.broken)
	}
	for name, c := range map[string]struct {
		note crashNote
		lost int
	}{
		"an event behind the end": {crashNote{What: noteAck, IDs: []crashID{{Ring: edge.RingEvents, C: 5000, Epoch: 1, N: 5000, Seq: 5000}}}, 1},
		"another content":         {crashNote{What: noteSaw, IDs: []crashID{{Ring: edge.RingEvents, C: 5000, Epoch: 1, N: 4, Seq: 2}}}, 1},
		"a mailbox":               {crashNote{What: noteMailed, N: 7}, 1},
		"a cursor":                {crashNote{What: noteKept, Kept: map[string]crashSpans{edge.RingEvents: {{From: 1, To: 9}}}}, 0},
	} {
		opt, must := storeOf(t)
		must.add(crashNote{What: noteTry, IDs: []crashID{{Ring: edge.RingEvents, C: 5000}}})
		must.add(c.note)
		if v := checkStore(context.Background(), opt, must, false); len(v.broken) == 0 || v.lost != c.lost {
			t.Errorf("%s: %d lost, %v", name, v.lost, v.broken)
		}
	}
}

func TestHolesMustHaveAReason(t *testing.T) {
	must := newCrashMust()
	must.damage[edge.RingEvents] = []queue.Range{{From: 5, To: 9}}
	must.thin = []queue.Range{{From: 1, To: 8}}
	rows := queue.Rows{Ring: crashRows(), From: 3, To: 4}
	for _, c := range []struct {
		ring     string
		from, to uint64
		cause    queue.Cause
		want     bool
	}{
		{edge.RingAlarms, 1, 60, queue.Evicted, true},
		{edge.RingAlarms, 1, 61, queue.Evicted, false}, // 100 are there, and 40 are kept
		{edge.RingSamples, 1, 70, queue.Evicted, true},
		{edge.RingSamples, 80, 90, queue.Evicted, false}, // not the oldest
		{edge.RingEvents, 1, 1, queue.Evicted, false},    // it has no bound
		{edge.RingEvents, 5, 8, queue.Damage, true},
		{edge.RingEvents, 8, 10, queue.Damage, false},
		{edge.RingSamples, 1, 2, queue.Headroom, false},
		{edge.RingSamples, 1, 8, queue.Thinned, true},
		{edge.RingSamples, 1, 9, queue.Thinned, false}, // only 8 were
		{edge.RingEvents, 1, 8, queue.Thinned, false},  // it does not thin
	} {
		log := ringRead{ring: c.ring, next: 100, first: 75, rows: map[uint64]crashID{3: {}, 4: {}}}
		hole := queue.Hole{From: c.from, To: c.to, Cause: c.cause, Rows: rows}
		if got := log.legitimate(hole, must); got != c.want {
			t.Errorf("hole %d..%d of %s, %s: %v", c.from, c.to, c.ring, c.cause, got)
		}
		if delete(log.rows, 4); c.cause == queue.Thinned && log.legitimate(hole, must) {
			t.Error("a hole of which a row is not there may be")
		}
	}
	// Damage took the only record of the newest segment: those before it may have been evicted.
	bare := ringRead{ring: edge.RingSamples, next: 100}
	for to, want := range map[uint64]bool{99: true, 100: false} {
		if got := bare.legitimate(queue.Hole{From: 1, To: to, Cause: queue.Evicted}, must); got != want {
			t.Errorf("hole 1..%d of samples without a record: %v", to, got)
		}
	}
}

func TestSpanUnion(t *testing.T) {
	var have []queue.Range
	for _, r := range []queue.Range{{From: 5, To: 6}, {From: 1, To: 2}, {From: 9, To: 9}, {From: 3, To: 4}} {
		have = spanUnion(have, r)
	}
	if want := "[{1 6} {9 9}]"; fmt.Sprint(have) != want {
		t.Errorf("%v, want %s", have, want)
	}
	if !spanHolds(have, queue.Range{From: 2, To: 6}) || spanHolds(have, queue.Range{From: 6, To: 9}) {
		t.Error("what it holds is wrong")
	}
}
