package queue

import (
	"errors"
	"slices"
	"syscall"
)

// bound raises the floors of rings that exceed their size or age. Count is kept
// by the flush itself.
func (s *Store) bound() {
	s.mu.RLock()
	rings := make([]*ring, 0, len(s.rings))
	for _, r := range s.rings {
		rings = append(rings, r)
	}
	s.mu.RUnlock()
	for _, r := range rings {
		s.boundSize(r)
		s.boundAge(r)
	}
}

// boundSize drops the oldest segments of a ring that takes more than its size.
func (s *Store) boundSize(r *ring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch size := r.limits.Size; {
	case size == 0:
	case r.limits.Thin:
		r.askSize(size)
	default:
		r.raise(r.beyond(size), Evicted)
	}
}

// beyond is the last seq of the segments that make the ring take more than size;
// 0 where none do, or the newest alone does.
func (r *ring) beyond(size int64) uint64 {
	var bytes int64
	for i := len(r.segments) - 1; i >= 0; i-- {
		bytes += r.disk(r.segments[i : i+1])
		if bytes > size && i+1 < len(r.segments) {
			return r.segments[i+1].first - 1
		}
	}
	return 0
}

// boundAge drops the oldest segments whose last record is older than the ring's age.
func (s *Store) boundAge(r *ring) {
	for done := uint64(0); s.opt.Age != nil; {
		s.mu.RLock()
		age, seg, to := r.limits.Age, (*segment)(nil), uint64(0)
		for _, g := range r.segments {
			if _, end := r.segmentAt(g.first); end > max(r.floor, done) && g.salvage == nil {
				seg, to = g, end
				break
			}
		}
		s.mu.RUnlock()
		if age == 0 || seg == nil {
			return
		}
		last, err := s.lastStamp(seg)
		if errors.Is(err, errDamaged) { // else it would keep all behind it, with nobody reading
			s.salvage(r, seg)
		}
		if err != nil {
			return
		}
		old := s.opt.Age(last)
		if old <= age {
			return
		}
		s.mu.Lock()
		if done = to; r.limits.Thin {
			r.askAge(to, old, age)
		} else {
			r.raise(to, Aged)
		}
		s.mu.Unlock()
	}
}

// lastStamp is when the last record of a segment was made.
func (s *Store) lastStamp(seg *segment) (Stamp, error) {
	seg.mu.Lock()
	known, stamp := seg.known, seg.sum.to
	seg.mu.Unlock()
	if known {
		return stamp, nil
	}
	if err := s.openForRead(seg); err != nil {
		return Stamp{}, err
	}
	defer seg.release()
	return seg.summary().to, nil
}

// headroom is the free space to keep: what the options say, or 200 MB or a tenth
// of the file system, whichever is less.
func (s *Store) headroom(size int64) int64 {
	switch spare := s.spare.Load(); {
	case spare < 0:
		return 0
	case spare > 0:
		return spare
	}
	return min(200_000_000, size/10)
}

// keepHeadroom drops oldest segments, of the ring that takes most each time,
// until the disk has its headroom or only newest segments are left. What it
// dropped goes from the disk before the move: on a full one that has no room
// until then.
func (s *Store) keepHeadroom() error {
	if !s.dropForHeadroom() {
		return nil
	}
	err := s.saveMove(sealed{}, nil)
	if errors.Is(err, syscall.ENOSPC) {
		// Not even the hole can be written before there is room. A power cut right
		// here makes its cause damage instead of headroom; it is told all the same.
		return s.unlink(true)
	}
	if err != nil {
		return err
	}
	return s.unlinkGone()
}

