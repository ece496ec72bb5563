package edge_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// runClock runs the rig's clock, and gives what stops it.
func runClock(t *testing.T, r *edgetest.Rig) (stop func()) {
	t.Helper()
	ctx, cancel := contextFor(t)
	done := make(chan error, 1)
	go func() { done <- r.Clock.Run(ctx, r.Pump) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func clockEvents(t *testing.T, r *edgetest.Rig) (evs []edge.Event) {
	t.Helper()
	page, err := r.Log.Read(edge.Query{Names: []string{"clock"}, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return page.Events
}

func TestClockStates(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("11111111-2222-3333-4444-555555555555")
		truth := time.Now().Add(365 * 24 * time.Hour)
		r := edgetest.OpenRig(t, dir, b)
		stop := runClock(t, r)
		synctest.Wait()
		early := r.Clock.Stamp()
		if at, state, bound := r.Clock.Time(early); state != edge.Unsynced || bound != 0 || time.Until(at).Abs() > time.Second {
			t.Errorf("before any sync: %v %v %v", at, state, bound)
		}
		<-time.After(time.Minute)
		b.SetSync(true, 20*time.Millisecond)
		b.SetWall(truth.Add(time.Minute))
		synctest.Wait() // the step is seen at once
		if at, state, bound := r.Clock.Time(early); state != edge.Corrected || at.Sub(truth).Abs() > time.Millisecond || bound < 20*time.Millisecond || bound > 70*time.Millisecond {
			t.Errorf("corrected to %v (%v), %v ± %v", at, truth, state, bound)
		}
		now := r.Clock.Stamp()
		if at, state, bound := r.Clock.Time(now); state != edge.Synced || bound != 35*time.Millisecond || at.Sub(truth.Add(time.Minute)).Abs() > time.Millisecond {
			t.Errorf("%v %v %v", at, state, bound)
		}
		b.SetSync(true, 50*time.Millisecond)
		<-time.After(time.Minute)
		if _, state, bound := r.Clock.Time(now); state != edge.Synced || bound != 130*time.Millisecond {
			t.Errorf("a grown bound: %v %v", state, bound)
		}
		b.FailSync(errors.New("not permitted"))
		<-time.After(time.Minute)
		if state, _ := r.Clock.State(); state != edge.Unsynced {
			t.Errorf("a clock that can't be asked is %v", state)
		}
		if _, state, _ := r.Clock.Time(now); state != edge.Synced {
			t.Errorf("what was synced is %v now", state)
		}
		if evs := clockEvents(t, r); len(evs) != 3 {
			t.Errorf("%d clock events, not unsynced, synced, unsynced: %+v", len(evs), evs)
		}
		if id := r.Clock.BootID(early.Boot); id != "11111111" {
			t.Errorf("boot %q", id)
		}
		stop()
		r.Stop()

		// A new boot, whose clock starts far back: time never runs backwards, and
		// what the boot before learned holds.
		b2 := edgetest.NewBoard("boot-2")
		b2.SetWall(time.Unix(1000, 0))
		r2 := edgetest.OpenRig(t, dir, b2)
		if at, state, _ := r2.Clock.Time(now); state != edge.Synced || at.Sub(truth.Add(time.Minute)).Abs() > time.Millisecond {
			t.Errorf("after a reboot: %v %v", at, state)
		}
		if at, state, _ := r2.Clock.Time(r2.Clock.Stamp()); state != edge.Unsynced || at.Before(truth) {
			t.Errorf("the guess of a new boot is %v, %v", at, state)
		}
		r2.Stop()
	})
}

func TestAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		truth := time.Now().Add(100 * 24 * time.Hour)
		b := edgetest.NewBoard("boot-1")
		b.SetSync(true, time.Millisecond)
		b.SetWall(truth)
		r := edgetest.OpenRig(t, dir, b)
		old := r.Clock.Stamp()
		stop := runClock(t, r)
		<-time.After(3*time.Hour + time.Minute)
		if age := r.Clock.Age(old); age != 3*time.Hour+time.Minute {
			t.Errorf("age %v", age)
		}
		stop()
		r.Stop()

		check := func(boot string, off time.Duration, synced bool, up, min, max time.Duration) {
			t.Helper()
			b := edgetest.NewBoard(boot)
			b.SetMono(time.Hour)
			b.SetSync(synced, time.Millisecond)
			b.SetWall(truth.Add(3*time.Hour + off + time.Hour))
			r := edgetest.OpenRig(t, dir, b)
			defer r.Stop()
			b.SetMono(up) // nobody looked meanwhile, but Mono goes on
			if age := r.Clock.Age(old); age < min || age > max {
				t.Errorf("%s: age %v, not %v to %v", boot, age, min, max)
			}
			if age := r.Clock.Age(queue.Stamp{Boot: 99}); age != 0 {
				t.Errorf("age of a boot to come: %v", age)
			}
		}
		const h = time.Hour
		check("unsynced", 10*h, false, h, 4*h, 4*h+2*time.Minute)
		check("synced", 10*h, true, h, 14*h-time.Second, 14*h+2*time.Minute)
		check("jump", 90*24*h, true, h, 4*h, 4*h+2*time.Minute)
		check("jump proven", 90*24*h, true, 25*h, (90*24+28)*h-time.Second, (90*24+28)*h+2*time.Minute)
		check("clock went back", -2*h, true, h, 4*h, 4*h+2*time.Minute)
	})
}

