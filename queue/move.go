package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// moveOnce moves one half: the one that is sealed, or else what is in the active
// one. Where nothing waits it writes the floors and cursors that changed.
func (s *Store) moveOnce() error {
	s.still.Lock()
	defer s.still.Unlock()
	s.appendMu.Lock()
	// Nothing goes to state.db before the run's start is in it: else a crash then
	// would hide that an epoch was to begin. The copy in store.json can wait.
	err := s.begin()
	if err == nil {
		err = s.clearDoubt()
	}
	if err == nil && s.moving.half == nil && s.pending() {
		err = s.turn()
	}
	if err != nil && !s.started {
		s.appendMu.Unlock()
		return s.endMove(err)
	}
	m, number := s.moving, s.number
	s.appendMu.Unlock()
	if m.half == nil {
		m.flush = number
	}
	if room := s.keepHeadroom(); err == nil { // a turn may have failed for want of it
		err = room
	}
	if err == nil {
		err = s.moveSealed(m)
	}
	if err == nil && m.half != nil {
		s.appendMu.Lock()
		m.half.full = false
		m.half.pos = 0
		s.moving = sealed{}
		if s.doubt.flush != nil { // it waited for this
			s.wake()
		}
		s.appendMu.Unlock()
	}
	return s.endMove(err)
}

// pending reports whether the journal holds what is to be moved, or a run that
// failed and must not come to life. s.appendMu must be held.
func (s *Store) pending() bool {
	h := s.halves[s.active]
	return s.moving.half != nil || h.pos > 0 || h.bad
}

// endMove notes how a move went and wakes the flushes that wait for it.
func (s *Store) endMove(err error) error {
	if err != nil {
		s.failed(err)
		if distrusted(err) { // what a move can't write, a flush may only seem to
			s.appendMu.Lock()
			s.suspect = true
			s.appendMu.Unlock()
		}
	}
	s.mu.Lock()
	s.moveErr = err
	if err == nil {
		s.health.Moves++
		s.health.Err, s.health.Full, s.health.ReadOnly = nil, false, false
	}
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	return err
}

func (s *Store) hasPending() bool {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	return s.pending()
}

// batchOf is what one move brings to one ring.
type batchOf struct {
	ring    *ring
	last    uint64 // the highest seq given up to the move's end
	lastN   uint64
	epochs  []uint32
	records []stored
}

// openRings is how many rings a move leaves open for writing: each takes a
// descriptor and the address space of a whole segment, which 32 bits have little of.
const openRings = 16

// moveSealed writes a half's records to segments, ring by ring, then its rows
// and the marks to state.db. Each step may be done twice without harm.
func (s *Store) moveSealed(m sealed) error {
	batches := s.gather(m)
	for _, b := range batches {
		if err := s.fillRing(b); err != nil {
			return err
		}
		if len(batches) > openRings {
			s.mu.RLock()
			if seg := b.ring.newest(); seg != nil {
				seg.idle()
			}
			s.mu.RUnlock()
		}
	}
	s.bound()
	if err := s.saveMove(m, batches); err != nil {
		return err
	}
	s.mu.Lock()
	if m.half != nil {
		s.tail.trim(m.to)
	}
	for _, b := range batches {
		b.ring.moved, b.ring.movedN = max(b.ring.moved, b.last), max(b.ring.movedN, b.lastN)
		b.ring.trim(b.last)
	}
	s.rows.trim(m.flush)
	s.mu.Unlock()
	return s.unlinkGone()
}

// gather groups the tail up to the move's end by ring.
func (s *Store) gather(m sealed) []*batchOf {
	if m.half == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	by := map[string]*batchOf{}
	var out []*batchOf
	for i := range s.tail.entries {
		n := s.tail.first + uint64(i)
		if n > m.to {
			break
		}
		e := &s.tail.entries[i]
		if e.ring == "" {
			continue
		}
		b := by[e.ring]
		if b == nil {
			b = &batchOf{ring: s.rings[e.ring]}
			by[e.ring] = b
			out = append(out, b)
		}
		b.last, b.lastN = e.seq, n
		if e.seq <= b.ring.floor { // gone before it cost a write
			continue
		}
		b.epochs = append(b.epochs, e.epoch)
		b.records = append(b.records, stored{n: n, seq: e.seq, stamp: e.stamp, crc: e.crc, data: e.data})
	}
	return out
}

