package uplink

import "sync"

// How often a connection must end on the same event.
const (
	suspectAfter = 2 // before it is sent with nothing else in flight
	convictAfter = 5 // alone, before it is taken to be too large for the peer
)

// suspects remembers which events were first in flight when the peer closed the
// connection. Some peers answer a message over their limit with nothing but that,
// and would do so for ever. An event is given up only if it was alone in flight
// each time and is larger than anything this peer ever took: a bad line can't
// make that up, for on one smaller events fail as well. Until then its ring goes
// last, so that it keeps nothing else back.
type suspects struct {
	mu      sync.Mutex
	heads   map[string]suspect // by ring
	largest int                // bytes of the largest event acknowledged so far
}

type suspect struct {
	seq   uint64
	times int // connections that ended with it first in flight
	alone int // and with nothing else in flight
}

// lost notes that the connection ended by the peer's doing while these were the
// first of their rings in flight. alone: it was one event in all.
func (s *suspects) lost(heads map[string]uint64, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads == nil {
		s.heads = map[string]suspect{}
	}
	for ring, seq := range heads {
		h := s.heads[ring]
		if h.seq != seq {
			h = suspect{seq: seq}
		}
		h.times++
		if alone {
			h.alone++
		}
		s.heads[ring] = h
	}
}

// took notes that the peer acknowledged a ring up to a seq, and how large an
// event it took.
func (s *suspects) took(ring string, to uint64, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, size)
	if h, ok := s.heads[ring]; ok && to >= h.seq {
		delete(s.heads, ring)
	}
}

// shy reports whether a ring's next event may cost the connection.
func (s *suspects) shy(ring string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads[ring].times >= suspectAfter
}

// judge says whether an event must go alone, and whether the peer will never
// take it.
func (s *suspects) judge(ring string, seq uint64, size int) (alone, never bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.heads[ring]
	if !ok || h.seq != seq {
		return false, false
	}
	return h.times >= suspectAfter, h.alone >= convictAfter && size > s.largest && s.largest > 0
}
