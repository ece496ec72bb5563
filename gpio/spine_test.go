package gpio_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
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

// openSpine runs devices over the real Pump and store, and waits until all work.
func openSpine(t *testing.T, dir string, board *edgetest.Board, sim *gpio.SimBoard, specs []gpio.Spec) (*edgetest.Rig, *gpio.Source, func() time.Duration) {
	t.Helper()
	rig := edgetest.OpenRig(t, dir, board)
	s, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: rig.Pump, Rows: rig.Store, Clock: rig.Clock, Lookup: sim.Lookup})
	if err != nil {
		t.Fatal(err)
	}
	stop := bench.Start(t, s)
	poll(t, "ok of all devices", func() bool {
		return !slices.ContainsFunc(s.Devices(), func(d edge.DeviceStatus) bool { return d.Status != "ok" })
	})
	return rig, s, stop
}

// TestOnTheRealPump runs devices over the real Pump and store, through a restart.
func TestOnTheRealPump(t *testing.T) {
	dir, board := t.TempDir(), edgetest.NewBoard("boot-1")
	sim := gpio.NewSimBoard(gpio.SimOptions{Mono: board.Board().Mono})
	specs := []gpio.Spec{spec(t, "digital_in", door), spec(t, "counter", "flow: {counter: GPIO22, every: 1h}"), spec(t, "digital_out", "pump: {digital_out: GPIO27}")}
	rig, s, stop := openSpine(t, dir, board, sim, specs)
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

	rig, s, stop = openSpine(t, dir, board, sim, specs)
	defer stop()
	page, err := rig.Log.Read(edge.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range page.Events {
		if ev.Kind != edge.System {
			got = append(got, ev.Name+" "+lineOrigin.ReplaceAllString(string(ev.Data), ""))
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

// TestReactsBeforeTheFlush: an output follows an edge while the disk hangs.
func TestReactsBeforeTheFlush(t *testing.T) {
	board, store := edgetest.NewBoard("boot-1"), edgetest.NewMemory()
	_, free := store.Hold()
	sim := gpio.NewSimBoard(gpio.SimOptions{Mono: board.Board().Mono})
	clock := edge.NewClock(board.Board())
	ready := make(chan *gpio.Source, 1)
	var s *gpio.Source
	pump, stopPump := edgetest.RunPump(t, edge.PumpOptions{Agent: "test", Store: store, Clock: clock, React: func(ev *edge.Event, ticket *edge.Ticket) {
		if ev.From != "device:door" || !strings.HasPrefix(string(ev.Data), `{"value":false,"state":"closed"`) {
			return
		}
		if s == nil {
			s = <-ready
		}
		if _, err := s.React(edge.Command{Device: "pump", Verb: "on", From: "rule:r"}, ticket); err != nil {
			t.Error(err)
		}
	}})
	source, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "digital_in", door), spec(t, "digital_out", "pump: {digital_out: GPIO27}")},
		Pump: pump, Rows: store, Clock: clock, Lookup: sim.Lookup})
	if err != nil {
		t.Fatal(err)
	}
	ready <- source
	stop := bench.Start(t, source)
	poll(t, "ok of both", func() bool {
		return !slices.ContainsFunc(source.Devices(), func(d edge.DeviceStatus) bool { return d.Status != "ok" })
	})
	if err := sim.Drive("GPIO17", false); err != nil {
		t.Fatal(err)
	}
	poll(t, "output", func() bool { on, _ := sim.Level("GPIO27"); return on })
	if n := len(store.Entries()); n != 0 {
		t.Errorf("%d events were stored by then", n)
	}
	free()
	stop()
	stopPump()
	stored := ""
	for _, e := range store.Entries() {
		var ev edge.Event
		if err := edge.DecodePayload(e.Data, &ev); err != nil {
			t.Fatal(err)
		}
		stored += ev.From + " "
	}
	if !strings.Contains(stored, "device:door rule:r device:pump ") {
		t.Errorf("stored in the order %s", stored)
	}
}
