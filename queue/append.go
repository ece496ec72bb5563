package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Append writes a batch as one flush and returns when it survives a power cut,
// with its numbers. Nothing of it is readable before. An error means that none
// of it counts; ErrFull and errors of the disk may pass, and the batch may be
// tried again.
func (s *Store) Append(b Batch) (Receipt, error) {
	s.oneAppend.Lock() // makeRoom lets go of appendMu while numbers are assigned
	defer s.oneAppend.Unlock()
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if !s.alive() {
		return Receipt{}, ErrClosed
	}
	if err := b.check(); err != nil {
		return Receipt{}, err
	}
	if err := s.begin(); err != nil {
		return Receipt{}, s.failed(err)
	}
	if s.doubt.flush != nil {
		s.wake()
		return Receipt{}, s.failed(errDoubt)
	}
	f, receipt := s.assign(b)
	stream := appendStream(make([]byte, 0, streamRoom(f)), f)
	if int64(blocksFor(len(stream)))*blockSize > s.opt.JournalBytes {
		s.redo(f.rows[len(b.Rows):])
		return Receipt{}, fmt.Errorf("append %d records, %d bytes: %w", len(b.Entries), len(stream), ErrTooLarge)
	}
	plain := int64(len(stream))
	stream, codec := s.packer.press.shrinkFlush(stream)
	if err := s.makeRoom(blocksFor(len(stream)), plain); err != nil {
		s.redo(f.rows[len(b.Rows):])
		return Receipt{}, s.failed(err)
	}
	if err := s.writeFlush(f, stream, codec); err != nil {
		s.redo(f.rows[len(b.Rows):])
		return Receipt{}, s.failed(err)
	}
	s.plain += plain
	s.publish(f)
	return receipt, nil
}

// flushCursors makes durable which cursors moved, where no flush came along that
// would have taken them. What finds no room, or fails, goes with the next one.
func (s *Store) flushCursors() {
	if !s.oneAppend.TryLock() { // that flush takes them
		return
	}
	defer s.oneAppend.Unlock()
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if !s.alive() || !s.running || s.doubt.flush != nil {
		return
	}
	f, _ := s.assign(Batch{})
	if len(f.rows) == 0 {
		return
	}
	stream := appendStream(make([]byte, 0, streamRoom(f)), f)
	if h := s.halves[s.active]; h.bad || h.full || h.room() < blocksFor(len(stream)) {
		s.redo(f.rows)
		return
	}
	if err := s.writeFlush(f, stream, codecPlain); err != nil {
		s.redo(f.rows)
		_ = s.failed(err) // told by Health
		return
	}
	s.publish(f)
}

// assign gives the entries their numbers and adds the rows of cursors that moved.
func (s *Store) assign(b Batch) (*flush, Receipt) {
	s.mu.RLock()
	f := &flush{number: s.number + 1, epoch: s.epochs[len(s.epochs)-1].ID, first: s.lastN + 1}
	receipt := Receipt{Epoch: f.epoch, First: f.first, Seqs: make([]uint64, len(b.Entries))}
	f.entries = make([]entry, len(b.Entries))
	next := map[string]uint64{}
	ring, seq := "", uint64(0) // the last one, so that a run of one ring needs no map
	for i := range b.Entries {
		in := &b.Entries[i]
		if in.Ring != ring {
			next[ring] = seq
			ring = in.Ring
			var ok bool
			if seq, ok = next[ring]; !ok {
				if r := s.rings[ring]; r != nil {
					seq = r.last
				}
			}
		}
		seq++
		receipt.Seqs[i] = seq
		f.entries[i] = entry{ring: ring, seq: seq, stamp: in.Stamp, data: in.Data}
	}
	s.mu.RUnlock()
	for _, r := range b.Rows { // they stay in memory until they are moved: not the caller's bytes
		f.rows = append(f.rows, Row{r.Table, r.Key, slices.Clone(r.Value)})
	}
	f.rows = append(f.rows, s.cursorRows()...)
	return f, receipt
}

// maxKey is the most bytes of a row's key, and of its table's name: bbolt takes
// no more than 32 kB.
const maxKey = 16 << 10

// check refuses what could never be moved out of the journal again.
func (b *Batch) check() error {
	ring := ""
	for i := range b.Entries {
		in := &b.Entries[i]
		if len(in.Data) > MaxRecord {
			return fmt.Errorf("append record of %d bytes to ring %q: %w", len(in.Data), in.Ring, ErrTooLarge)
		}
		if in.Ring == ring && i > 0 {
			continue
		}
		ring = in.Ring
		if ring == "" || len(ring) > 64 || ring[0] == '.' || strings.ContainsAny(ring, "/\x00") { // it names a folder
			return fmt.Errorf("append to ring %q: %w", ring, ErrName)
		}
	}
	for _, r := range b.Rows {
		if r.Table == "" || r.Key == "" || len(r.Table) > maxKey || len(r.Key) > maxKey {
			return fmt.Errorf("append row of table %.64q: %w", r.Table, ErrName)
		}
		if r.Table == tableThinned && r.Value != nil {
			if err := checkThinned(r); err != nil {
				return fmt.Errorf("append: %w", err)
			}
		}
	}
	return nil
}