// A clock that somebody sets wrong after a sync proves no off time.
func TestAgeAfterAWrongSetting(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		truth := time.Now()
		b := edgetest.NewBoard("boot-1")
		b.SetSync(true, time.Millisecond)
		r := edgetest.OpenRig(t, dir, b)
		stop := runClock(t, r)
		synctest.Wait()
		b.SetSync(false, 0)
		b.SetWall(truth.Add(-1000 * 24 * time.Hour))
		<-time.After(time.Minute)
		old := r.Clock.Stamp()
		stop()
		r.Stop()

		b = edgetest.NewBoard("boot-2")
		b.SetMono(25 * time.Hour)
		b.SetSync(true, time.Millisecond)
		b.SetWall(truth.Add(26 * time.Hour))
		r = edgetest.OpenRig(t, dir, b)
		defer r.Stop()
		if age := r.Clock.Age(old); age < 25*time.Hour || age > 27*time.Hour {
			t.Errorf("age %v, not about 26 h", age)
		}
	})
}

func TestClockBeforeAttach(t *testing.T) {
	c := edge.NewClock(edgetest.NewBoard("b").Board())
	if c.Age(queue.Stamp{Boot: 3, Mono: 5}) != 0 || c.BootID(0) != "" {
		t.Error("a clock without a table knows something")
	}
	if at, state, _ := c.Time(c.Stamp()); state != edge.Unsynced || time.Since(at).Abs() > time.Second {
		t.Error(at, state)
	}
}

// A row that fails to be written is written later.
func TestClockWritesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("boot-1")
		s := edgetest.OpenStore(t, edgetest.Options(t.TempDir(), b))
		c := edgetest.NewClock(t, b, s)
		p, m, stopPump := memoryPump(t, edge.PumpOptions{Clock: c})
		m.Fail(errors.New("broken"))
		ctx, cancel := contextFor(t)
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx, p) }()
		<-time.After(time.Minute)
		m.Fail(nil)
		<-time.After(time.Minute)
		if len(m.Entries()) != 1 || rows(m) != 1 {
			t.Errorf("%d events and %d rows, not one each", len(m.Entries()), rows(m))
		}
		cancel()
		<-done
		stopPump()
		s.Close()
	})
}

func rows(m *edgetest.Memory) (n int) {
	m.Each("clock", "", func(string, []byte) bool { n++; return true })
	return n
}
