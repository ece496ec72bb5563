package edge_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// What a sync taught is told when it is durable: a power cut right before that must
// not make anybody a liar.
func TestSyncIsToldWhenDurable(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("boot-1")
		s := edgetest.OpenStore(t, edgetest.Options(dir, b))
		c := edgetest.NewClock(t, b, s)
		p, m, stopPump := memoryPump(t, edge.PumpOptions{Clock: c})
		ctx, cancel := contextFor(t)
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx, p) }()
		synctest.Wait()
		early := c.Stamp()
		<-time.After(time.Minute)
		_, free := m.Hold()
		truth := time.Now().Add(1000 * 24 * time.Hour)
		b.SetSync(true, time.Millisecond)
		b.SetWall(truth)
		synctest.Wait()
		if at, state, _ := c.Time(early); state != edge.Unsynced || at.Sub(truth.Add(-time.Minute)).Abs() > time.Millisecond {
			t.Errorf("told %v, %s, while the flush runs", at, state)
		}
		if state, _ := c.State(); state != edge.Synced {
			t.Errorf("the clock is %s meanwhile", state)
		}
		free()
		synctest.Wait()
		if _, state, _ := c.Time(early); state != edge.Corrected {
			t.Errorf("told %s after the flush", state)
		}
		cancel()
		<-done
		stopPump()
		s.Close()
	})
}

// An event that came long after its boot last noted that it runs is no older
// than it is.
func TestAgeAfterAPowerCut(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		truth := time.Now()
		b := edgetest.NewBoard("boot-1")
		b.SetSync(true, time.Millisecond)
		r := edgetest.OpenRig(t, dir, b)
		stop := runClock(t, r)
		<-time.After(50 * time.Minute)
		old := r.Clock.Stamp() // no record tells of it
		stop()
		r.Stop()

		b = edgetest.NewBoard("boot-2")
		b.SetSync(true, time.Millisecond)
		b.SetWall(truth.Add(60 * time.Minute))
		r = edgetest.OpenRig(t, dir, b)
		defer r.Stop()
		if age := r.Clock.Age(old); age > 10*time.Minute+2*time.Second {
			t.Errorf("an event of 10 minutes ago is %v old", age)
		}
	})
}

// A jump waits for 24 h, however long the board has been up when it comes.
func TestAgeOfALateJump(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("boot-1")
		b.SetSync(true, time.Millisecond)
		r := edgetest.OpenRig(t, dir, b)
		old := r.Clock.Stamp()
		stop := runClock(t, r)
		synctest.Wait()
		stop()
		r.Stop()

		b = edgetest.NewBoard("boot-2")
		r = edgetest.OpenRig(t, dir, b)
		defer r.Stop()
		stop = runClock(t, r)
		defer stop()
		<-time.After(30 * time.Hour)
		years := 10 * 365 * 24 * time.Hour
		b.SetSync(true, time.Millisecond)
		b.SetWall(time.Now().Add(years))
		<-time.After(23 * time.Hour)
		if age := r.Clock.Age(old); age > 54*time.Hour {
			t.Errorf("age %v, 23 h after a jump", age)
		}
		<-time.After(2 * time.Hour)
		if age := r.Clock.Age(old); age < years {
			t.Errorf("age %v, 25 h after a jump", age)
		}
	})
}

// A clock that is set while it is being looked at proves nothing.
func TestClockSetAmidALook(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("boot-1")
		board := b.Board()
		s := edgetest.OpenStore(t, edgetest.Options(dir, b))
		looks := 0
		board.Adjtimex = func() (bool, time.Duration, error) {
			if looks++; looks == 1 {
				defer b.SetWall(time.Now().Add(10 * 365 * 24 * time.Hour))
				return true, time.Millisecond, nil
			}
			return false, 0, nil
		}
		c := edge.NewClock(board)
		if err := c.Attach(s); err != nil {
			t.Fatal(err)
		}
		if state, _ := c.State(); state != edge.Unsynced {
			t.Errorf("the clock is %s", state)
		}
		s.Close()
	})
}

// A clock that is set back and forth all day takes nothing from what a sync taught.
func TestManySteps(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := edgetest.NewBoard("boot-1")
		b.SetSync(true, time.Millisecond)
		r := edgetest.OpenRig(t, dir, b)
		stop := runClock(t, r)
		<-time.After(time.Minute)
		old := r.Clock.Stamp()
		truth := time.Now()
		<-time.After(time.Millisecond)
		b.SetSync(false, 0)
		for i := range 300 {
			<-time.After(time.Second)
			b.SetWall(truth.Add(time.Duration(i%7-3) * 24 * time.Hour))
		}
		synctest.Wait()
		if at, state, _ := r.Clock.Time(old); state != edge.Synced || at.Sub(truth).Abs() > time.Millisecond {
			t.Errorf("told %v %s, true %v", at, state, truth)
		}
		stop()
		r.Stop()
		b = edgetest.NewBoard("boot-2")
		r = edgetest.OpenRig(t, dir, b)
		defer r.Stop()
		if at, state, _ := r.Clock.Time(old); state != edge.Synced || at.Sub(truth).Abs() > time.Millisecond {
			t.Errorf("told %v %s after a reboot, true %v", at, state, truth)
		}
	})
}

// Times on 32 bit are right past 2038 and 2106, and down to the microsecond.
func TestTimesPast2038(t *testing.T) {
	for _, year := range []int{1970, 2026, 2039, 2107, 2190} {
		dir := t.TempDir()
		t.Run(fmt.Sprint(year), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := time.Date(year, 11, 21, 1, 32, 15, 123456000, time.UTC)
				b := edgetest.NewBoard("boot-1")
				b.SetSync(true, time.Millisecond)
				b.SetWall(at)
				r := edgetest.OpenRig(t, dir, b)
				stop := runClock(t, r)
				synctest.Wait()
				evs, err := r.Pump.Post(t.Context(), []edge.Event{{Name: "door", Kind: edge.Change, From: "device:door", Data: []byte("true")}}, edge.Idempotency{})
				if err != nil || !evs[0].Time.Equal(at) || evs[0].Clock != edge.Synced {
					t.Errorf("%v %v", evs, err)
				}
				page, err := r.Log.Read(edge.Query{Since: at, Until: at.Add(time.Microsecond), Kinds: []edge.Kind{edge.Change}})
				if err != nil || len(page.Events) != 1 {
					t.Errorf("%v %v", page, err)
				}
				stamp := queue.Stamp{Boot: r.Store.Boot(), Mono: evs[0].Mono + int64(68*365*24*time.Hour)}
				if got, _, _ := r.Clock.Time(stamp); !got.Equal(at.Add(68 * 365 * 24 * time.Hour)) {
					t.Errorf("68 years later is %v", got)
				}
				stop()
				r.Stop()
			})
		})
	}
}
