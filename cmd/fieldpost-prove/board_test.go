package main

import (
	"fmt"
	"strings"
	"testing"
)

// boardRun makes toggles each 100 ms and the events of a run without a fault.
func boardRun(n int) (ts []toggle, es []lineEvent) {
	for i := range n {
		at := int64(i+1) * 100e6
		ts = append(ts, toggle{before: at, after: at + 1e6, level: i%2 == 0})
		var e lineEvent
		e.ID, e.N, e.Kind, e.Mono = fmt.Sprintf("e-%d", 10+i*2), uint64(10+i*2), "change", at+2e5
		e.Data.Value, e.Data.Request, e.Data.LineSeqno = i%2 == 0, "r1", uint32(i+1)
		es = append(es, e)
	}
	return ts, es
}

// lossBefore is a loss that is told just before an event.
func lossBefore(e lineEvent, count uint64) lineEvent {
	l := lineEvent{ID: e.ID + "l", N: e.N - 1, Kind: "loss", Mono: e.Mono}
	l.Data.Count, l.Data.Cause = count, "restart"
	return l
}

func without(es []lineEvent, i, n int) []lineEvent {
	return append(append([]lineEvent{}, es[:i]...), es[i+n:]...)
}

// edgeCase is a run with something changed in it, and what is said of that.
type edgeCase struct {
	change func([]toggle, []lineEvent) ([]toggle, []lineEvent)
	fault  string // "" where the run is fine
	lost   uint64
	merged int
}

// judged judges the cases. A kill befell the agent all the time, so that a hole has
// its reason.
func judged(t *testing.T, cases map[string]edgeCase) {
	t.Helper()
	kill := []span{{what: "kill", to: 5e9}}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ts, es := c.change(boardRun(20))
			v := judgeEdges(ts, es, kill)
			hasFault(t, v.faults, c.fault)
			if v.lost != c.lost || v.coalesced != c.merged {
				t.Errorf("lost %d, coalesced %d; want %d, %d", v.lost, v.coalesced, c.lost, c.merged)
			}
		})
	}
}

// hasFault sees that one of the faults is the wanted one, or that there is none.
func hasFault(t *testing.T, got []string, want string) {
	t.Helper()
	all := strings.Join(got, "\n")
	if want == "" && all != "" || !strings.Contains(all, want) {
		t.Errorf("faults %q, want %q", all, want)
	}
}

func TestJudgeEdges(t *testing.T) {
	judged(t, map[string]edgeCase{
		"whole": {change: func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) { return ts, es }},
		"a hole that is told": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es = without(es, 5, 2)
			return ts, append(append(append([]lineEvent{}, es[:5]...), lossBefore(es[5], 2)), es[5:]...)
		}, "", 2, 0},
		"the first ones lost": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es = es[2:]
			return ts, append([]lineEvent{lossBefore(es[0], 2)}, es...)
		}, "", 2, 0},
		"a level that no edge told": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			first := lineEvent{ID: "e-1", N: 1, Kind: "change", Mono: 1}
			return ts, append([]lineEvent{first}, es...)
		}, "", 0, 0},
		"four coalesced": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) { return ts, renumbered(without(es, 6, 4)) }, "", 0, 4},
		"five coalesced": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) { return ts, renumbered(without(es, 6, 5)) }, "without a word", 0, 5},
		"a hole": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			return ts, without(es, 5, 1)
		}, "only 0 told as lost", 0, 1},
		"a hole told too small": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es = without(es, 5, 2)
			return ts, append(append(append([]lineEvent{}, es[:5]...), lossBefore(es[5], 1)), es[5:]...)
		}, "only 1 told as lost", 1, 1},
		"a hole told too late": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es = without(es, 5, 1)
			return ts, append(append(append([]lineEvent{}, es[:6]...), lossBefore(es[6], 1)), es[6:]...)
		}, "only 0 told as lost", 1, 0},
		"a loss of nothing": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			return ts, append(append(append([]lineEvent{}, es[:5]...), lossBefore(es[5], 1)), es[5:]...)
		}, "too many", 1, -1},
	})
}