// dropForHeadroom reports whether segments are to be unlinked for the headroom.
func (s *Store) dropForHeadroom() (short bool) {
	size, free, err := diskSpace(s.opt.Dir)
	if err != nil {
		return false // a disk that can't be asked fails the move itself
	}
	want := s.headroom(size)
	if free < want*3/4 && s.endSnapshots() {
		s.log.Warn("disk below its headroom: a backup ends")
		return false // what was copied may lie on this very disk, and go with it: the next move sees
	}
	if free < want { // what a snapshot keeps goes with it: nothing more has to go for that
		free += s.keptBySnapshots()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if free >= want {
		return false
	}
	// A ring that thins has until a quarter of the headroom is used up.
	wait := free >= want*3/4
	gone := map[*ring]uint64{} // what is on its way out, up to here
	for _, r := range s.rings {
		gone[r] = r.floor
		if wait && r.limits.Thin {
			gone[r] = max(r.floor, r.wish.to)
		}
		// A disk that takes no writes must not cost more.
		free += r.disk(r.segments[:len(r.segments)-len(r.segmentsAbove(gone[r]))])
	}
	for free < want {
		most := s.largestRing(gone)
		if most == nil {
			break
		}
		live := most.segmentsAbove(gone[most])
		to := live[1].first - 1
		switch {
		case !most.limits.Thin:
			most.raise(to, Headroom)
			s.log.Warn("disk below its headroom: oldest segment goes", "ring", most.name, "up_to", to)
		case wait || free >= want*3/4:
			most.ask(to, Headroom, free < want*7/8, 0)
		default:
			most.giveUp(to, Headroom)
		}
		free += most.disk(live[:1])
		gone[most] = to
	}
	return true
}

// largestRing is the ring that takes most on the disk, of those that have more
// than their newest segment above what is gone. s.mu must be held.
func (s *Store) largestRing(gone map[*ring]uint64) (most *ring) {
	var mostBytes int64
	for _, r := range s.rings {
		live := r.segmentsAbove(gone[r])
		if len(live) < 2 {
			continue
		}
		if bytes := r.disk(live); bytes > mostBytes {
			most, mostBytes = r, bytes
		}
	}
	return most
}

// liveSegments are those above the floor.
func (r *ring) liveSegments() []*segment { return r.segmentsAbove(r.floor) }

func (r *ring) segmentsAbove(seq uint64) []*segment {
	for i, g := range r.segments {
		if _, to := r.segmentAt(g.first); to > seq {
			return r.segments[i:]
		}
	}
	return nil
}

// unlinkGone removes the segments that lie below the floor as state.db has it.
func (s *Store) unlinkGone() error { return s.unlink(false) }

// unlink removes the segments below the floor; unsaved takes also those of rings
// whose floor is not in state.db yet.
func (s *Store) unlink(unsaved bool) error {
	s.mu.Lock()
	var gone []*segment
	for _, r := range s.rings {
		if r.newHoles && !unsaved {
			continue
		}
		live := r.liveSegments()
		k := len(r.segments) - len(live)
		for i := 0; i < k; i++ {
			if r.segments[i].salvage != nil { // it ends by itself
				k = i
			}
		}
		gone = append(gone, r.segments[:k]...)
	}
	s.mu.Unlock()
	for _, g := range gone {
		err := s.opt.Fault("evict")
		if err == nil {
			err = g.remove()
		}
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rings {
		r.segments = slices.DeleteFunc(slices.Clone(r.segments), func(g *segment) bool { return slices.Contains(gone, g) })
	}
	return nil
}

// readers is how many segments may be open for reading alone.
const readers = 2

// openForRead opens a segment and counts a user; the one that was not read for
// longest is closed for it.
func (s *Store) openForRead(seg *segment) error {
	if err := seg.open(false, s.opt.SegmentBytes); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, g := range s.open {
		if g == seg {
			s.open = append(append(s.open[:i:i], s.open[i+1:]...), seg)
			return nil
		}
	}
	s.open = append(s.open, seg)
	for i := 0; len(s.open) > readers && i < len(s.open)-1; {
		if g := s.open[i]; g != seg && g.tryIdle() {
			s.open = append(s.open[:i:i], s.open[i+1:]...)
			continue
		}
		i++
	}
	return nil
}

// tryIdle closes a segment that is open for reading alone, if nobody reads it.
// One that is open for writing stays open, and leaves the readers' list.
func (s *segment) tryIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.write {
		return true
	}
	if s.users > 0 {
		return false
	}
	s.closeLocked()
	return true
}
