package edge_test

import (
	"fmt"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
)

// The keys of an earlier run are forgotten in their order, before those of this run,
// though they are read while it runs already.
func TestKeysOfEarlierRuns(t *testing.T) {
	dir := t.TempDir()
	b := edgetest.NewBoard("boot-1")
	r := edgetest.OpenRig(t, dir, b)
	post := func(name string) {
		t.Helper()
		if _, err := r.Pump.Post(t.Context(), []edge.Event{message("a", `1`)}, keyed(name, "body")); err != nil {
			t.Fatal(err)
		}
	}
	remembered := func() (n int) {
		err := r.Store.Each("idempotency", "", func(string, []byte) bool { n++; return true })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 20 {
		post(fmt.Sprint("old ", i))
	}
	r.Stop()
	r = edgetest.OpenRig(t, dir, b)
	defer r.Stop()
	b.SetMono(23 * time.Hour)
	post("of this run")
	if n := remembered(); n != 21 {
		t.Fatalf("%d keys", n)
	}
	b.SetMono(25 * time.Hour) // the old ones are over a day old
	posted := 1
	until(t, func() bool {
		post(fmt.Sprint("new ", posted))
		posted++
		return remembered() == posted
	})
}
