package uplink

import (
	"encoding/json"
	"testing"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// What was stored before the stop is read, also where its token was not seen yet.
func TestFeedReadsAllBeforeItStops(t *testing.T) {
	rig := edgetest.NewRig(t)
	post := func(ring string) {
		ev := edge.Event{Name: "a", Kind: edge.Message, Ring: ring, From: "client:test", Data: json.RawMessage("1")}
		if _, err := rig.Pump.Post(t.Context(), []edge.Event{ev}, edge.Idempotency{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		post("alarms")
		f := &feed{
			log: rig.Log, store: rig.Store, cursor: rig.Store.Cursor("cloud"),
			takes: func(string) bool { return true }, shy: func(string) bool { return false },
		}
		pages, stop := make(chan page), make(chan struct{})
		errs := make(chan error, 1)
		go func() {
			defer close(pages)
			errs <- f.run(t.Context(), stop, pages)
		}()
		got := len((<-pages).events)
		post("alarms") // while the feed may hold another page
		post("late")
		close(stop)
		for p := range pages {
			got += len(p.events)
		}
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		if want := 3 * (i + 1); got != want {
			t.Fatalf("round %d: %d events were read, %d are stored", i, got, want)
		}
	}
}

// The gap of a refused event is not what a connection may have ended on.
func TestFlightForgetsGaps(t *testing.T) {
	f := &flight{last: 20, sizes: []int{100}} // all of 1 to 20 was answered, 7 with a refusal
	f.acked(Ack{Range: queue.Range{From: 7, To: 7}, Events: 1})
	if f.head != 0 {
		t.Errorf("%d counts as in flight", f.head)
	}
}
