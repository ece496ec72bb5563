package queue

import (
	"fmt"
	"path/filepath"
)

// openJournal reads both halves and takes over what is not in segments yet.
func (s *Store) openJournal(rec *recovery) error {
	found, err := s.openHalves()
	if err != nil {
		return err
	}
	older, newer := 0, 1
	if found[0].gen > found[1].gen {
		older, newer = 1, 0
	}
	rec.broken = rec.broken || found[0].broken || found[1].broken
	s.doubtLast(&found, older, newer, rec)
	s.active, s.number = newer, s.about.Flush
	flushes := found[older].flushes
	if next := found[newer].flushes; len(next) > 0 { // a flush that failed was written again there
		for len(flushes) > 0 && flushes[len(flushes)-1].number >= next[0].number {
			flushes = flushes[:len(flushes)-1]
		}
		flushes = append(flushes, next...)
	}
	if len(flushes) > 0 && s.about.Flush > 0 && !rec.lost && flushes[0].number != s.about.Flush+1 {
		rec.broken = true
	}
	if len(flushes) > 0 {
		s.about.Clean = false
	}
	for _, f := range flushes {
		if s.number > 0 && f.number != s.number+1 {
			rec.broken = rec.broken || !rec.lost
		}
		s.number = f.number
		s.takeBack(f)
	}
	if f := s.doubt.flush; f != nil && rec.broken { // an epoch begins: it counts
		found[newer].flushes = append(found[newer].flushes, f)
		s.number, s.doubt = f.number, doubt{}
		s.takeBack(f)
	}
	for _, f := range found[newer].flushes {
		s.plain += int64(streamRoom(f))
	}
	h := s.halves[s.active]
	h.gen = max(h.gen, s.about.Consumed+1)
	if old := found[older]; len(old.flushes) > 0 {
		s.halves[older].full = true
		s.moving = sealed{half: s.halves[older], gen: old.gen, flush: old.flushes[len(old.flushes)-1].number}
		s.moving.to = s.lastN
		if next := found[newer].flushes; len(next) > 0 {
			s.moving.to = next[0].first - 1
			s.moving.flush = next[0].number - 1
		}
	}
	if found[newer].broken { // what lies between is not to be written over before it is moved
		h.pos = max(h.pos, s.opt.JournalBytes)
	}
	return nil
}

// openHalves opens and reads both halves.
func (s *Store) openHalves() (found [2]scanned, err error) {
	for i := range s.halves {
		h, err := openHalf(filepath.Join(s.opt.Dir, fmt.Sprintf("journal-%d", i)), s.opt.JournalBytes)
		if err != nil {
			return found, err
		}
		s.halves[i] = h
		var flushed error
		if h.f != nil && !s.about.Clean { // what a kill cut short of its flush is in the page cache alone
			if flushed = s.opt.Fault("journal reread"); flushed == nil {
				flushed = forget(h.f)
			}
			if flushed == nil && !h.read && s.about.Boot == s.opt.Boot {
				flushed = stillCommits(s.opt.Dir)
			}
		}
		if found[i], err = h.scan(s.about.Consumed, s.packer.press); err != nil {
			return found, err
		}
		h.gen, h.pos = found[i].gen, found[i].end
		if flushed != nil && len(found[i].flushes) > 0 {
			s.log.Error("journal can't be flushed: it is moved and written anew", "error", flushed)
			h.bad, h.full, s.suspect, s.unflushed = true, true, true, true
		}
	}
	return found, nil
}

// takeBack takes over a flush of the journal at Open. A move may have put some
// of it into segments already.
func (s *Store) takeBack(f *flush) {
	type mark struct{ last, lastN uint64 }
	before := map[*ring]mark{}
	n := s.lastN
	for i := range f.entries {
		r := s.ringNamed(f.entries[i].ring)
		if _, ok := before[r]; !ok {
			before[r] = mark{r.last, r.lastN}
		}
		if e := &f.entries[i]; e.seq <= r.last && len(r.tail) == 0 {
			r.last = e.seq - 1 // the tail begins below what the segments have
		}
	}
	n = max(n, f.first-1) // a flush of rows alone tells what was given before it, if that is lost
	s.take(f)
	for r, m := range before {
		r.last, r.lastN = max(r.last, m.last), max(r.lastN, m.lastN)
	}
	s.lastN = max(s.lastN, n)
}
