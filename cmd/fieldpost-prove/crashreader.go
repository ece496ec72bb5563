package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"fieldpost/queue"
)

// read is what a forwarder does: it reads each ring as soon as there is
// something, and acknowledges it to the cursor, not always in order.
func (w *crashWriter) read(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(w.seed, w.life<<8|0xff))
	watch := w.store.Watch()
	defer watch.Stop()
	next := map[string]uint64{}
	late := map[string][]queue.Range{}
	for _, ring := range crashRings() {
		next[ring] = w.store.Cursor(crashCursor).Next(ring)
		if w.salvage { // as a reader who is new, so that it meets what is damaged
			next[ring] = 1
		}
	}
	for ctx.Err() == nil {
		for _, ring := range crashRings() {
			if err := w.readRing(ring, next, late, rng); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-watch.C:
		}
	}
	return nil
}

// readRing reads a ring to its end.
func (w *crashWriter) readRing(ring string, next map[string]uint64, late map[string][]queue.Range, rng *rand.Rand) error {
	for end := false; !end; {
		page, err := w.store.Read(ring, next[ring]-1, queue.Max{Records: 64})
		if err != nil {
			return fmt.Errorf("read ring %q: %w", ring, err)
		}
		at := w.now()
		end = page.End
		if len(page.Items) == 0 {
			continue
		}
		saw := crashNote{What: noteSaw}
		for _, it := range page.Items {
			if it.Hole != nil {
				saw.Holes = append(saw.Holes, *it.Hole)
				continue
			}
			c, ok := crashContent(ring, it.Data)
			if !ok {
				c = 0 // which nobody tried: the checker tells
			}
			saw.IDs = append(saw.IDs, crashID{Ring: ring, C: c, Epoch: it.Epoch, N: it.N, Seq: it.Seq})
			w.top.Store(max(w.top.Load(), it.N))
		}
		w.noteAt(at, saw)
		w.acknowledge(ring, queue.Range{From: next[ring], To: page.Next}, late, rng)
		next[ring] = page.Next + 1
	}
	return nil
}

// acknowledge moves the cursor over a range, now or some time later.
func (w *crashWriter) acknowledge(ring string, r queue.Range, late map[string][]queue.Range, rng *rand.Rand) {
	late[ring] = append(late[ring], r)
	if rng.IntN(4) == 0 && len(late[ring]) < 8 {
		return
	}
	rng.Shuffle(len(late[ring]), func(i, j int) { late[ring][i], late[ring][j] = late[ring][j], late[ring][i] })
	for _, r := range late[ring] {
		w.note(crashNote{What: noteCursor, Ring: ring, Range: r})
		w.store.Cursor(crashCursor).Ack(ring, r)
	}
	late[ring] = nil
}
