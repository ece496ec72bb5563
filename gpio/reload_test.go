package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// reload puts other devices in force, which must work.
func reload(t *testing.T, s *gpio.Source, specs ...gpio.Spec) edge.Changes {
	t.Helper()
	p, mistakes, busy := s.Plan(specs, nil)
	if p == nil {
		t.Fatalf("plan: %v, %v", mistakes, busy)
	}
	if err := p.Swap(context.Background()); err != nil {
		t.Fatalf("swap: %v", err)
	}
	synctest.Wait()
	return p.Changes
}

// changes tells what a reload did in short.
func changes(c edge.Changes) string {
	return fmt.Sprintf("+%s ~%s -%s ^%s =%d", strings.Join(c.Added, ","), strings.Join(c.Changed, ","), strings.Join(c.Removed, ","), strings.Join(c.Restarted, ","), c.Untouched)
}

// trace is the levels that a line had since a mark, as 0 and 1.
func trace(b *bench.Bench, pin edge.Pin, mark int) string {
	out := ""
	for _, ch := range b.Board.Trace(pin)[mark:] {
		out += map[bool]string{true: "1", false: "0"}[ch.Level]
	}
	return out
}

// origins are the request and line_seqno of a device's events.
func origins(t *testing.T, kept *bench.Pump, device string) (requests []string, numbers []uint32) {
	t.Helper()
	for _, ev := range kept.Events(device) {
		var data struct {
			Request   string `json:"request"`
			LineSeqno uint32 `json:"line_seqno"`
		}
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(requests, data.Request) {
			requests = append(requests, data.Request)
		}
		numbers = append(numbers, data.LineSeqno)
	}
	return requests, numbers
}

// onBench runs a test in a bubble with devices that run, and the pump on.
func onBench(t *testing.T, specs []gpio.Spec, test func(t *testing.T, b *bench.Bench, s *gpio.Source)) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, specs...)
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		if _, ok := s.Device("pump"); ok {
			order(t, s, "on", "")
		}
		b.Pump.Forget()
		test(t, b, s)
	})
}

// TestReloadLeavesTheRestAlone: what is the same keeps its line, its numbers and its
// level, and tells nothing, through devices that come, change and go.
func TestReloadLeavesTheRestAlone(t *testing.T) {
	doorSpec, pump := spec(t, "digital_in", door), spec(t, "digital_out", "pump: {digital_out: GPIO27, max_on: 10m}")
	bell, lamp := spec(t, "digital_in", "bell: {digital_in: GPIO22}"), spec(t, "digital_out", "lamp: {digital_out: GPIO23, boot: on}")
	onBench(t, []gpio.Spec{doorSpec, pump, bell}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		mark := len(b.Board.Trace("GPIO27"))
		drive(t, b, "GPIO17", false)
		bench.Pass(time.Second)
		for i, c := range []struct {
			specs []gpio.Spec
			want  string
		}{
			{[]gpio.Spec{doorSpec, pump, bell, lamp}, "+lamp ~ - ^ =3"},
			{[]gpio.Spec{doorSpec, pump, spec(t, "digital_in", "bell: {digital_in: GPIO24}"), lamp}, "+ ~bell - ^ =3"},
			{[]gpio.Spec{doorSpec, pump}, "+ ~ -bell,lamp ^ =2"},
			{[]gpio.Spec{doorSpec, pump}, "+ ~ - ^ =2"},
			{[]gpio.Spec{doorSpec, pump, spec(t, "digital_in", "gate: {digital_in: GPIO22}")}, "+gate ~ - ^ =2"}, // on a line that bell parked
		} {
			if got := changes(reload(t, s, c.specs...)); got != c.want {
				t.Errorf("reload %d: %s, want %s", i, got, c.want)
			}
			bench.Pass(time.Second)
			drive(t, b, "GPIO17", i%2 == 0)
			bench.Pass(time.Second)
		}
		requests, numbers := origins(t, b.Pump, "door")
		if len(requests) != 1 || !slices.Equal(numbers, []uint32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("the door's line was requested anew: %v %v", requests, numbers)
		}
		if got := trace(b, "GPIO27", mark); got != "" {
			t.Errorf("the pump moved: %s", got)
		}
		if got := trace(b, "GPIO23", 0); got != "10" { // boot: on, then stop: off
			t.Errorf("the lamp: %s", got)
		}
		if evs := b.Pump.Events("pump"); len(evs) != 0 {
			t.Errorf("the pump told %v", evs)
		}
		names := []string{}
		for _, d := range s.Devices() {
			names = append(names, d.Name+" "+d.Status)
		}
		if got := strings.Join(names, ", "); got != "door ok, gate ok, pump ok" {
			t.Error(got)
		}
		if _, err := s.Command(context.Background(), edge.Command{Device: "lamp", Verb: "on"}); !errors.Is(err, edge.ErrNoDevice) {
			t.Errorf("a device that left: %v", err)
		}
	})
}

