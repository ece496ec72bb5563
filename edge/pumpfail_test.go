package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// A device's event outlives a failing store; a caller hears of it at once.
func TestFailingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m, stop := memoryPump(t, edge.PumpOptions{})
		broken := errors.New("no space left")
		m.Fail(broken)
		door := p.Emit(change("door", 1), nil)
		effect := p.Emit(change("pump", 1), door)
		if _, err := p.Post(t.Context(), []edge.Event{message("a", `1`)}, edge.Idempotency{}); !errors.Is(err, broken) {
			t.Error("the caller heard", err)
		}
		<-time.After(time.Minute) // the bubble's clock: retries go on
		if st := p.Stats(); st.Waiting != 2 || !errors.Is(st.Err, broken) {
			t.Errorf("%+v", st)
		}
		began := time.Now()
		if err := p.Commit(t.Context(), queue.Row{Table: "outputs", Key: "x", Value: []byte("1")}); !errors.Is(err, broken) || time.Since(began) > time.Second {
			t.Error("a row:", err, time.Since(began))
		}
		m.Fail(nil)
		if ev, err := door.Event(); err != nil || ev.N != 1 {
			t.Error(ev, err)
		}
		if ev, err := effect.Event(); err != nil || ev.N != 2 || ev.Cause != door.ID() {
			t.Errorf("%+v %v", ev, err)
		}
		if _, err := p.Post(t.Context(), []edge.Event{message("a", `1`)}, edge.Idempotency{}); err != nil {
			t.Error(err)
		}
		if st := p.Stats(); st.Waiting != 0 || st.Err != nil || st.Events != 3 {
			t.Errorf("%+v", st)
		}
		stop()
	})
}

// Callers can't take the room that is kept for devices; what exceeds all of it
// is told by name when there is room again.
func TestRoomAndLoss(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{Room: 8, Reserve: 4})
	_, free := m.Hold()
	defer free()
	first := p.Emit(change("door", 0), nil)
	<-m.Waiting()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		p.Post(ctx, []edge.Event{message("a", `1`), message("a", `2`), message("a", `3`), message("a", `4`), message("a", `5`), message("a", `6`)}, edge.Idempotency{})
	}()
	until(t, func() bool { return p.Stats().Waiting == 7 })
	if _, err := p.Post(ctx, []edge.Event{message("a", `1`), message("a", `2`)}, edge.Idempotency{}); !errors.Is(err, edge.ErrBusy) {
		t.Error("a post beyond the room:", err)
	}
	var kept, lost int
	for i := range 10 {
		tk := p.Emit(change("door", i+1), nil)
		select {
		case <-tk.Done():
			if _, err := tk.Event(); !errors.Is(err, edge.ErrBusy) {
				t.Error(err)
			}
			lost++
		default:
			kept++
		}
	}
	if kept != 5 || lost != 5 {
		t.Errorf("%d kept and %d lost, not 5 and 5", kept, lost)
	}
	free()
	wg.Wait()
	<-first.Done()
	until(t, func() bool { return len(m.Entries()) == 13 })
	evs := stored(t, m)
	last := evs[len(evs)-1]
	if last.Kind != edge.Loss || last.Name != "door" || last.From != "device:door" || !strings.Contains(string(last.Data), `"count":5`) {
		t.Errorf("the loss was told as %+v %s", last, last.Data)
	}
	if got := p.Stats().Lost["door"]; got != 5 {
		t.Errorf("%d are counted as lost", got)
	}
}

// An event of a ring with a sync time waits that long, unless something else is
// stored.
func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sync := func(ring string) time.Duration {
			if ring == edge.RingSamples {
				return time.Second
			}
			return 0
		}
		p, m, stop := memoryPump(t, edge.PumpOptions{Sync: sync})
		sample := func() *edge.Ticket {
			return p.Emit(edge.Event{Name: "soil", Kind: edge.Sample, From: "device:soil", Data: json.RawMessage(`1`)}, nil)
		}
		began := time.Now()
		a := sample()
		<-time.After(600 * time.Millisecond)
		b := sample()
		<-a.Done()
		<-b.Done()
		if d := time.Since(began); d != time.Second {
			t.Errorf("stored after %v", d)
		}
		began = time.Now()
		a = sample()
		p.Emit(change("door", 1), nil)
		<-a.Done()
		if d := time.Since(began); d != 0 {
			t.Errorf("stored %v after a change asked for a flush", d)
		}
		if f := m.Flushes(); len(f) != 2 {
			t.Errorf("%v flushes", f)
		}
		a = sample()
		stop()
		if _, err := a.Event(); err != nil {
			t.Error("what waited at the stop:", err)
		}
	})
}

