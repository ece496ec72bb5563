package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// refusal is an event of the ring quarantine: what a peer will never take, and
// why. It has the name of the event that was refused, and that event's id as its
// cause.
type refusal struct {
	Uplink string `json:"uplink"`
	Why    string `json:"why"`
	Ring   string `json:"ring"`
	Seq    uint64 `json:"seq"`
	// Event is the whole event. It is left out where the two together would be
	// too large for one event, and for one of quarantine itself; the event is in
	// its ring as long as that keeps it.
	Event json.RawMessage `json:"event,omitempty"`
}

// quarantine stores what the peer will never take and gives the gap that goes in
// its place. It blocks until the copy is durable.
func (f *Forwarder) quarantine(ctx context.Context, ring string, at queue.Range, why error) (edge.Event, error) {
	gap := edge.Event{Epoch: f.opt.Store.EpochOf(ring, at.From), Ring: ring, Seq: at.To, Agent: f.opt.Agent, Kind: edge.Gap, Name: string(edge.Gap)}
	gap.Hole = &edge.Hole{From: at.From, To: at.To, Count: at.To - at.From + 1, Cause: string(queue.Refused)}
	ev, err := f.opt.Log.One(ring, at.From)
	switch {
	case errors.Is(err, queue.ErrNotFound): // evicted meanwhile, or a gap: there is nothing to keep
		return gap, nil
	case err != nil:
		return edge.Event{}, fmt.Errorf("read event %s/%d for quarantine: %w", ring, at.From, err)
	}
	gap.Time, gap.Clock, gap.Boot, gap.Mono = ev.Time, ev.Clock, ev.Boot, ev.Mono

	copied, err := f.refusal(&ev, why)
	if err != nil {
		return edge.Event{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := f.opt.Pump.CommitWith(ctx, []edge.Event{copied}, nil); err != nil {
		return edge.Event{}, fmt.Errorf("put event %s into quarantine: %w", ev.ID(), err)
	}
	f.log.Warn("the peer will never take this event: it is in quarantine", "event", ev.ID(), "name", ev.Name, "why", why)
	f.set(func(s *status) { s.refused++ })
	return gap, nil
}

func (f *Forwarder) refusal(ev *edge.Event, why error) (edge.Event, error) {
	r := refusal{Uplink: f.opt.Name, Why: clip(why.Error(), 500), Ring: ev.Ring, Seq: ev.Seq, Event: ev.AppendJSON(nil)}
	out := edge.Event{Ring: edge.RingQuarantine, Kind: edge.System, Name: ev.Name, From: "uplink:" + f.opt.Name, Cause: ev.ID()}
	var err error
	if out.Data, err = json.Marshal(r); err != nil {
		return edge.Event{}, fmt.Errorf("encode event %s for quarantine: %w", ev.ID(), err)
	}
	// One of quarantine itself is kept there already, and copies of copies would grow.
	if sizeOf(&out)+1024 > edge.MaxEvent || ev.Ring == edge.RingQuarantine {
		r.Event = nil
		if out.Data, err = json.Marshal(r); err != nil {
			return edge.Event{}, fmt.Errorf("encode event %s for quarantine: %w", ev.ID(), err)
		}
	}
	return out, nil
}
