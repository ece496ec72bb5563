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

// A caller that finds nobody flushing does it. What comes meanwhile, and is due,
// is flushed at once after it; what is not due waits for its time.
func TestCallerFlushes(t *testing.T) {
	m := edgetest.NewMemory()
	p := edge.NewPump(edge.PumpOptions{Agent: "test", Store: m, Clock: edge.NewClock(edgetest.NewBoard("boot-1").Board())})
	post := func(name string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := p.Post(context.Background(), []edge.Event{message(name, `1`)}, edge.Idempotency{})
			done <- err
		}()
		return done
	}
	early := post("early")
	until(t, func() bool { return p.Stats().Waiting == 1 })
	if p.Stats().Flushes != 0 {
		t.Fatal("an event was stored before Run")
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	if err := <-early; err != nil {
		t.Fatal(err)
	}
	<-m.Waiting() // that was its token
	_, free := m.Hold()
	first := post("first")
	<-m.Waiting()
	second := post("second")
	door := p.Emit(change("door", 0), nil)
	until(t, func() bool { return p.Stats().Waiting == 3 })
	stop() // Run must wait for the flush that it does not do itself, and store the rest
	free()
	for _, done := range []<-chan error{first, second} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := door.Event(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-post("late"); !errors.Is(err, queue.ErrClosed) {
		t.Error("after Run:", err)
	}
	if f := m.Flushes(); len(f) != 3 || f[0] != 1 || f[1] != 1 || f[2] != 2 {
		t.Errorf("flushes of %v, not of 1, 1 and 2", f)
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
