package edge

import (
	"math"
	"time"
)

const (
	// leap is how far a right clock may be set back: a leap second.
	leap = int64(time.Second)

	// agree is how close two syncs of a boot are that tell the same time.
	agree = time.Hour

	never = math.MinInt64
)

// span is how the times of a part of a boot are told: from mono on, to the next
// span.
type span struct {
	mono   int64
	offset int64 // the wall time is mono + offset
	least  int64 // but not before this, which was told of what came earlier
	bound  int64 // of the mark that tells it
	by     int64 // mono of that mark: what is before it was not synced yet
	state  ClockState
}

// tell works out how the times of a boot are told: guess is the offset of what no
// sync tells. Each mark begins a span, and one is before them all.
func (b *bootTime) tell(trusted []bool, guess int64) {
	b.spans = make([]span, 0, len(b.Marks)+1)
	least := int64(never)
	for i := -1; i < len(b.Marks); i++ {
		own, from := b.at(max(i, 0)), int64(never)
		if i >= 0 {
			from = own.Mono
		}
		sp := span{mono: from, offset: guess - (b.slept() - own.Slept), state: Unsynced}
		if by := nextSync(trusted, i); i >= 0 && trusted[i] {
			sp.state, sp.offset, sp.bound, sp.by = Synced, own.Offset, own.Bound, from
		} else if by < len(b.Marks) && (i >= 0 || own.Slept == 0) { // else who knows when it slept
			m := b.Marks[by]
			sp.state, sp.offset, sp.bound, sp.by = Corrected, m.Offset-(m.Slept-own.Slept), m.Bound+m.Slew, m.Mono
		}
		// Where the board slept before anything was known, what is told of that is a guess.
		if n := len(b.spans); n > 0 && (b.spans[n-1].state != Unsynced || sp.state == Unsynced) {
			least = max(least, b.spans[n-1].offset+from)
		}
		sp.least = least
		b.spans = append(b.spans, sp)
	}
}

// at is a mark; the zero mark of a boot that has none.
func (b *bootTime) at(i int) mark {
	if i >= len(b.Marks) {
		return mark{}
	}
	return b.Marks[i]
}

// slept is how long the boot was suspended, as far as is known.
func (b *bootTime) slept() int64 {
	if n := len(b.Marks); n > 0 {
		return b.Marks[n-1].Slept
	}
	return 0
}

// trusted says which marks tell the time. One that was synced does, but where a
// later one contradicts it: a right clock is never set back further than
// both admit.
func (b *bootTime) trusted() []bool {
	trusted := make([]bool, len(b.Marks))
	next := -1
	for i := len(b.Marks) - 1; i >= 0; i-- {
		m := b.Marks[i]
		if !m.Synced {
			continue
		}
		if next >= 0 {
			n := b.Marks[next]
			back := m.Offset + n.Slept - m.Slept - n.Offset
			if back > leap+m.Bound+n.Bound+n.Slew+drift(n.Mono-m.Mono) {
				continue
			}
		}
		trusted[i], next = true, i
	}
	return trusted
}

func nextSync(trusted []bool, after int) int {
	for i := after + 1; i < len(trusted); i++ {
		if trusted[i] {
			return i
		}
	}
	return len(trusted)
}

// drift is how far a clock that nothing corrects may go wrong meanwhile.
func drift(ns int64) int64 { return max(0, ns) / 1e6 * driftPPM }

// wall is the wall time of mono in nanoseconds since 1970. In the order of mono
// it never runs backwards.
func (b *bootTime) wall(mono int64) (ns int64, state ClockState, bound time.Duration) {
	i := len(b.spans) - 1
	for i > 0 && b.spans[i].mono > mono {
		i--
	}
	sp := &b.spans[i]
	ns = sp.offset + mono
	still := max(ns, sp.least) // where the clock was set back, time stands still
	if sp.state != Unsynced {
		bound = time.Duration(sp.bound + still - ns + drift(sp.by-mono))
	}
	return still, sp.state, bound
}

// bootSync is the last mark of a boot that tells the time.
type bootSync struct {
	mark
	ok    bool
	zero  int64 // the wall time of mono 0
	end   int64 // the offset at the boot's end, all that it slept included
	since int64 // mono from which on its marks have agreed on it
}

func (b *bootTime) lastSync(trusted []bool) (s bootSync) {
	for i := len(trusted) - 1; i >= 0; i-- {
		if !trusted[i] {
			continue
		}
		m := b.Marks[i]
		zero := m.Offset - m.Slept
		if !s.ok {
			s = bootSync{mark: m, ok: true, zero: zero, end: zero + b.slept()}
		} else if time.Duration(zero-s.zero).Abs() > agree {
			break
		}
		s.since = m.Mono
	}
	return s
}

// proof is what the rows round a boot's prove of its wall time: where the one
// before it ended, and where the next one began.
type proof struct {
	after  int64 // mono 0 was not before; never: nothing proves it
	before int64 // the last of it was not after; math.MaxInt64: nothing proves it
	guess  int64 // where the boots before it are told to have ended, or never
}

// prove works out for each row what the others prove of it, and how its times are
// told.
func (t *clockTable) prove() {
	before := int64(math.MaxInt64)
	for i := len(t.rows) - 1; i >= 0; i-- {
		b := t.rows[i]
		b.proof.before = before
		trusted := b.trusted()
		b.sync = b.lastSync(trusted)
		b.tell(trusted, 0) // what a sync tells is no guess
		if ns, state, _ := b.wall(0); state != Unsynced {
			before = ns
		} else if b.sync.ok {
			before = b.sync.zero
		} else if before != math.MaxInt64 {
			before -= b.Last + b.slept()
		}
	}
	after, guess := int64(never), int64(never)
	for _, b := range t.rows {
		b.proof.after, b.proof.guess = after, guess
		b.tell(b.trusted(), b.guess())
		ns, state, _ := b.wall(b.Last)
		if guess = ns; state != Unsynced {
			after = ns
		} else if b.sync.ok {
			after = b.sync.end + b.Last
		} else if after != never {
			after += b.Last + b.slept()
		}
	}
}

// guess is the offset of what no sync of the boot tells: of the wall clock where
// it stood last, as far as the boots round it and the syncs before it allow.
func (b *bootTime) guess() int64 {
	var g int64
	p := &b.proof
	switch n := len(b.Marks); {
	case n > 0:
		g = b.Marks[n-1].Offset
	case p.guess != never:
		g = p.guess
	case p.before != math.MaxInt64:
		g = p.before - b.Last
	}
	if p.before != math.MaxInt64 {
		g = min(g, p.before-b.Last)
	}
	if p.after != never {
		g = max(g, p.after+b.slept())
	}
	if b.sync.ok {
		g = max(g, b.sync.end)
	}
	return g
}

// between is the wall time of mono 0 of a boot that has no row and would stand at
// row at: where the boots before it ended, else where those after it began.
func (t *clockTable) between(at int) int64 {
	if at > 0 {
		ns, _, _ := t.rows[at-1].wall(t.rows[at-1].Last)
		return ns
	}
	if at < len(t.rows) && len(t.rows[at].Marks) > 0 {
		return t.rows[at].Marks[0].Offset
	}
	return 0
}
