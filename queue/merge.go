package queue

import (
	"errors"
	"slices"
)

// source is one ring's share of a merge by n: a page of it at a time.
type source struct {
	store *Store
	ring  string
	back  bool
	chunk int

	items []Item
	holes []Item // before the next record; nil going back, where they stay in items
	holeN uint64 // the n of the last of them, or what is known to be no less
	next  uint64 // the seq to go on from
	end   bool
	after uint64 // records up to this n are not asked for; going back it is 0
}

// load sees that the source has an item, if there is one.
func (c *source) load() error {
	for len(c.items) == 0 && !c.end {
		var page Page
		var err error
		max := Max{Records: c.chunk, Bytes: 256 << 10}
		if c.back {
			page, err = c.store.ReadBack(c.ring, c.next, max)
		} else {
			page, err = c.store.Read(c.ring, c.next, max)
		}
		if err != nil {
			return err
		}
		c.items, c.next, c.end = c.wanted(page.Items), page.Next, page.End
		c.chunk = min(2*c.chunk, 1024)
	}
	return nil
}

// wanted leaves out what lies before the place that was asked for: where a segment
// hid some of its records, the place was found before they were salvaged.
func (c *source) wanted(items []Item) []Item {
	skip := 0
	for i := range items {
		if items[i].Hole != nil {
			continue
		}
		if items[i].N > c.after {
			break
		}
		skip = i + 1
	}
	return items[skip:]
}

// key gives the place of the source's next item in the merge: a record has its
// n, and holes that of the last number in them. ok is false at the end.
func (c *source) key() (n uint64, ok bool, err error) {
	if len(c.holes) > 0 {
		return c.holeN, true, nil
	}
	for at := 0; ; at++ {
		if at == len(c.items) {
			c.holes, c.items = append(c.holes, c.items...), nil
			at = 0
			if err := c.load(); err != nil {
				return 0, false, err
			}
			if len(c.items) == 0 {
				c.holeN = c.store.holeN(c, 0)
				return c.holeN, len(c.holes) > 0, nil
			}
		}
		if c.items[at].Hole != nil {
			continue
		}
		c.holes = append(c.holes, c.items[:at]...)
		c.items = c.items[at:]
		if len(c.holes) > 0 {
			c.holeN = c.store.holeN(c, c.items[0].N)
			return c.holeN, true, nil
		}
		return c.items[0].N, true, nil
	}
}

// take gives the source's next items.
func (c *source) take() []Item {
	if len(c.holes) > 0 {
		out := c.holes
		c.holes = nil
		return out
	}
	out := c.items[:1]
	c.items = c.items[1:]
	return out
}

// holeN is the n of the last number of the source's holes. Where it is not known
// any more it is the n before the next record's, which is no less; a reader may
// then be told of the holes twice. Going back, they go with the next record.
func (s *Store) holeN(c *source, next uint64) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.rings[c.ring]
	switch {
	case c.back:
		return next
	case len(c.holes) == 0:
		return 0
	}
	if n := r.nOf(c.holes[len(c.holes)-1].Hole.To); n != 0 {
		return n
	}
	if next == 0 {
		return r.lastN
	}
	return next - 1
}

// nOf is the n of a seq where memory has it, or 0.
func (r *ring) nOf(seq uint64) uint64 {
	switch low := r.tailLow(); {
	case seq == r.last:
		return r.lastN
	case seq >= low && seq-low < uint64(len(r.tail)):
		return r.tail[seq-low]
	case seq == r.moved:
		return r.movedN
	}
	return 0
}

// ReadAll gives the records of several rings with n above after, in the order of
// n. A hole stands before the record that it precedes. A hole may come again on
// a later read, never in the place of a record.
func (s *Store) ReadAll(rings []string, after uint64, max Max) (Page, error) {
	max = max.withDefaults()
	s.mu.RLock()
	last := s.lastN
	s.mu.RUnlock()
	page := Page{Next: after}
	if after >= last {
		page.End = true
		return page, nil
	}
	sources, err := s.sources(rings, after, max.Records)
	if err != nil {
		return page, err
	}
	ended, err := page.merge(sources, max, func(a, b uint64) bool { return a < b }, last)
	if ended {
		page.Next, page.End = last, true
	}
	return page, err
}

// merge fills a page from the sources, until it is full or they have no more
// records up to last.
func (p *Page) merge(sources []*source, max Max, before func(a, b uint64) bool, last uint64) (ended bool, err error) {
	records, bytes := 0, 0
	for bytes < max.Bytes && records < max.Records {
		first, err := pick(sources, before, last)
		if err != nil {
			return false, err
		}
		if first == nil {
			for _, c := range sources {
				p.Items = append(p.Items, c.holes...)
			}
			return true, nil
		}
		for _, it := range first.take() {
			p.Items = append(p.Items, it)
			if it.Hole == nil {
				p.Next = it.N
				records++
				bytes += len(it.Data)
			}
		}
	}
	return false, nil
}

