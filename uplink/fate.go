package uplink

import (
	"slices"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Fate tells how far the record seq of a ring has come on its way through this
// uplink. An event that is sent may be told as waiting where the order is live-first:
// the live ones and the backlog overtake each other there.
func (f *Forwarder) Fate(ring string, seq uint64) edge.Fate {
	has := func(r queue.Range) bool { return r.From <= seq && seq <= r.To }
	f.mu.Lock()
	s := f.session
	f.mu.Unlock()
	switch {
	case !f.takes(ring):
		return edge.NotForwarded
	case slices.ContainsFunc(f.cursor.Refused(ring), has):
		return edge.PeerRefused
	case f.cursor.Acked(ring, seq):
		return edge.Acknowledged
	case s != nil && s.sent(ring, seq):
		return edge.Sent
	}
	return edge.Waiting
}

// sent reports whether a record went out and is not answered yet.
func (s *session) sent(ring string, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fl := s.flight[ring]
	return s.f.opt.Order != LiveFirst && fl != nil && fl.head > 0 && fl.head <= seq && seq <= fl.last
}
