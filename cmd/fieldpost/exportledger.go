package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"fieldpost/edge"
)

// ledger gathers what each ring was given in each epoch, out of a whole reading
// of it.
type ledger struct {
	epochs []epochSpans // in the order of their first appearance
}

type epochSpans struct {
	epoch uint32
	rings map[string]span
}

// span is the first and the last seq of a ring in an epoch.
type span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// saw notes an event or a gap.
func (l *ledger) saw(epoch uint32, ring string, from, to uint64) {
	for i := range l.epochs {
		e := &l.epochs[i]
		if e.epoch != epoch {
			continue
		}
		s, ok := e.rings[ring]
		if !ok {
			s.First = from
		}
		e.rings[ring] = span{s.First, max(s.Last, to)}
		return
	}
	l.epochs = append(l.epochs, epochSpans{epoch, map[string]span{ring: {from, to}}})
}

// spansOf is the data of a ledger event, of one epoch.
type spansOf struct {
	Epoch  string          `json:"epoch"`
	Rings  map[string]span `json:"rings"`
	Before []spansOf       `json:"before,omitempty"`
}

// event is the ledger as the last line of an export; nil where nothing was seen.
// It has no number, since it was not stored.
func (l *ledger) event(o outline) json.RawMessage {
	now := spansOf{Epoch: o.epoch, Rings: map[string]span{}}
	for _, e := range l.epochs {
		if text := fmt.Sprintf("%08x", e.epoch); text == o.epoch {
			now.Rings = e.rings
		} else {
			now.Before = append(now.Before, spansOf{Epoch: text, Rings: e.rings})
		}
	}
	data, err := json.Marshal(now)
	epoch, perr := strconv.ParseUint(o.epoch, 16, 32)
	if len(l.epochs) == 0 || err != nil || perr != nil {
		return nil
	}
	ev := edge.Event{
		Epoch: uint32(epoch), Ring: edge.RingEvents, Agent: o.agent, Name: "ledger", Kind: edge.System,
		Time: time.Now().UTC(), Clock: edge.Unsynced, From: "system:export", Data: data,
	}
	return ev.AppendJSON(nil)
}
