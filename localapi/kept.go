package localapi

import (
	"context"
	"slices"

	"fieldpost/edge"
)

// keptWindow remembers which events a mailbox with keep still shows: the last
// ones that fit its filter. It reads the log once, and then what is new.
type keptWindow struct {
	epoch   uint32
	scanned edge.Position
	shown   []keptEvent // at most keep, oldest first
	missed  []edge.Hole // what keep took, a range a ring; Cause is the ring until it is shown
	missedN uint64      // the highest n of it
}

type keptEvent struct {
	n, seq uint64
	ring   string
}

// keepCause is the cause of the gap that keep makes.
const keepCause = "keep"

// follow reads on to the end of the log, or as far as ctx allows.
func (w *keptWindow) follow(ctx context.Context, log eventLog, q edge.Query, keep int) error {
	for ctx.Err() == nil {
		q.After, q.Limit = w.scanned, readStep
		page, err := log.Read(q)
		if err != nil {
			return err
		}
		for i := range page.Events {
			if ev := &page.Events[i]; ev.Hole == nil {
				w.push(keptEvent{ev.N, ev.Seq, ev.Ring}, keep)
			}
		}
		w.scanned = page.Next
		if page.End {
			return nil
		}
	}
	return busy("the mailbox is being looked through; ask again")
}

func (w *keptWindow) push(e keptEvent, keep int) {
	if keep > 0 && len(w.shown) < keep {
		w.shown = append(w.shown, e)
		return
	}
	old := e
	if keep > 0 {
		old = w.shown[0]
		copy(w.shown, w.shown[1:])
		w.shown[keep-1] = e
	}
	w.missedN = old.n
	i := slices.IndexFunc(w.missed, func(h edge.Hole) bool { return h.Cause == old.ring })
	if i < 0 {
		w.missed = append(w.missed, edge.Hole{From: old.seq, Cause: old.ring})
		i = len(w.missed) - 1
	}
	w.missed[i].To = old.seq
	w.missed[i].Count++
}

// acknowledge forgets what is at or before n.
func (w *keptWindow) acknowledge(n uint64) {
	if n >= w.missedN {
		w.missed, w.missedN = nil, 0
	}
	i := slices.IndexFunc(w.shown, func(e keptEvent) bool { return e.n > n })
	if i < 0 {
		i = len(w.shown)
	}
	w.shown = slices.Delete(w.shown, 0, i)
	if w.scanned.N < n {
		w.scanned = edge.Position{N: n}
	}
}

// gaps are the events that stand for what keep took.
func (w *keptWindow) gaps(agent string) []edge.Event {
	var out []edge.Event
	for _, h := range w.missed {
		ring := h.Cause
		h.Cause = keepCause
		out = append(out, edge.Event{Epoch: w.epoch, Ring: ring, Seq: h.To, Agent: agent, Name: "gap", Kind: edge.Gap, Hole: &h})
	}
	return out
}
