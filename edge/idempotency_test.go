package edge_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
)

func keyed(name, body string) edge.Idempotency {
	return edge.Idempotency{Key: name, Body: sha256.Sum256([]byte(body))}
}

func twoEvents() []edge.Event {
	b := message("b", `2`)
	b.Ring = "alarms"
	return []edge.Event{message("a", `1`), b, message("c", `3`)}
}

func TestRepeatGetsTheSameAnswer(t *testing.T) {
	dir := t.TempDir()
	b := edgetest.NewBoard("boot-1")
	r := edgetest.OpenRig(t, dir, b)
	stop := runClock(t, r)
	until(t, func() bool { return r.Store.NextN() > 1 }) // the boot's row is stored with its event
	stop()
	fillRig(t, r, 3)
	first, err := r.Pump.Post(t.Context(), twoEvents(), keyed("k1", "body"))
	if err != nil {
		t.Fatal(err)
	}
	again := func(when string) {
		t.Helper()
		fillRig(t, r, 1)
		got, err := r.Pump.Post(t.Context(), twoEvents(), keyed("k1", "body"))
		if err != nil {
			t.Fatal(when, err)
		}
		for i := range got {
			if a, b := string(got[i].AppendJSON(nil)), string(first[i].AppendJSON(nil)); a != b {
				t.Errorf("%s: %s\nthe first time: %s", when, a, b)
			}
		}
		if _, err := r.Pump.Post(t.Context(), twoEvents(), keyed("k1", "another body")); !errors.Is(err, edge.ErrKeyReused) {
			t.Error(when, err)
		}
		if _, err := r.Pump.Post(t.Context(), twoEvents()[:1], keyed("k1", "body")); !errors.Is(err, edge.ErrKeyReused) {
			t.Error(when, "fewer events:", err)
		}
	}
	again("at once")
	r.Stop()
	r = edgetest.OpenRig(t, dir, b)
	again("after a restart")
	r.Stop()
	r = edgetest.OpenRig(t, dir, edgetest.NewBoard("boot-2"))
	again("after a reboot")
	if evs, _ := r.Pump.Post(t.Context(), twoEvents(), keyed("k2", "body")); evs[0].N == first[0].N {
		t.Error("another key got the same answer")
	}
}

// A repeat that comes while the first is on its way is refused, not stored twice.
func TestRepeatsAtOnce(t *testing.T) {
	r := edgetest.NewRig(t)
	var wg sync.WaitGroup
	var ok, running atomic.Int64
	for range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := r.Pump.Post(t.Context(), twoEvents(), keyed("k", "body"))
			switch {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, edge.ErrKeyRunning):
				running.Add(1)
			default:
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if ok.Load() == 0 || ok.Load()+running.Load() != 32 || r.Store.NextN() != 4 {
		t.Errorf("%d answered, %d refused, next n %d", ok.Load(), running.Load(), r.Store.NextN())
	}
}

// Keys live for a day of uptime, and a failed call leaves none.
func TestKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("boot-1")
		s := edgetest.OpenStore(t, edgetest.Options(t.TempDir(), b))
		p, m, stop := memoryPump(t, edge.PumpOptions{Clock: edgetest.NewClock(t, b, s)})
		m.Fail(errors.New("broken"))
		if _, err := p.Post(t.Context(), twoEvents(), keyed("k0", "")); err == nil {
			t.Error("stored in a broken store")
		}
		m.Fail(nil)
		<-time.After(time.Minute)
		for i := range 20 {
			if _, err := p.Post(t.Context(), twoEvents(), keyed(fmt.Sprint("k", i), "")); err != nil {
				t.Error(err)
			}
		}
		count := func() (n int) {
			m.Each("idempotency", "", func(string, []byte) bool { n++; return true })
			return n
		}
		if count() != 20 || len(m.Entries()) != 60 {
			t.Errorf("%d keys of %d events", count(), len(m.Entries()))
		}
		<-time.After(25 * time.Hour)
		if _, err := p.Post(t.Context(), twoEvents(), keyed("k0", "another body")); err != nil {
			t.Error("a key that is a day old:", err)
		}
		for i := range 3 {
			if _, err := p.Post(t.Context(), twoEvents(), keyed(fmt.Sprint("new", i), "")); err != nil {
				t.Error(err)
			}
		}
		if n := count(); n != 4 {
			t.Errorf("%d keys are left, not 4", n)
		}
		stop()
		s.Close()
	})
}