// begin makes durable that this run is under way, before its first flush: else
// a power cut could leave a store that looks cleanly stopped.
func (s *Store) begin() error {
	if s.running {
		return nil
	}
	if !s.started {
		if err := s.saveStart(); err != nil {
			return err
		}
		s.started = true
	}
	if err := s.saveIdentity(); err != nil {
		return err
	}
	s.running = true
	return nil
}

// makeRoom sees that the active half takes the blocks, and turns to the other
// one if it does not. What is compressed takes little of a half and all of its
// plain bytes in RAM: they are bounded by the half's size too. It waits while a
// move is under way and making progress.
func (s *Store) makeRoom(blocks int, plain int64) error {
	for {
		h := s.halves[s.active]
		if !h.bad && !h.full && h.room() >= blocks && s.plain+plain <= s.opt.JournalBytes {
			return nil
		}
		s.mu.RLock()
		moved, moveErr := s.moved, s.moveErr
		s.mu.RUnlock()
		if s.moving.half == nil {
			if err := s.turn(); err != nil {
				return err
			}
			s.wake()
			continue
		}
		s.wake()
		if moveErr != nil {
			return fmt.Errorf("%w: %w", ErrFull, moveErr)
		}
		s.appendMu.Unlock()
		<-moved
		s.appendMu.Lock()
		if !s.alive() {
			return ErrClosed
		}
	}
}

// turn seals the active half and goes on in the other one, with a new
// generation. Nothing may be waiting for a move.
func (s *Store) turn() error {
	other := s.halves[1-s.active]
	if other.bad || other.f == nil {
		if err := s.replace(other); err != nil {
			return err
		}
	}
	h := s.halves[s.active]
	s.mu.RLock()
	s.moving = sealed{half: h, to: s.lastN, flush: s.number, gen: h.gen}
	s.mu.RUnlock()
	h.full = true
	s.active, s.plain = 1-s.active, 0
	other.gen, other.pos, other.full = h.gen+1, 0, false
	return nil
}

// writeFlush puts a flush, encoded by the codec, into the active half. After a failed one nothing is
// acknowledged until a run in a new generation was written and read back.
func (s *Store) writeFlush(f *flush, stream []byte, codec byte) error {
	h := s.halves[s.active]
	run := appendRun(make([]byte, 0, blocksFor(len(stream))*blockSize), stream, codec, h.gen, f.number)
	begun := time.Now()
	err := h.write(run, s.opt.Fault)
	if err == nil && s.suspect {
		err = h.verify(run)
	}
	if err == nil && (s.suspect || !h.ownsBlocks()) {
		err = stillCommits(s.opt.Dir)
	}
	if err != nil {
		s.suspect = true
		h.bad, h.full = true, true
		return err
	}
	s.suspect = false
	s.number = f.number
	s.mu.Lock()
	s.health.Flushes++
	s.health.Written += int64(len(run))
	s.health.FlushTime = time.Since(begun)
	s.mu.Unlock()
	return nil
}

// publish makes a flush readable.
func (s *Store) publish(f *flush) {
	s.mu.Lock()
	s.take(f)
	if s.moveErr == nil {
		s.health.Err, s.health.Full, s.health.ReadOnly = nil, false, false
	}
	due := len(s.tail.entries) >= s.opt.MoveRecords
	if len(f.entries) > 0 {
		s.tell()
	}
	s.mu.Unlock()
	if due {
		s.wake()
	}
}

// take puts a flush into the tail, the rings and the rows. s.mu must be held.
func (s *Store) take(f *flush) {
	var r *ring
	for i := range f.entries {
		e := &f.entries[i]
		if r == nil || r.name != e.ring {
			if r != nil {
				r.keepExact()
			}
			r = s.ringNamed(e.ring)
		}
		e.ring = r.name // one string a ring, not one a flush
		n := f.first + uint64(i)
		if e.seq > r.last+1 { // the journal lost some
			r.loseAhead(e.seq - 1)
		}
		s.tail.add(n, f.epoch, *e)
		s.lastN = n
		r.given(e.seq, n)
	}
	if r != nil {
		r.keepExact()
	}
	for _, row := range f.rows {
		s.rows.put(row, f.number)
	}
	s.thin(f)
}

// failed notes an error of a flush or a move.
func (s *Store) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.Err = err
	s.health.ReadOnly = errors.Is(err, syscall.EROFS)
	s.health.Full = errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	return err
}
