package queue

import (
	"fmt"
	"syscall"
)

// doubt is the last flush of a journal that could not be made durable when it was
// read. Each flush is written after the one before it was acknowledged, so all
// but the last are on the disk; whether that one was acknowledged nobody knows. It
// is neither shown, since a power cut may take it, nor are its numbers given
// again: once the disk takes writes it is written anew, before anything else.
type doubt struct {
	flush *flush
	half  *half // what has it; not moved before it is written anew
}

var errDoubt = fmt.Errorf("the last flush of the journal is not durable yet: %w", syscall.EIO)

// doubtLast takes the last flush out of what the halves have, if it is in doubt. In
// a new boot nothing is: what is read then comes from the disk.
func (s *Store) doubtLast(found *[2]scanned, older, newer int, rec *recovery) {
	sameRun := !rec.lost && !rec.broken && s.about.Boot == s.opt.Boot && s.about.Serial == s.opt.Serial // else an epoch begins
	k := len(found[newer].flushes)
	if !s.unflushed || !sameRun || k == 0 {
		return
	}
	last := found[newer].flushes[k-1]
	for i := range last.entries {
		if r := s.rings[last.entries[i].ring]; r != nil && last.entries[i].seq <= r.last {
			return // a move took it: it was acknowledged
		}
	}
	s.doubt = doubt{last, s.halves[newer]}
	found[newer].flushes = found[newer].flushes[:k-1]
	for k := len(found[older].flushes); k > 0 && found[older].flushes[k-1].number >= last.number; k-- {
		found[older].flushes = found[older].flushes[:k-1] // an earlier try of it
	}
}

// clearDoubt writes the flush in doubt anew, into a half that does not have it, and
// shows it. While the older half waits for its move it does nothing. s.appendMu must
// be held.
func (s *Store) clearDoubt() error {
	f := s.doubt.flush
	if f == nil {
		return nil
	}
	h := s.halves[s.active]
	if h == s.doubt.half {
		if s.moving.half != nil {
			return nil
		}
		if err := s.turn(); err != nil {
			return err
		}
		h = s.halves[s.active]
	}
	if h.bad { // it failed there too
		if err := s.replace(h); err != nil {
			return err
		}
		h.pos, h.full = 0, false
	}
	stream := appendStream(make([]byte, 0, streamRoom(f)), f)
	plain := int64(len(stream))
	stream, codec := s.packer.press.shrinkFlush(stream)
	s.suspect = true
	if err := s.writeFlush(f, stream, codec); err != nil {
		return err
	}
	s.plain += plain
	s.doubt = doubt{}
	s.publish(f)
	s.log.Info("last flush of the journal is durable", "flush", f.number, "records", len(f.entries))
	return nil
}