func TestJudgeNumbers(t *testing.T) {
	judged(t, map[string]edgeCase{
		"an event listed twice": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			return ts, append(es, es[len(es)-1])
		}, "there twice", 0, -1},
		"an edge stored twice": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			again := es[5]
			again.ID, again.N = "e-21", again.N+1
			return ts, append(append(append([]lineEvent{}, es[:6]...), again), es[6:]...)
		}, "stored twice", 0, -1},
		"another request": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			for i := range es[10:] {
				es[10+i].Data.Request, es[10+i].Data.LineSeqno = "r2", uint32(i+1)
			}
			return ts, es
		}, "requested 2 times", 0, 0},
		"no request": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es[3].Data.Request = ""
			return ts, es
		}, "no request", 0, 0},
		"nothing": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) { return ts, nil }, "requested 0 times", 0, 20},
		"out of order": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es[4].N = 1
			return ts, es
		}, "has number 1 after", 0, 0},
	})
}

func TestJudgeStamps(t *testing.T) {
	judged(t, map[string]edgeCase{
		"the wrong level": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es[4].Data.Value = !es[4].Data.Value
			return ts, es
		}, "the toggle before it was to", 0, 0},
		"a stamp outside its window": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es[4].Mono = es[5].Mono + 1
			return ts, es
		}, "are of one toggle", 0, 0},
		"a stamp of the agent": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es[len(es)-1].Mono += 2e9
			return ts, es
		}, "after its toggle", 0, 0},
		"a stamp before all": {func(ts []toggle, es []lineEvent) ([]toggle, []lineEvent) {
			es[0].Mono = 5
			return ts, es
		}, "before the first toggle", 0, 0},
	})
}

// holes takes edges away from a run and tells each hole as a loss.
func holes(es []lineEvent, at ...[2]int) (left []lineEvent) {
	from := 0
	for _, h := range at {
		left = append(append(left, es[from:h[0]]...), lossBefore(es[h[0]+h[1]], uint64(h[1])))
		from = h[0] + h[1]
	}
	return append(left, es[from:]...)
}

// A told loss is not enough: only a kill explains a hole, and a small one.
func TestJudgeBlame(t *testing.T) {
	const s = int64(1e9)
	kill, second := span{what: "kill", from: 5 * s, to: 6 * s}, span{what: "second kill", from: 9 * s, to: 10 * s}
	restart, reexec := kill, kill
	restart.what, restart.graceful = "restart", true
	reexec.what, reexec.graceful = "daemon-reexec", true
	for name, c := range map[string]struct {
		holes  [][2]int // the first edge that is gone, and how many; edge i is of (i+1)/10 s
		befell []span
		fault  string
	}{
		"two at a kill":                       {[][2]int{{49, 2}}, []span{kill, second}, ""},
		"two just before a kill":              {[][2]int{{42, 2}}, []span{kill}, ""},
		"two at each kill":                    {[][2]int{{49, 2}, {89, 2}}, []span{kill, second}, ""},
		"three at a kill":                     {[][2]int{{49, 3}}, []span{kill}, "3 edges are lost at the kill"},
		"three at a kill in two holes":        {[][2]int{{49, 2}, {55, 1}}, []span{kill}, "3 edges are lost at the kill"},
		"a queue thrown away at a kill":       {[][2]int{{50, 32}}, []span{kill, second}, "32 edges are lost at the kill"},
		"one at a restart":                    {[][2]int{{50, 1}}, []span{restart, second}, "1 edges are lost at the restart"},
		"a queue thrown away at a restart":    {[][2]int{{50, 12}}, []span{restart}, "12 edges are lost at the restart"},
		"one at a daemon-reexec":              {[][2]int{{52, 1}}, []span{reexec}, "1 edges are lost at the daemon-reexec"},
		"one with a restart where a kill was": {[][2]int{{92, 1}}, []span{kill, {what: "restart", from: 9 * s, to: 10 * s, graceful: true}}, "at the restart"},
		"one long before a kill":              {[][2]int{{20, 1}}, []span{kill}, "where nothing befell the agent"},
		"one long after a kill":               {[][2]int{{75, 1}}, []span{kill}, "where nothing befell the agent"},
	} {
		t.Run(name, func(t *testing.T) {
			ts, es := boardRun(120)
			hasFault(t, judgeEdges(ts, holes(es, c.holes...), c.befell).faults, c.fault)
		})
	}
	// Told as lost, and no number is missing: the kernel merges few.
	for count, fault := range map[int]string{4: "", 6: "only 0 are missing in the kernel's numbers"} {
		ts, es := boardRun(20)
		es = renumbered(without(es, 6, count))
		es = append(append(append([]lineEvent{}, es[:6]...), lossBefore(es[6], uint64(count))), es[6:]...)
		hasFault(t, judgeEdges(ts, es, []span{{what: "kill", to: 5 * s}}).faults, fault)
	}
}

