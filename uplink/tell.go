package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"fieldpost/edge"
)

// tell publishes, beside the events, what a reader upstream finds at once: each
// device's current event and what this agent is. States come from the devices
// and never from backlog. It returns when ctx is done or the connection takes no
// more.
func (s *session) tell(ctx context.Context) {
	stater, _ := s.conn.(stater)
	teller, _ := s.conn.(teller)
	if s.f.opt.Devices == nil {
		stater = nil
	}
	if s.f.opt.About == nil {
		teller = nil
	}
	if stater == nil && teller == nil {
		return
	}
	watch := s.f.opt.Log.Watch()
	defer watch.Stop()
	again := time.NewTicker(aboutEvery)
	defer again.Stop()
	told := map[string]string{} // the id of the event told last, by device
	about := s.about(ctx, teller, nil)
	for {
		if stater != nil && !s.states(ctx, stater, told) {
			return
		}
		select { // a burst of changes is told once
		case <-time.After(stateEvery):
		case <-ctx.Done():
			return
		}
		// A device names its event a moment after the flush that woke us.
		if stater != nil && !s.states(ctx, stater, told) {
			return
		}
		select {
		case <-watch.C:
		case <-again.C:
			about = s.about(ctx, teller, about)
		case <-ctx.Done():
			return
		}
	}
}

// about tells what this agent is, unless that was told last.
func (s *session) about(ctx context.Context, to teller, last json.RawMessage) json.RawMessage {
	if to == nil {
		return nil
	}
	now := s.f.opt.About()
	if bytes.Equal(now, last) {
		return last
	}
	if err := to.About(ctx, now); err != nil {
		return last
	}
	return now
}

// states publishes the current event of each device that has another one than
// told says. It is false once the connection takes no more.
func (s *session) states(ctx context.Context, to stater, told map[string]string) bool {
	for _, d := range s.f.opt.Devices() {
		if d.Event == "" || told[d.Name] == d.Event {
			continue
		}
		ev, ok := s.find(&d)
		if !ok {
			continue
		}
		if err := to.State(ctx, d.Name, &ev); err != nil {
			return false
		}
		told[d.Name] = d.Event
		s.f.shown[d.Name] = true
	}
	return s.withdraw(ctx, to, told)
}

// withdraw takes back the states of devices that are there no more, those that an
// earlier connection of this process told as well. It is false once the connection
// takes no more.
func (s *session) withdraw(ctx context.Context, to stater, told map[string]string) bool {
	gone := maps.Clone(s.f.shown)
	for _, d := range s.f.opt.Devices() {
		delete(gone, d.Name)
	}
	for name := range gone {
		if err := to.State(ctx, name, nil); err != nil {
			return false
		}
		delete(s.f.shown, name)
		delete(told, name)
	}
	return true
}

// Follow goes on from another forwarder of the same name, whose Run has returned: states
// that it published of devices that are there no more are taken back. Call it before Run.
func (f *Forwarder) Follow(before *Forwarder) { maps.Copy(f.shown, before.shown) }

// find reads a device's current event, if its ring is one of this uplink's. It
// may not be stored yet: then the next flush brings us back.
func (s *session) find(d *edge.DeviceStatus) (edge.Event, bool) {
	epoch, n, err := edge.ParseID(d.Event)
	if err != nil || n == 0 {
		return edge.Event{}, false
	}
	rings := []string{d.Ring}
	if d.Ring == "" {
		rings = []string{edge.RingEvents, edge.RingSamples}
	}
	rings = slices.DeleteFunc(rings, func(r string) bool { return !s.f.takes(r) })
	if len(rings) == 0 {
		return edge.Event{}, false
	}
	page, err := s.f.opt.Log.Read(edge.Query{Rings: rings, After: edge.Position{Epoch: epoch, N: n - 1}, Limit: 1})
	if err != nil {
		return edge.Event{}, false
	}
	for _, ev := range page.Events {
		if ev.N == n && ev.Epoch == epoch {
			return ev, true
		}
	}
	return edge.Event{}, false
}
