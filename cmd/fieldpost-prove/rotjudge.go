package main

import (
	"fmt"
	"slices"
	"strings"

	"fieldpost/queue"
)

// judgeResumed: between the position and the first records no readable record of
// any ring may have been passed over. What was appended afterwards has other numbers
// than the builder would have given it.
func (r *rotRun) judgeResumed(resumed map[uint64]queue.Page, after map[string]*rotView) {
	for at, page := range resumed {
		seen, last := map[string]bool{}, uint64(0)
		for _, it := range page.Items {
			if it.Hole == nil {
				if it.N <= at || it.N <= last {
					r.out.failed("read all after %d: n %d after %d", at, it.N, last)
				}
				last = it.N
				seen[fmt.Sprint(it.Ring, it.Seq)] = true
			}
		}
		for n := at + 1; n < last && n <= r.facts.LastN; n++ {
			ring, seq := rotNumber(n)
			if seq > 0 && after[ring].has(seq) && !seen[fmt.Sprint(ring, seq)] {
				r.out.failed("read all after %d: %s %d was passed over: %s", at, ring, seq, pageText(page))
				return
			}
		}
	}
}

// rotNumber is the ring and seq that the builder gave to n.
func rotNumber(n uint64) (string, uint64) {
	ring, all, mine := rotRingOf(int(n-1)), 0, 0
	from := 0
	for _, r := range rotRings {
		if r.name == ring {
			mine, from = r.share, all
		}
		all += r.share
	}
	rounds := (n - 1) / uint64(all)
	return ring, rounds*uint64(mine) + (n-1)%uint64(all) - uint64(from) + 1
}

// judge compares what can be read with what was acknowledged.
func (r *rotRun) judge(before, after map[string]*rotView) {
	r.kept("after the salvage", before, after)
	fresh := !slices.Contains(r.facts.Epochs, r.epochs[len(r.epochs)-1].ID)
	for name, ring := range r.facts.Rings {
		v := after[name]
		survived := ring.Last
		if fresh {
			survived = min(survived, r.epochs[len(r.epochs)-1].Rings[name]-1)
		}
		for _, part := range r.facts.parts(name, r.may, r.state.seed) {
			for seq := part.From; seq <= min(part.To, ring.Last); seq++ {
				switch {
				case seq > survived:
					r.out.Tail++
				case v.has(seq), v.gone.has(name, seq):
					continue
				case v.damaged.has(name, seq):
					if seq <= ring.Floor { // it was gone already
						continue
					}
					r.out.Told++
				default:
					r.out.Lost++
					r.out.failed("ring %s, seq %d is neither there nor told", name, seq)
				}
				if !r.may.has(name, seq) {
					r.out.failed("ring %s, seq %d is lost, and the damage did not touch it", name, seq)
				}
			}
		}
		for _, g := range v.gone {
			if g.To > ring.Floor+10 {
				r.out.failed("ring %s: %d..%d are told as evicted, and %d was the floor", name, g.From, g.To, ring.Floor)
			}
		}
	}
}

// kept: what could be read once can be read again.
func (r *rotRun) kept(when string, before, after map[string]*rotView) {
	for name, v := range before {
		for seq, had := range v.have {
			if had && !after[name].has(uint64(seq)) && !after[name].gone.has(name, uint64(seq)) {
				r.out.failed("ring %s, seq %d could be read, and %s it can't", name, seq, when)
				break
			}
		}
	}
}

// judgePositions: nobody's position may be ahead of what he acknowledged, and
// rows are what they were, or gone.
func (r *rotRun) judgePositions() {
	f := r.facts
	for name, to := range f.Acked {
		for _, x := range r.store.Cursor("cloud").Ranges(name) {
			if x.To > to {
				r.out.failed("cursor: ring %s is acknowledged up to %d, and was up to %d", name, x.To, to)
			}
		}
	}
	if m, ok := r.store.Mailbox("app"); ok && m.N > f.Mail {
		r.out.failed("mailbox is at %d, and was at %d", m.N, f.Mail)
	} else if !ok || m.N < f.Mail {
		r.out.Rows++
	}
	err := r.store.Each("rot", "", func(key string, value []byte) bool {
		if string(value) != f.Rows[key] && string(value) != f.Older[key] {
			r.out.failed("row %s reads as %q, and is %q", key, value, f.Rows[key])
		}
		return true
	})
	if err != nil {
		r.out.failed("rows: %v", err)
	}
	for key, want := range f.Rows {
		if got, ok := r.store.Get("rot", key); !ok || string(got) != want {
			r.out.Rows++
		}
	}
	state := r.state.spot.File == "state.db" || strings.HasPrefix(r.state.spot.File, "journal")
	if r.out.Rows > 0 && !state {
		r.out.failed("%d rows are lost, and the damage did not touch them", r.out.Rows)
	}
}

// readMerged reads the newest part of all rings by n, and looks that it is all
// that the rings have.
func (r *rotRun) readMerged(rings map[string]*rotView) {
	from := uint64(0)
	if len(r.facts.Pages) > 10_000 {
		from = r.facts.LastN - 20_000
	}
	got := map[string]int{}
	last := uint64(0)
	for after := from; ; {
		page, err := r.store.ReadAll(r.facts.names(), after, queue.Max{})
		if err != nil {
			r.out.failed("read all: %v", err)
			return
		}
		for _, it := range page.Items {
			if it.Hole == nil {
				if it.N <= last {
					r.out.failed("read all: n %d after %d", it.N, last)
				}
				last = it.N
				got[it.Ring]++
			}
		}
		if page.End {
			break
		}
		after = page.Next
	}
	for name, v := range rings {
		want := 0
		for _, had := range v.have {
			if had {
				want++
			}
		}
		if from == 0 && got[name] != want {
			r.out.failed("read all: %d records of ring %s, and the ring has %d", got[name], name, want)
		}
	}
}

// pageText tells what a page begins with.
func pageText(page queue.Page) string {
	text := ""
	for i, it := range page.Items {
		switch {
		case i == 8:
			return text + " ..."
		case it.Hole != nil:
			text += fmt.Sprintf(" [%s %d..%d %s]", it.Ring, it.Hole.From, it.Hole.To, it.Hole.Cause)
		default:
			text += fmt.Sprintf(" %s %d (n %d)", it.Ring, it.Seq, it.N)
		}
	}
	return text
}
