package edge_test

import (
	"encoding/json"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
)

// TestAsks: a flush is counted for the ring whose event was due, or for the call
// that did not wait, and not for what rode along. A ring with sync: 5s has one
// flush in 5 s.
func TestAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, stop := memoryPump(t, edge.PumpOptions{Sync: func(ring string) time.Duration {
			return map[string]time.Duration{edge.RingSamples: 5 * time.Second}[ring]
		}})
		defer stop()
		sample := edge.Event{Name: "soil", Kind: edge.Sample, From: "device:soil", Data: json.RawMessage(`1`)}
		for range 60 {
			p.Emit(sample, nil)
			<-time.After(time.Second)
		}
		synctest.Wait()
		flushes := len(m.Flushes())
		if asks := p.Asks(); flushes < 10 || flushes > 12 || asks[edge.RingSamples] != uint64(flushes) || len(asks) != 1 {
			t.Errorf("%d flushes in a minute, asked for by %v", flushes, asks)
		}
		before := p.Asks()[edge.RingSamples]
		p.Emit(sample, nil)
		began := time.Now()
		if _, err := p.Post(t.Context(), []edge.Event{{Name: "a", Kind: edge.Message, From: "client:x", Data: json.RawMessage(`1`)}}, edge.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("a call waited %v for the sync of another ring", d)
		}
		p.Emit(sample, nil)
		<-p.Emit(change("door", 1), nil).Done()
		if asks := p.Asks(); !maps.Equal(asks, map[string]uint64{edge.RingSamples: before, "": 1, edge.RingEvents: 1}) {
			t.Errorf("asked for by %v", asks)
		}
	})
}
