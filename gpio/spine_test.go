package gpio_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
	"fieldpost/queue"
)

// poll asks until ok, for five seconds.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("no %s within 5 s", what)
		case <-tick.C:
		}
	}
}

// plain is a pump without EmitWith.
type plain struct{ p *edge.Pump }

func (e plain) Emit(ev edge.Event, cause *edge.Ticket) *edge.Ticket { return e.p.Emit(ev, cause) }
func (e plain) Commit(ctx context.Context, rows ...queue.Row) error { return e.p.Commit(ctx, rows...) }

// TestOnTheRealPump runs devices over the real Pump and store, through a restart.
func TestOnTheRealPump(t *testing.T) {
	t.Run("its own rows", func(t *testing.T) {
		onTheRealPump(t, func(p *edge.Pump) gpio.SourceOptions { return gpio.SourceOptions{Pump: p} })
	})
	t.Run("saved rows", func(t *testing.T) {
		onTheRealPump(t, func(p *edge.Pump) gpio.SourceOptions { return gpio.SourceOptions{Pump: plain{p}} })
	})
}

func onTheRealPump(t *testing.T, options func(*edge.Pump) gpio.SourceOptions) {
	dir, board := t.TempDir(), edgetest.NewBoard("boot-1")
	sim := gpio.NewSimBoard(gpio.SimOptions{Mono: board.Board().Mono})
	specs := []gpio.Spec{spec(t, "digital_in", door), spec(t, "counter", "flow: {counter: GPIO22, every: 1h}"), spec(t, "digital_out", "pump: {digital_out: GPIO27}")}
	open := func() (*edgetest.Rig, *gpio.Source, func() time.Duration) {
		rig := edgetest.OpenRig(t, dir, board)
		opt := options(rig.Pump)
		opt.Specs, opt.Rows, opt.Clock, opt.Lookup = specs, rig.Store, rig.Clock, sim.Lookup
		s, err := gpio.NewSource(opt)
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		poll(t, "ok of all devices", func() bool {
			return !slices.ContainsFunc(s.Devices(), func(d edge.DeviceStatus) bool { return d.Status != "ok" })
		})
		return rig, s, stop
	}
	rig, s, stop := open()
	poll(t, "id of the first level", func() bool { d, _ := s.Device("door"); return d.Event != "" })
	out, err := s.Command(t.Context(), edge.Command{ID: "c1", Device: "pump", Verb: "toggle", From: "client:app"})
	if err != nil || !out.Done || out.Event == "" || out.Why != "" {
		t.Errorf("toggle: %+v, %v", out, err)
	}
	pump, _ := s.Device("pump")
	poll(t, "id of the pump's change", func() bool { pump, _ = s.Device("pump"); return pump.Event != "" })
	if err := sim.Drive("GPIO17", false); err != nil {
		t.Fatal(err)
	}
	poll(t, "closed door", func() bool { d, _ := s.Device("door"); return d.State == "closed" && d.Event != "" })
	for range 5 {
		_, _ = sim.Drive("GPIO22", true), sim.Drive("GPIO22", false)
	}
	stop()
	rig.Stop()

	rig, s, stop = open()
	defer stop()
	page, err := rig.Log.Read(edge.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range page.Events {
		if ev.Kind != edge.System {
			got = append(got, ev.Name+" "+string(ev.Data))
		}
		if ev.ID() == pump.Event && ev.Cause != out.Event {
			t.Errorf("the change's cause is %q, want %q", ev.Cause, out.Event)
		}
	}
	slices.Sort(got)
	want := []string{
		`door {"value":false,"state":"closed"}`, `door {"value":true,"state":"open"}`,
		`flow {"value":0,"count":0}`, `flow {"value":5,"count":5}`,
		`pump {"value":false,"state":"off","why":"stop"}`, `pump {"value":false,"state":"off"}`,
		`pump {"value":true,"state":"on","id":"c1","verb":"toggle","done":true}`, `pump {"value":true,"state":"on"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored:\n%q\nwant\n%q", got, want)
	}
	again, err := s.Command(t.Context(), edge.Command{ID: "c1", Device: "pump", Verb: "toggle", From: "client:app"})
	if err != nil || !again.Repeat || string(again.Value) != "true" {
		t.Errorf("the same id again: %+v, %v", again, err)
	}
	if d, _ := s.Device("flow"); string(d.Value) != "5" {
		t.Errorf("flow %+v", d)
	}
	if b, err := json.Marshal(s.Devices()); err != nil || len(b) == 0 {
		t.Error(err)
	}
}
