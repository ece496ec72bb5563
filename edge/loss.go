package edge

import (
	"encoding/json"
	"strconv"
)

// maxLossNames bounds how many names losses are counted by; the rest share one.
const maxLossNames = 1024

// lossBook counts events that never got a number, by name.
type lossBook struct {
	names map[string]*losses
	owed  bool // something is not told yet
}

type losses struct {
	ring, from string
	untold     uint64
	total      uint64
}

// add counts one; true where it is the first of its name.
func (b *lossBook) add(ev *Event) (first bool) {
	if b.names == nil {
		b.names = make(map[string]*losses)
	}
	name, from := ev.Name, ev.From
	l := b.names[name]
	if l == nil && (len(b.names) >= maxLossNames || CheckName(name) != nil) {
		name, from = "agent", "system:pump"
		l = b.names[name]
	}
	if l == nil {
		l = &losses{from: from}
		if ev.Ring != RingFor(ev.Kind) && CheckRing(ev.Ring) == nil {
			l.ring = ev.Ring // its device has a ring of its own
		}
		b.names[name] = l
		first = true
	}
	l.untold++
	l.total++
	b.owed = true
	return first
}

// tell gives the loss events that are owed, and owes them no more.
func (b *lossBook) tell() []Event {
	if !b.owed {
		return nil
	}
	b.owed = false
	var evs []Event
	for name, l := range b.names {
		if l.untold == 0 {
			continue
		}
		data := append(strconv.AppendUint([]byte(`{"count":`), l.untold, 10), `,"why":"no room while the store was busy"}`...)
		ev := Event{Name: name, Kind: Loss, Ring: l.ring, From: l.from, Data: json.RawMessage(data)}
		if len(ev.From) > maxFrom {
			ev.From = "system:pump"
		}
		evs = append(evs, ev)
		l.untold = 0
	}
	return evs
}

func (b *lossBook) totals() map[string]uint64 {
	m := make(map[string]uint64, len(b.names))
	for name, l := range b.names {
		m[name] = l.total
	}
	return m
}
