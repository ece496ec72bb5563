package gpio_test

import (
	"slices"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestBoardReload: on a real kernel what is the same keeps its request and its numbers,
// no output is driven, what left is off the shelf, and a line that another program
// holds is found before anything is touched.
func TestBoardReload(t *testing.T) {
	sim := bench.OnBoard(t)
	shelf := newShelf(t)
	b := board(t, shelf)
	for _, line := range []int{5, 17, 22, 23, 27} {
		sim.Pull(t, line, false)
	}
	doorSpec, pump := spec(t, "digital_in", "door: {digital_in: GPIO17}"), spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on}")
	kept := bench.NewPump()
	s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{doorSpec, pump}, Pump: kept, Rows: kept, Clock: bench.NewClock(), Missing: b.Missing})
	if err != nil {
		t.Fatal(err)
	}
	stop := bench.Start(t, s)
	settled := func() bool {
		return !slices.ContainsFunc(s.Devices(), func(d edge.DeviceStatus) bool { return d.Status != "ok" })
	}
	poll(t, "ok of all devices", settled)
	driven, up := levels(t), false
	swap := func(specs ...gpio.Spec) {
		t.Helper()
		p, mistakes, busy := s.Plan(specs, nil)
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		if err := p.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Release(s.Lines())
		poll(t, "ok of all devices", settled)
		up = !up
		sim.Pull(t, 17, up)
		poll(t, "the door's change", func() bool {
			d, _ := s.Device("door")
			return string(d.Value) == map[bool]string{true: "true", false: "false"}[up]
		})
	}
	labelled := pump
	labelled.Label = "The pump"
	swap(doorSpec, labelled)
	swap(doorSpec, labelled, spec(t, "digital_in", "bell: {digital_in: GPIO22}"))
	swap(doorSpec, labelled, spec(t, "digital_in", "bell: {digital_in: GPIO23, debounce: 10ms}"))
	swap(doorSpec, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on, max_on: 1h}"), spec(t, "digital_in", "gate: {digital_in: GPIO23}"))
	if names := shelf.names(); len(names) != 2 || !strings.Contains(strings.Join(names, " "), ".17.") || !strings.Contains(strings.Join(names, " "), ".23.") {
		t.Errorf("on the shelf: %q", names)
	}
	swap(doorSpec, pump)
	if names := shelf.names(); len(names) != 1 || !strings.Contains(names[0], ".17.") {
		t.Errorf("on the shelf: %q", names)
	}
	if got := driven(); got != "" || !sim.Level(t, 27) {
		t.Errorf("driven to %q, the pump is at %v", got, sim.Level(t, 27))
	}
	_ = named(t, "GPIO5", gpio.LineConfig{Consumer: "another"})
	if _, _, busy := s.Plan([]gpio.Spec{spec(t, "digital_in", "bell: {digital_in: GPIO5}")}, nil); len(busy) != 1 || !strings.Contains(busy.Error(), "another holds it") {
		t.Errorf("a line that another holds: %v", busy)
	}
	swap(doorSpec, spec(t, "digital_out", "pump: {digital_out: GPIO22, boot: on}"))
	if got := driven(); got != "01" || sim.Level(t, 27) || !sim.Level(t, 22) {
		t.Errorf("moved: driven to %q", got)
	}
	requests, numbers := origins(t, kept, "door")
	if len(requests) != 1 || !slices.Equal(numbers, []uint32{0, 1, 2, 3, 4, 5, 6}) {
		t.Errorf("requests %q, numbers %v", requests, numbers)
	}
	stop()
}