// fillRing writes one ring's share of a move. A newest segment that turns out to
// be damaged is set aside, and a new one begun behind it.
func (s *Store) fillRing(b *batchOf) error {
	if len(b.records) == 0 {
		return nil
	}
	r := b.ring
	if _, err := os.Stat(r.dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(r.dir, 0o700); err != nil {
			return fmt.Errorf("make ring %q: %w", r.name, err)
		}
		if err := SyncFolder(filepath.Dir(r.dir)); err != nil {
			return err
		}
	}
	f := filler{dir: r.dir, ring: r.name, packer: s.packer, events: s.opt.SegmentEvents, bytes: s.segmentBytes(r),
		mapped: s.opt.SegmentBytes, fault: s.opt.Fault, old: s.spansAge(r)}
	f.newest = func() *segment {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if seg := r.newest(); seg != nil && seg.salvage == nil {
			return seg
		}
		return nil
	}
	f.rolled = func(first uint64) *segment {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Readers must not look for its file: there is none before the commit.
		seg := &segment{path: segmentPath(r.dir, first), first: first, sum: sum{first: first}, known: true}
		r.segments = append(r.segments, seg)
		return seg
	}
	f.told = func(from, to uint64) bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return r.told(from, to)
	}
	f.dropped = func(seg *segment) {
		s.mu.Lock()
		r.segments = slices.DeleteFunc(slices.Clone(r.segments), func(g *segment) bool { return g == seg })
		s.mu.Unlock()
		_ = seg.remove() // an empty file that stays is dropped at the next start
	}
	for try := 0; ; try++ {
		err := f.put(b.epochs, b.records)
		if err == nil || !errors.Is(err, errDamaged) || try > 2 {
			return err
		}
		if !errors.Is(err, errDoomed) { // else a reader has found it already
			s.mu.Lock()
			s.salvageLocked(r, r.newest(), true)
			s.mu.Unlock()
		}
	}
}

// leastSegment is the bytes below which a segment is not closed for its size.
const leastSegment = 256 << 10

// segmentBytes is how large a segment of a ring becomes: an eighth of what the
// ring may take, so that no bound takes much of it at once.
func (s *Store) segmentBytes(r *ring) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r.limits.Size == 0 {
		return s.opt.SegmentBytes
	}
	return min(max(r.limits.Size/8, leastSegment), s.opt.SegmentBytes)
}

// spansAge tells when a segment of a ring with an age bound should be closed so
// that it can age as one: when it spans an eighth of that age. A row that stands
// for old records is old when it is stored.
func (s *Store) spansAge(r *ring) func(began, next Stamp) bool {
	s.mu.RLock()
	age := r.limits.Age
	s.mu.RUnlock()
	if age == 0 || s.opt.Age == nil {
		return nil
	}
	return func(began, next Stamp) bool { return s.opt.Age(began)-s.opt.Age(next) > age/8 }
}

// saveMove writes all that a move changes in state.db, in one commit.
func (s *Store) saveMove(m sealed, batches []*batchOf) error {
	cursors := s.cursorRows()
	s.mu.RLock()
	rows := append(s.rows.upTo(m.flush), cursors...)
	marks, holes := map[string]ringMark{}, map[string]spans{}
	for name, r := range s.rings {
		if r.newHoles {
			marks[name] = ringMark{Last: r.moved, LastN: r.movedN, Floor: min(r.floor, r.moved)}
			holes[name] = slices.Clone(r.holes)
		}
	}
	for _, b := range batches {
		marks[b.ring.name] = ringMark{Last: b.last, LastN: b.lastN, Floor: min(b.ring.floor, b.last)}
	}
	about := s.about
	s.mu.RUnlock()
	if m.half == nil && len(rows) == 0 && len(marks) == 0 {
		return nil
	}
	if m.half != nil {
		about.Consumed, about.Flush = m.gen, m.flush
	}
	err := s.commit(func(tx *bolt.Tx) error {
		if err := putRows(tx, rows); err != nil {
			return err
		}
		for name, mark := range marks {
			if err := putRing(tx, name, mark); err != nil {
				return err
			}
		}
		for name, h := range holes {
			if err := putHoles(tx, name, h); err != nil {
				return err
			}
		}
		return putAbout(tx, about)
	})
	if err != nil {
		s.redo(cursors)
		return err
	}
	s.appendMu.Lock()
	if s.halves[s.active].pos > 0 { // it may hold older rows of them, which the next move must not bring back
		s.redo(cursors)
	}
	s.appendMu.Unlock()
	s.mu.Lock()
	s.about = about
	for name, h := range holes {
		if r := s.rings[name]; slices.Equal(r.holes, h) {
			r.newHoles = false
		}
	}
	s.mu.Unlock()
	return nil
}

// unsavedHoles reports whether a ring has holes that state.db does not.
func (s *Store) unsavedHoles() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.rings {
		if r.newHoles {
			return true
		}
	}
	return false
}

// Close moves the journal to the segments and notes a clean stop. After an error
// nothing is lost: the next Open reads the journal again.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	s.mu.Lock() // no salvage begins from here on, but for one that the last move finds
	close(s.stop)
	s.mu.Unlock()
	s.wg.Wait()
	s.appendMu.Lock() // waits for the last flush to end
	running := s.running
	s.appendMu.Unlock()
	var err error
	if running {
		for more := true; more && err == nil; {
			err = s.moveOnce()
			s.wg.Wait() // what it found damaged
			more = s.hasPending() || s.unsavedHoles()
		}
	}
	if err == nil && running {
		s.about.Clean = true
		err = s.commit(func(tx *bolt.Tx) error { return putAbout(tx, s.about) })
	}
	s.mu.Lock()
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	s.abandon()
	if errors.Is(err, syscall.EROFS) && !running {
		return nil
	}
	return err
}
