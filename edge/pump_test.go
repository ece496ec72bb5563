package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func message(name, data string) edge.Event {
	return edge.Event{Name: name, Kind: edge.Message, From: "client:test", Data: json.RawMessage(data)}
}

func change(name string, v int) edge.Event {
	return edge.Event{Name: name, Kind: edge.Change, From: "device:" + name, Data: json.RawMessage(fmt.Sprintf(`{"value":%d}`, v))}
}

func memoryPump(t *testing.T, opt edge.PumpOptions) (*edge.Pump, *edgetest.Memory, func()) {
	t.Helper()
	m := edgetest.NewMemory()
	opt.Agent, opt.Store = "test", m
	if opt.Clock == nil {
		opt.Clock = edge.NewClock(edgetest.NewBoard("boot-1").Board())
	}
	p, stop := edgetest.RunPump(t, opt)
	return p, m, stop
}

// stored is what the entries decode to.
func stored(t *testing.T, m *edgetest.Memory) []edge.Event {
	t.Helper()
	var out []edge.Event
	for i, in := range m.Entries() {
		e := edge.Event{N: uint64(i) + 1, Epoch: m.Epoch(), Ring: in.Ring}
		if err := edge.DecodePayload(in.Data, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestPostIsNumbered(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	alarm := message("b", `2`)
	alarm.Ring = "alarms"
	evs, err := p.Post(t.Context(), []edge.Event{message("a", `{"x": 1}`), alarm, message("c", `3`)}, edge.Idempotency{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		ring string
		seq  uint64
	}{{"events", 1}, {"alarms", 1}, {"events", 2}} {
		e := evs[i]
		if e.N != uint64(i)+1 || e.Ring != want.ring || e.Seq != want.seq || e.Agent != "test" || e.ID() != fmt.Sprintf("0e0e0e0e-%d", i+1) || e.Mono == 0 {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if got := stored(t, m); len(got) != 3 || string(got[0].Data) != `{"x":1}` {
		t.Errorf("stored %+v", got)
	}
	if evs, err := p.Post(t.Context(), nil, edge.Idempotency{}); err != nil || len(evs) != 0 {
		t.Error(evs, err)
	}
}

func TestPostRefuses(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	big := make([]edge.Event, 40)
	for i := range big {
		big[i] = message("a", `"`+strings.Repeat("x", 120_000)+`"`)
	}
	for name, c := range map[string]struct {
		evs  []edge.Event
		want error
	}{
		"no name":  {[]edge.Event{message("", `1`)}, nil},
		"bad data": {[]edge.Event{message("a", `1`), message("a", `{`)}, nil},
		"too big":  {[]edge.Event{message("a", `"`+strings.Repeat("x", edge.MaxEvent)+`"`)}, edge.ErrTooBig},
		"many":     {make([]edge.Event, edge.MaxPost+1), nil},
		"bytes":    {big, queue.ErrTooLarge},
	} {
		if name == "many" {
			for i := range c.evs {
				c.evs[i] = message("a", `1`)
			}
			c.want = queue.ErrTooLarge
		}
		_, err := p.Post(t.Context(), c.evs, edge.Idempotency{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(m.Entries()); n != 0 {
		t.Errorf("%d events of refused posts were stored", n)
	}
}

// What waits while a flush runs goes into the next one, all of it.
func TestFlushTakesAllThatWaits(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	_, free := m.Hold()
	defer free()
	p.Emit(change("door", 0), nil)
	<-m.Waiting()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := p.Post(context.Background(), []edge.Event{message("m", fmt.Sprint(i))}, edge.Idempotency{}); err != nil {
				t.Error(err)
			}
		}()
	}
	until(t, func() bool { return p.Stats().Waiting == 51 })
	free()
	wg.Wait()
	if f := m.Flushes(); len(f) != 2 || f[0] != 1 || f[1] != 50 {
		t.Errorf("flushes of %v, not of 1 and 50", f)
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// The cause of an effect is resolved, though neither had a number when React ran.
func TestCause(t *testing.T) {
	var p *edge.Pump
	ready := make(chan struct{})
	react := func(e *edge.Event, cause *edge.Ticket) {
		<-ready
		if e.Name == "door" {
			p.Emit(change("pump", 1), cause)
		}
	}
	p, m, _ := memoryPump(t, edge.PumpOptions{React: react})
	close(ready)
	_, free := m.Hold()
	defer free()
	p.Emit(change("first", 1), nil)
	<-m.Waiting()
	door := p.Emit(change("door", 1), nil)
	if door.ID() != "" {
		t.Error("it has an id before it is stored:", door.ID())
	}
	free()
	<-door.Done()
	late := p.Emit(change("lamp", 1), door)
	if _, err := late.Event(); err != nil {
		t.Fatal(err)
	}
	evs := stored(t, m)
	if len(evs) != 4 || evs[2].Name != "pump" || evs[2].Cause != door.ID() || evs[3].Cause != door.ID() || evs[1].Cause != "" {
		t.Errorf("%+v", evs)
	}
}

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
	go func() {
		_, err := p.Post(ctx, []edge.Event{message("a", `1`)}, edge.Idempotency{Key: "k"})
		errs <- err
	}()
	<-m.Waiting()
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
	if err != nil || evs[0].N != 1 || len(m.Entries()) != 1 {
		t.Error("the repeat:", evs, err)
	}
}

// Many writers at once: every event is stored once, in its writer's order.
func TestManyWriters(t *testing.T) {
	r := edgetest.NewRig(t)
	var wg sync.WaitGroup
	var posted atomic.Int64
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 100 {
				if w%2 == 0 {
					r.Pump.Emit(change(fmt.Sprint("w", w), i), nil)
				} else if _, err := r.Pump.Post(context.Background(), []edge.Event{message(fmt.Sprint("w", w), fmt.Sprintf(`{"value":%d}`, i))}, edge.Idempotency{}); err != nil {
					t.Error(err)
				}
				posted.Add(1)
			}
		}()
	}
	wg.Wait()
	until(t, func() bool { return r.Pump.Stats().Waiting == 0 })
	evs, _, end, err := r.Log.Ring("events", 0, queue.Max{Records: 2000})
	if err != nil || !end || len(evs) != 800 {
		t.Fatal(len(evs), end, err)
	}
	next := map[string]int{}
	for i, e := range evs {
		if e.Seq != uint64(i)+1 || e.N != e.Seq || string(e.Data) != fmt.Sprintf(`{"value":%d}`, next[e.Name]) {
			t.Fatalf("event %d: %+v %s", i, e, e.Data)
		}
		next[e.Name]++
	}
}

func BenchmarkPost(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := edgetest.NewRig(b)
			line := []byte(`{"name":"site7/pump/telemetry","data":{"value":23.4571,"unit":"C","state":"running","quality":"good","raw":[1021,1022,1019],"rpm":1450.25,"label":"pump north","seq":120817,"ok":true}}`)
			evs := make([]edge.Event, n)
			b.ReportAllocs()
			for b.Loop() {
				for i := range evs {
					ev, err := edge.ParseInput(line)
					if err != nil {
						b.Fatal(err)
					}
					ev.From = "client:bench"
					evs[i] = ev
				}
				if _, err := r.Pump.Post(context.Background(), evs, edge.Idempotency{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
