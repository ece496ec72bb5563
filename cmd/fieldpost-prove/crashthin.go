package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"fieldpost/edge"
	"fieldpost/queue"
)

// thin lets the oldest samples go and puts rows in their place, in one flush, as
// edge.Thinner does.
func (w *crashWriter) thin(ctx context.Context, rng *rand.Rand) error {
	info, _ := w.store.Ring(edge.RingSamples)
	if info.Last < info.First+60 {
		return nil
	}
	at := queue.Range{From: info.First, To: info.First + 10 + rng.Uint64N(40)}
	ids := make([]crashID, 1+rng.IntN(3))
	evs := make([]edge.Event, len(ids))
	for i := range ids {
		ids[i] = crashID{Ring: crashRows(), C: w.last.Add(1)}
		evs[i] = crashEvent(ids[i])
	}
	gone := queue.Thinning{Ring: edge.RingSamples, Into: crashRows(), Gone: []queue.Gone{{From: at.From, To: at.To, Cause: queue.Thinned}}}
	w.note(crashNote{What: noteTry, IDs: ids})
	w.note(crashNote{What: noteThin, Range: at})
	got, err := w.store.pump.CommitWith(ctx, evs, []queue.Row{gone.Row()})
	if err != nil {
		return fmt.Errorf("thin: %w", err)
	}
	for i, ev := range got {
		ids[i] = crashID{Ring: ev.Ring, C: ids[i].C, Epoch: ev.Epoch, N: ev.N, Seq: ev.Seq}
	}
	w.note(crashNote{What: noteAck, IDs: ids})
	w.note(crashNote{What: noteThinned, Range: at})
	return nil
}