// A batch that is too large for the store is stored in parts, and one event that
// is too large stops none of the others.
func TestTooLargeForTheStore(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	_, free := m.Hold()
	defer free()
	p.Emit(change("door", 0), nil)
	<-m.Waiting()
	a := p.Emit(change("a", 1), nil)
	b := p.Emit(change("b", 1), a)
	errs := make(chan error, 1)
	go func() {
		_, err := p.Post(context.Background(), []edge.Event{message("m", `1`), message("m", `2`)}, edge.Idempotency{})
		errs <- err
	}()
	until(t, func() bool { return p.Stats().Waiting == 5 })
	m.Limit(1)
	free()
	if err := <-errs; !errors.Is(err, queue.ErrTooLarge) {
		t.Error("the post of two:", err)
	}
	if ev, err := b.Event(); err != nil || ev.Cause != a.ID() || a.ID() == "" {
		t.Error(ev, err)
	}
	until(t, func() bool { return p.Stats().Waiting == 0 })
}

// A store that fails in the middle of those parts keeps causes before effects.
func TestTooLargeThenBroken(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	step, free := m.Hold()
	defer free()
	p.Emit(change("door", 0), nil)
	<-m.Waiting()
	a := p.Emit(change("a", 1), nil)
	b := p.Emit(change("b", 1), a)
	m.Limit(1)
	step() // the door's
	<-m.Waiting()
	step() // both at once are too many
	<-m.Waiting()
	m.Fail(errors.New("broken"))
	step() // the first alone
	until(t, func() bool { return p.Stats().Err != nil })
	m.Fail(nil)
	m.Limit(0)
	free()
	if ev, err := b.Event(); err != nil || ev.N != 3 || ev.Cause != a.ID() || a.ID() == "" {
		t.Errorf("%+v %v, caused by %q", ev, err, a.ID())
	}
}

// What was lost is told even where no event comes after it.
func TestStopTellsLosses(t *testing.T) {
	p, m, stop := memoryPump(t, edge.PumpOptions{})
	p.Emit(edge.Event{Name: "door", Kind: edge.Change, From: "device:door", Data: json.RawMessage(`{`)}, nil)
	stop()
	if evs := stored(t, m); len(evs) != 1 || evs[0].Kind != edge.Loss || evs[0].Name != "door" {
		t.Errorf("%+v", evs)
	}
}

// A Commit of nothing waits for what was emitted before it.
func TestCommitOfNothing(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{Sync: func(string) time.Duration { return time.Hour }})
	p.Emit(change("door", 1), nil)
	if err := p.Commit(t.Context()); err != nil || len(m.Entries()) != 1 {
		t.Error(err, len(m.Entries()))
	}
	if err := p.Commit(t.Context()); err != nil || len(m.Flushes()) != 1 {
		t.Error("with nothing to wait for:", err, m.Flushes())
	}
}

func TestStop(t *testing.T) {
	p, m, stop := memoryPump(t, edge.PumpOptions{})
	tickets := []*edge.Ticket{}
	for i := range 1000 {
		tickets = append(tickets, p.Emit(change("door", i), nil))
	}
	stop()
	for _, tk := range tickets {
		if _, err := tk.Event(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.Entries()); n != 1000 {
		t.Errorf("%d stored", n)
	}
	if _, err := p.Emit(change("door", 1), nil).Event(); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	if _, err := p.Post(t.Context(), []edge.Event{message("a", `1`)}, edge.Idempotency{}); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
}

func TestStopWithBrokenStore(t *testing.T) {
	p, m, stop := memoryPump(t, edge.PumpOptions{})
	m.Fail(errors.New("broken"))
	tk := p.Emit(change("door", 1), nil)
	stop()
	if _, err := tk.Event(); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
}

func TestInvalidEventIsCounted(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	if _, err := p.Emit(edge.Event{Name: "door", Kind: edge.Change, From: "device:door", Data: json.RawMessage(`{`)}, nil).Event(); err == nil {
		t.Fatal("it was stored")
	}
	p.Emit(change("lamp", 1), nil)
	until(t, func() bool { return len(m.Entries()) == 2 })
	if evs := stored(t, m); evs[1].Kind != edge.Loss || evs[1].Name != "door" {
		t.Errorf("%+v", evs)
	}
}

func TestPostContext(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	_, free := m.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	p.Emit(change("door", 1), nil)
	<-m.Waiting() // else Post would flush itself, and wait for the disk
	go func() {
		_, err := p.Post(ctx, []edge.Event{message("a", `1`)}, edge.Idempotency{Key: "k"})
		errs <- err
	}()
	until(t, func() bool { return p.Stats().Waiting == 2 })
	if _, err := p.Post(t.Context(), []edge.Event{message("a", `1`)}, edge.Idempotency{Key: "k"}); !errors.Is(err, edge.ErrKeyRunning) {
		t.Error(err)
	}
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	free()
	until(t, func() bool { return p.Stats().Waiting == 0 })
	evs, err := p.Post(t.Context(), []edge.Event{message("a", `1`)}, edge.Idempotency{Key: "k"})
	if err != nil || evs[0].N != 2 || len(m.Entries()) != 2 {
		t.Error("the repeat:", evs, err)
	}
}
