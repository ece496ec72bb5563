package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// crashState is a state that the disk may be in after a cut: all of the log before
// flushed, of what follows the writes kept, and of the last of those only torn
// bytes where that is not 0.
type crashState struct {
	kind    string
	at      int // what was acknowledged up to here must be there
	until   int // and no id told up to here may be given again: beyond at where the card lied
	flushed int
	kept    []int
	torn    int
	inside  []string // what was under way
}

// The kinds of states.
const (
	statePrefix    = "prefix"    // as if each write took effect in the order it was sent
	stateReordered = "reordered" // any of the writes since the last flush
	stateTorn      = "torn"      // the last write cut at a sector
	stateLie       = "lie"       // the last flushes were acknowledged and not done
)

// What may be under way when the power goes.
const (
	duringMove    = "move"
	duringRoll    = "roll"
	duringSalvage = "salvage"
	duringThin    = "thinning"
	duringOpen    = "start"
)

// crashSpan is a span of the log in which something was under way.
type crashSpan struct {
	what     string
	from, to int // a cut at any i with from < i <= to is inside
}

// crashSpansOf finds the spans in a trace. A life that was killed ends all that
// was under way in it.
func crashSpansOf(notes []crashNote) []crashSpan {
	began := map[string]int{}
	var out []crashSpan
	begin := func(what string, at int) {
		if _, ok := began[what]; !ok {
			began[what] = at
		}
	}
	end := func(what string, at int) {
		if from, ok := began[what]; ok && at > from {
			out = append(out, crashSpan{what, from, at})
		}
		delete(began, what)
	}
	commits := 0 // of segments, since the last roll began
	for _, n := range notes {
		switch n.What {
		case noteOpen:
			for what := range began {
				end(what, n.At)
			}
			begin(duringOpen, n.At)
		case noteOpened:
			end(duringOpen, n.At)
		case noteMove:
			begin(duringMove, n.At)
		case noteMoved:
			end(duringMove, n.At)
		case noteThin:
			begin(duringThin, n.At)
		case noteThinned:
			end(duringThin, n.At)
		case noteSalvage:
			begin(duringSalvage, n.At)
		case noteHealed:
			end(duringSalvage, n.At)
		case noteStep:
			_, salvaging := began[duringSalvage]
			switch n.Key {
			case "segment create":
				end(duringRoll, n.At)
				begin(duringRoll, n.At)
				begin(duringMove, n.At)
				commits = 0
			case "segment commit":
				if commits++; commits > 1 {
					end(duringRoll, n.At)
				}
				if !salvaging {
					begin(duringMove, n.At)
				}
			case "state commit":
				end(duringRoll, n.At)
				end(duringMove, n.At)
			}
		}
	}
	return out
}

// crashPlan gives the states of a log, the earliest first: every prefix, and for
// most writes a reordering, a tear or a lie. Where that is more than most, it is
// a choice of them that favours what is rare.
func crashPlan(log []blockOp, notes []crashNote, most int, rng *rand.Rand) []crashState {
	spans := crashSpansOf(notes)
	opened := 0 // the last start that is whole: a lie about what lies before it looks like a clean stop
	starts := slices.DeleteFunc(slices.Clone(notes), func(n crashNote) bool { return n.What != noteOpened && n.What != noteOpen })
	var all []crashState
	flushed, before := 0, 0 // behind the last flush, and behind the one before it
	lying := false
	for at := 0; at <= len(log); at++ {
		for len(starts) > 0 && starts[0].At <= at {
			lying = starts[0].What == noteOpened
			opened = starts[0].At
			starts = starts[1:]
		}
		if at > 0 && log[at-1].data == nil {
			before, flushed = flushed, at
		}
		pending := make([]int, 0, at-flushed)
		for i := flushed; i < at; i++ {
			pending = append(pending, i)
		}
		base := crashState{kind: statePrefix, at: at, until: at, flushed: flushed, kept: pending, inside: insideOf(spans, at)}
		all = append(all, base)
		if len(pending) > 1 {
			s := base
			s.kind, s.kept = stateReordered, someOf(pending, rng)
			all = append(all, s)
		}
		if len(pending) > 0 && len(log[at-1].data) > sector {
			s := base
			s.kind, s.torn = stateTorn, sector*(1+rng.IntN(len(log[at-1].data)/sector-1))
			all = append(all, s)
		}
		if lying && before > opened && flushed == at {
			all = append(all, lie(log, base, before, rng))
		}
	}
	return chooseStates(all, most, rng)
}

// sector is what a disk writes whole.
const sector = 512

// lie is the state in which the flush at the end of base, and what the card was
// told for a while behind it, did nothing.
func lie(log []blockOp, base crashState, before int, rng *rand.Rand) crashState {
	s := base
	s.kind, s.at, s.flushed = stateLie, before, before
	s.until = base.at
	s.kept = nil
	for i := before; i < base.at; i++ {
		if log[i].data != nil && rng.IntN(4) == 0 {
			s.kept = append(s.kept, i)
		}
	}
	if len(s.kept) > 0 && rng.IntN(2) == 0 {
		s.kept = nil
	}
	return s
}

// someOf gives any of the writes: most often all but one, or half.
func someOf(all []int, rng *rand.Rand) []int {
	if rng.IntN(2) == 0 {
		drop := rng.IntN(len(all) - 1) // not the last: that would be a prefix
		return slices.Delete(slices.Clone(all), drop, drop+1)
	}
	var out []int
	for _, i := range all {
		if rng.IntN(2) == 0 {
			out = append(out, i)
		}
	}
	return out
}

func insideOf(spans []crashSpan, at int) []string {
	var out []string
	for _, s := range spans {
		if s.from < at && at <= s.to && !slices.Contains(out, s.what) {
			out = append(out, s.what)
		}
	}
	return out
}

// chooseStates takes at most so many, those inside something rare three times as
// readily.
func chooseStates(all []crashState, most int, rng *rand.Rand) []crashState {
	if len(all) > most {
		weight := func(s crashState) float64 {
			if slices.ContainsFunc(s.inside, func(w string) bool { return w != duringMove }) {
				return 3
			}
			return 1
		}
		// The highest of r^(1/weight) are a weighted sample without replacement
		// (Efraimidis and Spirakis); comparing log r / weight is the same.
		keys := make(map[int]float64, len(all))
		order := make([]int, len(all))
		for i := range all {
			order[i], keys[i] = i, -rng.ExpFloat64()/weight(all[i])
		}
		slices.SortFunc(order, func(a, b int) int {
			if keys[a] > keys[b] {
				return -1
			}
			return 1
		})
		chosen := make([]crashState, 0, most)
		for _, i := range order[:most] {
			chosen = append(chosen, all[i])
		}
		all = chosen
	}
	slices.SortStableFunc(all, func(a, b crashState) int {
		if a.flushed != b.flushed {
			return a.flushed - b.flushed
		}
		return a.at - b.at
	})
	return all
}

func (s crashState) String() string {
	text := fmt.Sprintf("%s at %d, flushed to %d", s.kind, s.at, s.flushed)
	if s.torn > 0 {
		text += fmt.Sprintf(", torn at byte %d", s.torn)
	}
	if s.until > s.at {
		text += fmt.Sprintf(", told up to %d", s.until)
	}
	return fmt.Sprintf("%s, %d writes behind it, inside %v", text, len(s.kept), s.inside)
}
