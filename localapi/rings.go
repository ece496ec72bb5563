package localapi

import (
	"fieldpost/edge"
	"fieldpost/queue"
)

// ringAnswer is a ring with its bounds.
type ringAnswer struct {
	queue.RingInfo
	Events uint64         `json:"events"` // from first to last
	Keep   uint64         `json:"keep,omitempty"`
	Size   int64          `json:"size,omitempty"`
	Age    *edge.Duration `json:"age,omitempty"`
	Thins  bool           `json:"thins,omitempty"` // its oldest samples become rows of another ring
}

func (s *Server) rings() []ringAnswer {
	out := []ringAnswer{}
	for _, info := range s.Store.Rings() {
		a := ringAnswer{RingInfo: info, Events: info.Last + 1 - info.First, Keep: info.Limits.Keep, Size: info.Limits.Size, Thins: info.Limits.Thin}
		if info.Limits.Age > 0 {
			age := edge.Duration(info.Limits.Age)
			a.Age = &age
		}
		out = append(out, a)
	}
	return out
}

func getRings(s *Server, _ *request) (any, error) {
	return map[string]any{"rings": s.rings()}, nil
}

// deleteRing empties a ring. The rings that every store has stay.
func deleteRing(s *Server, r *request) (any, error) {
	name := r.PathValue("ring")
	switch name {
	case edge.RingAudit, edge.RingLogs, edge.RingEvents:
		return nil, conflict("ring %q is the agent's own and can't be deleted", name)
	}
	if _, ok := s.Store.Ring(name); !ok {
		return nil, notFound("there is no ring %q", name)
	}
	if err := s.Store.DeleteRing(name); err != nil {
		return nil, notStored(err)
	}
	s.Pump.Emit(auditEvent("rings", r.who.from(), map[string]string{"did": "deleted", "ring": name, "address": r.who.address()}), nil)
	return none{}, nil
}