// renumbered closes the holes in line_seqno, as where the kernel merged edges.
func renumbered(es []lineEvent) []lineEvent {
	for i := range es {
		es[i].Data.LineSeqno = uint32(i + 1)
	}
	return es
}

func TestJudgePump(t *testing.T) {
	levels := func(s string) (out []sample) {
		for i, c := range s {
			out = append(out, sample{at: int64(i), end: int64(i), lamp: true, pump: c == '1'})
		}
		return out
	}
	falls := span{what: "stop", from: 2, to: 6, falls: true}
	on := span{what: "on", from: 0, to: 3, level: true}
	for _, c := range []struct {
		samples string
		span    span
		fault   string
	}{
		{"1111000", falls, ""},
		{"1100000", falls, ""},
		{"1111111", falls, "never went off"},
		{"1110100", falls, "came on again"},
		{"1", falls, "no sample"},
		{"1111000", on, ""},
		{"1101000", on, "not true"},
		{"0000011", span{what: "boot", from: 0, to: 4}, ""},
		{"0010011", span{what: "boot", from: 0, to: 4}, "not false"},
	} {
		got := strings.Join(judgePump(levels(c.samples), []span{c.span}), "\n")
		if c.fault == "" && got != "" || !strings.Contains(got, c.fault) {
			t.Errorf("%s %s: %q, want %q", c.samples, c.span.what, got, c.fault)
		}
	}
	// Which side of the stop a look that lasted into it saw is not known.
	if f := judgePump([]sample{{at: 1, end: 2, pump: true}, {at: 3, end: 9}}, []span{on}); len(f) != 0 {
		t.Error(f)
	}
	dark := levels("111")
	if f := judgeLamp(dark); len(f) != 0 {
		t.Error(f)
	}
	dark[1].lamp = false
	if f := judgeLamp(dark); len(f) != 1 {
		t.Errorf("a lamp that was off: %v", f)
	}
}

func TestJudgeStops(t *testing.T) {
	stopped := func(at int64, value bool, why string) lineEvent {
		e := lineEvent{Kind: "change", Mono: at}
		e.Data.Value, e.Data.Why = value, why
		return e
	}
	stop := span{what: "stop", from: 10, to: 20, falls: true, graceful: true}
	kill := span{what: "kill", from: 30, to: 40, falls: true}
	for _, c := range []struct {
		events []lineEvent
		spans  []span
		ok     bool
	}{
		{[]lineEvent{stopped(12, false, "stop")}, []span{stop, kill, {what: "on", to: 50}}, true},
		{nil, []span{stop}, false},
		{[]lineEvent{stopped(12, false, "")}, []span{stop}, false},
		{[]lineEvent{stopped(12, true, "stop")}, []span{stop}, false},
		{[]lineEvent{stopped(25, false, "stop")}, []span{stop}, false},
		{[]lineEvent{stopped(12, false, "stop"), stopped(13, false, "stop")}, []span{stop}, false},
		{[]lineEvent{stopped(33, false, "stop")}, []span{kill}, false},
	} {
		if got := judgeStops(c.events, c.spans); (len(got) == 0) != c.ok {
			t.Errorf("%+v: %v", c.events, got)
		}
	}
}

func TestMissingOf(t *testing.T) {
	_, es := boardRun(3)
	got := missingOf(es, map[string]bool{"e-10": true, "e-14": true})
	if len(got) != 1 || got[0] != "e-12" {
		t.Errorf("missing %v", got)
	}
}

// A late tick is left out, and the next is on the schedule again.
func TestTickAfter(t *testing.T) {
	const ms = int64(1e6)
	for _, c := range []struct{ now, next, want, skipped int64 }{
		{100 * ms, 200 * ms, 200 * ms, 0},
		{199 * ms, 200 * ms, 200 * ms, 0},
		{250 * ms, 200 * ms, 300 * ms, 1},
		{530 * ms, 200 * ms, 600 * ms, 4},
	} {
		got, skipped := tickAfter(c.now, c.next, 100*ms)
		if got != c.want || int64(skipped) != c.skipped {
			t.Errorf("at %d, due %d: %d and %d left out, want %d and %d", c.now, c.next, got, skipped, c.want, c.skipped)
		}
	}
}

func TestExposure(t *testing.T) {
	got, err := exposure("  x\n→ Overall exposure level for fieldpost.service: 1.9 OK :-)\n")
	if err != nil || got != 1.9 {
		t.Errorf("%v %v", got, err)
	}
	if _, err := exposure("Failed to load"); err == nil {
		t.Error("no score is no error")
	}
}
