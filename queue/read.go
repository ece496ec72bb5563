package queue

import (
	"errors"
	"fmt"
	"slices"
)

func (m Max) withDefaults() Max {
	if m.Records <= 0 {
		m.Records = 1000
	}
	if m.Bytes <= 0 {
		m.Bytes = 1 << 20
	}
	return m
}

// Read gives the records of one ring with seqs above after, in order, and the
// holes between them. A ring that does not exist is empty.
func (s *Store) Read(name string, after uint64, max Max) (Page, error) {
	max = max.withDefaults()
	page := Page{Next: after}
	bytes := 0
	for len(page.Items) < max.Records && bytes < max.Bytes {
		items, next, end, err := s.step(name, page.Next+1, max.Records-len(page.Items))
		if err != nil {
			return page, err
		}
		for _, it := range items {
			bytes += len(it.Data)
		}
		page.Items = append(page.Items, items...)
		page.Next = next
		if end {
			page.End = true
			break
		}
	}
	return page, nil
}

// step gives what stands at seq: a hole, or a run of records from one place.
func (s *Store) step(name string, seq uint64, records int) (items []Item, next uint64, end bool, err error) {
	for missing := false; ; {
		s.mu.RLock()
		r := s.rings[name]
		if r == nil || seq > r.last {
			s.mu.RUnlock()
			return nil, seq - 1, true, nil
		}
		if h, ok := r.holes.find(seq); ok {
			items, next = s.holeItems(r.name, h.cut(seq, h.to)), h.to
			s.mu.RUnlock()
			return items, next, false, nil
		}
		if s.inTail(r, seq) != nil {
			items, next = s.tailItems(r, seq, records)
			s.mu.RUnlock()
			return items, next, false, nil
		}
		seg, to := r.segmentAt(seq)
		low := min(r.tailLow(), r.moved+1)
		var busy chan struct{}
		if seg != nil {
			busy = seg.salvage
		}
		s.mu.RUnlock()
		if busy != nil { // what it lacks is known when it is salvaged
			if err := s.waitSalvage(busy); err != nil {
				return nil, seq - 1, false, err
			}
			missing = false
			continue
		}
		if missing { // looked at twice: it is neither on its way to a segment nor evicted
			if err := s.missed(r, seg, seq); err != nil {
				return nil, seq - 1, false, err
			}
			missing = false
			continue
		}
		if seg == nil || seq >= low || to < seq {
			missing = true
			continue
		}
		recs, err := s.readSegment(name, seg, seq, min(to, low-1), records)
		if errors.Is(err, errSalvage) {
			continue
		}
		if err != nil {
			return nil, seq - 1, false, err
		}
		if len(recs) == 0 || recs[0].Seq != seq {
			missing = true
			continue
		}
		if items = s.run(name, seq, recs); len(items) > 0 {
			return items, items[len(items)-1].Seq, false, nil
		}
	}
}

// run gives the unbroken run of records at seq, up to what has gone meanwhile.
func (s *Store) run(name string, seq uint64, recs []Record) []Item {
	items := make([]Item, 0, len(recs))
	for i, rec := range recs {
		if rec.Seq != seq+uint64(i) || s.isGone(name, rec.Seq) {
			break
		}
		rec.Ring = name
		items = append(items, Item{Record: rec})
	}
	return items
}

// isGone reports whether a seq has become part of a hole meanwhile.
func (s *Store) isGone(name string, seq uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.rings[name].holes.find(seq)
	return ok
}

// tailItems gives a run of records of the RAM tail. s.mu must be held.
func (s *Store) tailItems(r *ring, seq uint64, records int) (items []Item, next uint64) {
	items = make([]Item, 0, min(records, len(r.tail)))
	for ; len(items) < records; seq++ {
		k := s.inTail(r, seq)
		if _, gone := r.holes.find(seq); gone || k == nil {
			break
		}
		items = append(items, Item{Record: k.record(r.tail[seq-r.tailFrom])})
	}
	return items, seq - 1
}

// inTail gives what the RAM tail has of a seq, or nil. s.mu must be held.
func (s *Store) inTail(r *ring, seq uint64) *kept {
	if len(r.tail) == 0 || seq < r.tailFrom || seq-r.tailFrom >= uint64(len(r.tail)) {
		return nil
	}
	k := s.tail.at(r.tail[seq-r.tailFrom])
	if k == nil || k.seq != seq || k.ring != r.name {
		return nil
	}
	return k
}

// holeItems gives a hole, cut where an epoch ends. s.mu must be held.
func (s *Store) holeItems(name string, h span) []Item {
	var out []Item
	for from := h.from; from <= h.to; {
		epoch, last := s.epochOf(name, from)
		to := min(h.to, last)
		hole := Hole{Ring: name, Epoch: epoch, From: from, To: to, Cause: h.cause, Rows: h.rows}
		out = append(out, Item{Record: Record{Ring: name, Epoch: epoch, Seq: to}, Hole: &hole})
		from = to + 1
	}
	return out
}

var errSalvage = errors.New("the segment was damaged")

// readSegment gives records of one segment, from seq up to at most to. Where the
// file turns out to be broken it waits for its salvage, and says so.
func (s *Store) readSegment(name string, seg *segment, seq, to uint64, records int) ([]Record, error) {
	recs, err := s.inSegment(name, seg, func() (out []Record, err error) {
		out, _, err = seg.read(seq, records, s.packer)
		return out, err
	})
	for len(recs) > 0 && recs[len(recs)-1].Seq > to {
		recs = recs[:len(recs)-1]
	}
	return recs, err
}

