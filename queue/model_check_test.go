package queue

import (
	"maps"
	"slices"
)

// check compares the whole store with the model.
func (m *modelRun) check() {
	m.t.Helper()
	if next := m.s.NextN(); next != m.m.last+1 {
		m.t.Fatalf("next n %d, want %d", next, m.m.last+1)
	}
	for name := range m.m.rings {
		m.checkRing(name)
	}
	m.checkMerged()
	got := map[string]string{}
	if err := m.s.Each("keys", "", func(k string, v []byte) bool { got[k] = string(v); return true }); err != nil {
		m.t.Fatal(err)
	}
	if !maps.Equal(got, m.m.rows) {
		m.t.Fatalf("rows %v, want %v", got, m.m.rows)
	}
	c := m.s.Cursor("cloud")
	for name, recs := range m.m.rings {
		for _, r := range c.Ranges(name) {
			for seq := r.From; seq <= r.To; seq++ {
				if seq > uint64(len(recs)) || !m.m.acked[name][seq] {
					m.t.Fatalf("cursor has %d of ring %s, which nobody acknowledged", seq, name)
				}
			}
		}
	}
}

func (m *modelRun) checkRing(name string) {
	m.t.Helper()
	want := uint64(len(m.m.rings[name]))
	next := uint64(1)
	for after := uint64(0); ; {
		page, err := m.s.Read(name, after, Max{Records: 64})
		if err != nil {
			m.t.Fatal(err)
		}
		for _, it := range page.Items {
			if it.Hole != nil {
				if it.Hole.From != next || it.Hole.Cause != Evicted && it.Hole.Cause != Thinned {
					m.t.Fatalf("ring %s: hole %+v at %d", name, *it.Hole, next)
				}
				m.checkThinned(it.Hole)
				if keep := m.opt.Rings[name].Keep; keep > 0 && it.Hole.To+keep > want && it.Hole.To > m.m.deleted[name] {
					m.t.Fatalf("ring %s: hole %+v, yet %d of %d are kept", name, *it.Hole, keep, want)
				}
				if m.opt.Rings[name] == (Limits{}) && it.Hole.To > m.m.deleted[name] {
					m.t.Fatalf("ring %s has no bound: hole %+v", name, *it.Hole)
				}
				next = it.Hole.To + 1
				continue
			}
			if it.Seq != next {
				m.t.Fatalf("ring %s: %d after %d", name, it.Seq, next-1)
			}
			if name == "thin" && it.Seq <= m.m.thinned {
				m.t.Fatalf("ring %s: %d is there, and rows stand for all up to %d", name, it.Seq, m.m.thinned)
			}
			m.same(it.Record)
			next++
		}
		if page.End {
			break
		}
		after = page.Next
	}
	if next != want+1 {
		m.t.Fatalf("ring %s ends at %d, want %d", name, next-1, want)
	}
}

// checkThinned checks that what was thinned names rows that are there, and that
// nothing else is taken for it.
func (m *modelRun) checkThinned(h *Hole) {
	m.t.Helper()
	switch {
	case h.Cause == Thinned && (h.Ring != "thin" || h.To > m.m.thinned || h.Rows.Ring != "thin-1m" || h.Rows.From == 0 || h.Rows.To > uint64(len(m.m.rings["thin-1m"]))):
		m.t.Fatalf("hole %+v, and the ring was thinned up to %d", *h, m.m.thinned)
	case h.Cause == Evicted && h.Ring == "thin" && h.To > max(m.m.deleted["thin"], m.m.thinned):
		m.t.Fatalf("hole %+v, and the ring is not bounded", *h)
	}
}

func (m *modelRun) checkMerged() {
	m.t.Helper()
	names := slices.Collect(maps.Keys(m.m.rings))
	seen := map[string]uint64{}
	last := uint64(0)
	for after := uint64(0); ; {
		page, err := m.s.ReadAll(names, after, Max{Records: 100})
		if err != nil {
			m.t.Fatal(err)
		}
		for _, it := range page.Items {
			if it.Hole != nil {
				if it.Hole.From > seen[it.Ring]+1 {
					m.t.Fatalf("ring %s: hole %+v after %d", it.Ring, *it.Hole, seen[it.Ring])
				}
				seen[it.Ring] = max(seen[it.Ring], it.Hole.To)
				continue
			}
			if it.N <= last || it.Seq != seen[it.Ring]+1 {
				m.t.Fatalf("n %d after %d, ring %s seq %d after %d", it.N, last, it.Ring, it.Seq, seen[it.Ring])
			}
			m.same(it.Record)
			last, seen[it.Ring] = it.N, it.Seq
		}
		if page.End {
			break
		}
		if page.Next <= after {
			m.t.Fatalf("no progress after %d", after)
		}
		after = page.Next
	}
	for name, recs := range m.m.rings {
		if seen[name] != uint64(len(recs)) {
			m.t.Fatalf("merged: ring %s ends at %d, want %d", name, seen[name], len(recs))
		}
	}
	m.checkBack(names)
}

// checkBack reads the newest records downwards.
func (m *modelRun) checkBack(names []string) {
	m.t.Helper()
	before := uint64(0)
	last := m.m.last + 1
	for range 5 {
		page, err := m.s.ReadAllBack(names, before, Max{Records: 40})
		if err != nil {
			m.t.Fatal(err)
		}
		for _, it := range page.Items {
			if it.Hole != nil {
				continue
			}
			if it.N >= last {
				m.t.Fatalf("backwards: n %d below %d", it.N, last)
			}
			m.same(it.Record)
			last = it.N
		}
		if page.End || page.Next == 0 {
			return
		}
		before = page.Next
	}
}