// TestReloadOfALabel: what is only told of a device, and what an output can take over,
// changes without a touch of the line.
func TestReloadOfALabel(t *testing.T) {
	pump := spec(t, "digital_out", "pump: {digital_out: GPIO27}")
	onBench(t, []gpio.Spec{pump}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		mark := len(b.Board.Trace("GPIO27"))
		pump.Label, pump.Room, pump.Ring = "The pump", "Cellar", "alarms"
		if got := changes(reload(t, s, pump)); got != "+ ~pump - ^ =0" {
			t.Error(got)
		}
		if d, _ := s.Device("pump"); d.Label != "The pump" || d.Room != "Cellar" || d.Ring != "alarms" || d.Status != "ok" || d.State != "on" {
			t.Errorf("%+v", d)
		}
		more := spec(t, "digital_out", "pump: {digital_out: GPIO27, max_on: 10s, remote: true, boot: on, stop: on, states: {on: runs, off: rests}}")
		more.Ring = "alarms"
		reload(t, s, more)
		d, _ := s.Device("pump")
		if d.State != "runs" || !d.Remote || d.Label != "" {
			t.Errorf("%+v", d)
		}
		if got := trace(b, "GPIO27", mark); got != "" || len(b.Pump.Events("")) != 0 {
			t.Errorf("it moved: %q, or told something: %s", got, b.Pump.Lines(""))
		}
		bench.Pass(10 * time.Second) // max_on counts from when it went on, a little ago
		if got := trace(b, "GPIO27", mark); got != "0" {
			t.Errorf("max_on of the new config: %q", got)
		}
		if evs := b.Pump.Events("pump"); len(evs) != 1 || evs[0].Ring != "alarms" || !strings.Contains(string(evs[0].Data), `"rests","why":"max_on"`) {
			t.Errorf("told %+v", evs)
		}
	})
}

// TestReloadOfAnInput: other words and another debounce: the request goes on, and what
// came in the moment between is told.
func TestReloadOfAnInput(t *testing.T) {
	onBench(t, []gpio.Spec{spec(t, "digital_in", door)}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		drive(t, b, "GPIO17", false)
		bench.Pass(time.Second)
		for i, more := range []string{"states: {on: 'yes', off: 'no'}", "debounce: 10ms", "debounce: 0s"} {
			next := spec(t, "digital_in", "door: {digital_in: GPIO17, pull: up, "+more+"}")
			reload(t, s, next)
			drive(t, b, "GPIO17", i%2 == 0)
			bench.Pass(time.Second)
		}
		requests, numbers := origins(t, b.Pump, "door")
		if len(requests) != 1 || !slices.Equal(numbers, []uint32{1, 2, 3, 4}) {
			t.Errorf("%v %v: %s", requests, numbers, b.Pump.Lines("door"))
		}
	})
}

// TestReloadMovesAnOutput: another line: the old one is left as stop says, then the
// new one begins as boot says; what is commanded meanwhile is answered.
func TestReloadMovesAnOutput(t *testing.T) {
	onBench(t, []gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO27}")}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		mark := len(b.Board.Trace("GPIO27"))
		reload(t, s, spec(t, "digital_out", "pump: {digital_out: GPIO23, boot: last}"))
		if got := trace(b, "GPIO27", mark) + "/" + trace(b, "GPIO23", 0); got != "0/1" {
			t.Errorf("levels %s", got)
		}
		order(t, s, "off", "")
		if got := trace(b, "GPIO23", 0); got != "10" {
			t.Errorf("levels %s", got)
		}
		reload(t, s, spec(t, "digital_out", "pump: {digital_out: GPIO23, active_low: true}"))
		if got := trace(b, "GPIO23", 0); got != "101" {
			t.Errorf("levels %s: off is high now", got)
		}
	})
}

// TestReloadHolds: an output with stop: hold keeps its level while its device changes.
func TestReloadHolds(t *testing.T) {
	onBench(t, []gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO27, stop: hold}")}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		mark := len(b.Board.Trace("GPIO27"))
		reload(t, s, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: hold, stop: off}"))
		renamed := spec(t, "digital_out", "water: {digital_out: GPIO27, boot: hold, stop: hold}")
		if got := trace(b, "GPIO27", mark); got != "" {
			t.Errorf("it moved: %s", got)
		}
		reload(t, s, renamed) // stop: off
		if got := trace(b, "GPIO27", mark); got != "0" {
			t.Errorf("levels %s", got)
		}
	})
}