// inSegment runs a read of a segment. One that is broken is salvaged, one that
// was evicted meanwhile is errSalvage too: both mean to look again.
func (s *Store) inSegment(name string, seg *segment, read func() ([]Record, error)) ([]Record, error) {
	if !s.alive() {
		return nil, ErrClosed
	}
	err := s.openForRead(seg)
	var recs []Record
	if err == nil {
		recs, err = read()
		seg.release()
	}
	if err == nil {
		return recs, nil
	}
	if !s.alive() {
		return nil, ErrClosed
	}
	s.mu.Lock()
	r := s.rings[name]
	_, to := r.segmentAt(seg.first)
	stale := to <= r.floor || !slices.Contains(r.segments, seg)
	if !stale && errors.Is(err, errDamaged) {
		s.salvageLocked(r, seg, false)
		stale = !slices.Contains(r.segments, seg) // set aside at once: the journal has it all
	}
	busy := seg.salvage
	s.mu.Unlock()
	switch {
	case stale:
		return nil, errSalvage
	case errors.Is(err, errDamaged) && busy != nil:
		if err := s.waitSalvage(busy); err != nil {
			return nil, err
		}
		return nil, errSalvage
	}
	return nil, fmt.Errorf("read ring %q: %w", name, err)
}

// waitSalvage waits until a segment is salvaged. Only its readers wait.
func (s *Store) waitSalvage(done chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.stop:
		return ErrClosed
	}
}

// nextFound gives the lowest readable or known seq above one that is missing. An
// error means that it can't be known now: nothing may count as lost for it.
func (s *Store) nextFound(name string, seq uint64) (uint64, error) {
	s.mu.RLock()
	r := s.rings[name]
	next := min(r.last+1, r.tailLow())
	for _, h := range r.holes {
		if h.from > seq {
			next = min(next, h.from)
			break
		}
	}
	seg, to := r.segmentAt(seq)
	if seg != nil && to < seq {
		seg = nil
	}
	if seg != nil {
		next = min(next, to+1)
	} else {
		for _, g := range r.segments {
			if g.first > seq {
				next = min(next, g.first)
				break
			}
		}
	}
	busy := seg != nil && seg.salvage != nil
	s.mu.RUnlock()
	if busy {
		return 0, errSalvage
	}
	if seg != nil {
		recs, err := s.readSegment(name, seg, seq, next-1, 1)
		if err != nil {
			return 0, err
		}
		if len(recs) > 0 {
			next = min(next, recs[0].Seq)
		}
	}
	return max(next, seq+1), nil
}

// missed begins to salvage the segment that should have a seq, or notes that seq
// as lost.
func (s *Store) missed(r *ring, seg *segment, seq uint64) error {
	if s.salvageMissing(r, seg, seq) {
		return nil
	}
	return s.loseAt(r.name, seq)
}

// loseAt notes as damaged what is missing from seq on, up to what is found again.
func (s *Store) loseAt(name string, seq uint64) error {
	next, err := s.nextFound(name, seq)
	if errors.Is(err, errSalvage) { // its end tells
		return nil
	}
	if err == nil {
		s.lose(name, seq, next-1)
	}
	return err
}

// lose notes as damaged what can't be found any more.
func (s *Store) lose(name string, from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rings[name]
	if low := r.tailLow(); from < low && to >= low && r.tail != nil {
		to = low - 1
	}
	r.lose(from, to)
	s.log.Error("records are missing and count as damaged", "ring", name, "from", from, "to", to)
}

// One gives one record; ErrNotFound where it is in a hole or not written yet.
func (s *Store) One(name string, seq uint64) (Record, error) {
	if seq == 0 {
		return Record{}, ErrNotFound
	}
	items, _, _, err := s.step(name, seq, 1)
	if err != nil {
		return Record{}, err
	}
	if len(items) == 0 || items[0].Hole != nil {
		return Record{}, fmt.Errorf("record %d of ring %q: %w", seq, name, ErrNotFound)
	}
	return items[0].Record, nil
}

// ReadBack gives the records of one ring with seqs below before, the newest
// first, and the holes between them. before 0 begins at the end.
func (s *Store) ReadBack(name string, before uint64, max Max) (Page, error) {
	max = max.withDefaults()
	if r, ok := s.Ring(name); !ok || before == 0 || before > r.Last+1 {
		before = r.Last + 1
	}
	page := Page{Next: before}
	bytes := 0
	for len(page.Items) < max.Records && bytes < max.Bytes {
		if page.Next <= 1 {
			page.End = true
			break
		}
		items, err := s.stepBack(name, page.Next-1, max.Records-len(page.Items))
		if err != nil {
			return page, err
		}
		for _, it := range items {
			bytes += len(it.Data)
			page.Next = it.Seq
			if it.Hole != nil {
				page.Next = it.Hole.From
			}
		}
		page.Items = append(page.Items, items...)
	}
	return page, nil
}

// stepBack gives what stands at seq and below it, the highest first.
func (s *Store) stepBack(name string, seq uint64, records int) ([]Item, error) {
	s.mu.RLock()
	r := s.rings[name]
	h, ok := r.holes.find(seq)
	if ok {
		items := s.holeItems(name, h.cut(h.from, seq))
		s.mu.RUnlock()
		for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
			items[i], items[j] = items[j], items[i]
		}
		return items, nil
	}
	from := seq + 1 - min(seq, uint64(min(records, blockRecords)))
	for _, h := range r.holes { // the run begins behind the last hole below seq
		if h.to < seq {
			from = max(from, h.to+1)
		}
	}
	s.mu.RUnlock()
	var out []Item
	for at := from; at <= seq; {
		items, next, end, err := s.step(name, at, int(seq-at+1))
		if err != nil {
			return nil, err
		}
		out = append(out, items...)
		if end {
			break
		}
		at = next + 1
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, nil
}
