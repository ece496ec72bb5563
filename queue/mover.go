package queue

import "time"

// mover moves the journal to the segments: when there is much, when asked, and in
// time. A move costs the disk some 170 kB whatever it brings, so what is little
// waits for more. A failed move is tried again after a pause that grows to 30 s,
// and whenever a flush finds no room.
func (s *Store) mover() {
	defer s.wg.Done()
	every := time.NewTimer(s.opt.MoveEvery)
	defer every.Stop()
	pause, waited := time.Second, 0
	var said time.Time
	for {
		var answer chan error
		select {
		case <-s.stop:
			return
		case answer = <-s.asked:
		case <-s.kick:
		case <-every.C:
			if waited++; waited < littleWaits && pause == time.Second && s.little() {
				s.flushCursors()
				every.Reset(s.opt.MoveEvery)
				continue
			}
		}
		waited = 0
		err := s.moveOnce()
		if err == nil && answer != nil && s.hasPending() { // it was the half that waited already
			err = s.moveOnce()
		}
		next := s.opt.MoveEvery
		if err != nil {
			next = min(pause, s.opt.MoveEvery)
			pause = min(2*pause, 30*time.Second)
			if time.Since(said) >= sayEvery { // under load each flush asks for a move
				said = time.Now()
				s.log.Error("journal can't be moved to segments", "error", err)
			}
		} else {
			pause = time.Second
		}
		every.Reset(next)
		if answer != nil {
			answer <- err
		}
	}
}

// sayEvery is how often the log says that moves fail: it may lie on the disk that
// is full.
const sayEvery = 10 * time.Second

// littleWaits is how many times MoveEvery a move of little is put off.
const littleWaits = 10

// little reports whether the journal holds so little that its move can wait, and
// the disk has its headroom.
func (s *Store) little() bool {
	s.appendMu.Lock()
	h := s.halves[s.active]
	much := s.moving.half != nil || h.bad || h.pos > s.opt.JournalBytes/4
	s.appendMu.Unlock()
	s.mu.RLock()
	much = much || len(s.tail.entries) >= s.opt.MoveRecords/10 || s.moveErr != nil
	s.mu.RUnlock()
	size, free, err := diskSpace(s.opt.Dir)
	return !much && err == nil && free >= s.headroom(size)
}

// Move moves the journal to the segments now, and returns when that is done.
func (s *Store) Move() error {
	answer := make(chan error, 1)
	select {
	case s.asked <- answer:
		return <-answer
	case <-s.stop:
		return ErrClosed
	}
}

// prewriter fills the journal's files ahead of the flushes.
func (s *Store) prewriter(halves ...*half) {
	defer s.wg.Done()
	for _, h := range halves {
		for {
			select {
			case <-s.stop:
				return
			default:
			}
			more, err := h.prewrite()
			if err != nil { // flushes then make the blocks themselves
				s.log.Warn("journal can't be pre-written", "error", err)
			}
			if !more {
				break
			}
		}
		if err := h.settle(); err != nil {
			s.log.Warn("each flush asks the file system for a sign of life", "error", err)
		}
	}
}

// replace puts a fresh file in the place of a half that failed, and has it filled
// ahead. s.appendMu must be held.
func (s *Store) replace(h *half) error {
	if err := h.replace(); err != nil {
		return err
	}
	s.mu.Lock() // a store that is being closed begins nothing
	defer s.mu.Unlock()
	if s.alive() {
		s.wg.Add(1)
		go s.prewriter(h)
	}
	return nil
}