// ReadAllBack gives the records of several rings with n below before, the newest
// first; before 0 begins at the end.
func (s *Store) ReadAllBack(rings []string, before uint64, max Max) (Page, error) {
	max = max.withDefaults()
	s.mu.RLock()
	if before == 0 || before > s.lastN+1 {
		before = s.lastN + 1
	}
	s.mu.RUnlock()
	page := Page{Next: before}
	sources, err := s.sources(rings, before-1, max.Records)
	if err != nil {
		return page, err
	}
	for _, c := range sources {
		c.back, c.next, c.after = true, c.next+1, 0
	}
	ended, err := page.merge(sources, max, func(a, b uint64) bool { return a > b }, before-1)
	if ended {
		page.Next, page.End = 0, true
	}
	return page, err
}

// pick gives the source whose next item comes first, of those up to last. A hole
// goes before a record with the same key.
func pick(sources []*source, before func(a, b uint64) bool, last uint64) (first *source, err error) {
	var best uint64
	for _, c := range sources {
		n, ok, err := c.key()
		if err != nil {
			return nil, err
		}
		if ok && n <= last && (first == nil || before(n, best) || n == best && len(c.holes) > 0) {
			first, best = c, n
		}
	}
	return first, nil
}

// sources finds where each ring goes on after n. A hole that ends right before
// that place is told too, since the reader can't know it yet.
func (s *Store) sources(rings []string, n uint64, chunk int) ([]*source, error) {
	rings = slices.Clone(rings)
	slices.Sort(rings)
	var out []*source
	for _, name := range slices.Compact(rings) {
		seq, ok, err := s.seek(name, n)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, &source{store: s, ring: name, next: seq - 1, after: n, chunk: min(max(chunk/len(rings), 16), 1024)})
		}
	}
	return out, nil
}

// seek gives the lowest seq of a ring that has an n above n, moved down over the
// holes right before it that the reader may not know of.
func (s *Store) seek(name string, n uint64) (seq uint64, ok bool, err error) {
	for {
		seq, again, err := s.seekOnce(name, n)
		if !again || err != nil {
			return seq, err == nil && seq > 0, err
		}
	}
}

func (s *Store) seekOnce(name string, n uint64) (seq uint64, again bool, err error) {
	s.mu.RLock()
	r := s.rings[name]
	if r == nil || r.last == 0 {
		s.mu.RUnlock()
		return 0, false, nil
	}
	if r.lastN <= n {
		seq = r.last + 1
		s.mu.RUnlock()
		return seq, false, nil
	}
	// The RAM tail is searched first, then the segments below it.
	low, found := r.tailLow(), uint64(0)
	at, _ := slices.BinarySearchFunc(r.tail, n, func(have, want uint64) int {
		if have <= want {
			return -1
		}
		return 1
	})
	segs := r.liveSegments() // one below the floor may be gone already, or damaged for good
	if len(r.tail) > 0 && (at > 0 || len(segs) == 0) {
		found = low + uint64(at)
	}
	floor := r.floor
	s.mu.RUnlock()
	if found == 0 {
		found, again, err = s.seekSegments(name, segs, floor, n, low)
		if err != nil || again {
			return 0, again, err
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found = max(found, 1)
	// Holes that touch are told as one, at the place of their last number.
	if h, ok := r.holes.find(found); ok {
		return r.holes.runBefore(h.to)[0].from, false, nil
	}
	if run := r.holes.runBefore(found - 1); found > 1 && run != nil {
		if at := r.nOf(found - 1); at == 0 || at > n {
			found = run[0].from
		}
	}
	return found, false, nil
}

// seekSegments searches a ring's segments for the first record above n; low is
// where the tail begins.
func (s *Store) seekSegments(name string, segs []*segment, floor, n, low uint64) (seq uint64, again bool, err error) {
	lo, hi := 0, len(segs) // the answer lies in the last segment that begins at or below n
	for lo < hi {
		mid := lo + (hi-lo)/2
		first, again, err := s.firstN(name, segs[mid])
		if err != nil || again {
			return 0, again, err
		}
		if first > n {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo == 0 {
		if len(segs) == 0 || floor+1 < segs[0].first {
			return floor + 1, false, nil
		}
		return max(segs[0].first, floor+1), false, nil
	}
	seg := segs[lo-1]
	_, err = s.inSegment(name, seg, func() ([]Record, error) {
		seq, err = seg.after(n, s.packer)
		return nil, err
	})
	if errors.Is(err, errSalvage) {
		return 0, true, nil
	}
	return min(max(seq, floor+1), max(low, floor+1)), false, err
}

// firstN is the n of a segment's first record, or the highest there can be where
// it is empty.
func (s *Store) firstN(name string, seg *segment) (n uint64, again bool, err error) {
	s.mu.RLock()
	busy := seg.salvage
	s.mu.RUnlock()
	if busy != nil {
		return 0, true, s.waitSalvage(busy)
	}
	seg.mu.Lock()
	known, sum := seg.known, seg.sum
	seg.mu.Unlock()
	if known {
		return sum.begin(), false, nil
	}
	_, err = s.inSegment(name, seg, func() ([]Record, error) {
		sum := seg.summary()
		n = sum.begin()
		return nil, nil
	})
	if errors.Is(err, errSalvage) {
		return 0, true, nil
	}
	return n, false, err
}
