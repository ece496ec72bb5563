package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestReloadRefused: a mistake, a line that another program holds or that is not
// there: the old devices run on as if nothing was asked.
func TestReloadRefused(t *testing.T) {
	doorSpec, pump := spec(t, "digital_in", door), spec(t, "digital_out", "pump: {digital_out: GPIO27}")
	onBench(t, []gpio.Spec{doorSpec, pump}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		mark := len(b.Board.Trace("GPIO27"))
		b.Board.Hold("GPIO10", "spi0 CS0")
		bad := spec(t, "sim", "fan: {sim: sine, every: 0s}")
		for _, c := range []struct {
			name  string
			specs []gpio.Spec
			says  []string
			busy  bool
		}{
			{"all mistakes at once", []gpio.Spec{bad, {Name: "x", Driver: "none"}, doorSpec, spec(t, "digital_out", "pump: {digital_out: GPIO17}")},
				[]string{"fan: every is 0", `no driver "none"`, "GPIO17 is used by device door"}, false},
			{"a line that the giver lacks", []gpio.Spec{doorSpec, spec(t, "mcp23017", "more: {mcp23017: 0x20}"), spec(t, "digital_out", "pump: {digital_out: more.C1}")}, []string{"there is no line more.C1"}, false},
			{"another program's line", []gpio.Spec{spec(t, "digital_in", "bell: {digital_in: GPIO10}"), spec(t, "digital_out", "pump: {digital_out: GPIO23}")}, []string{"bell", "spi0 CS0 holds it"}, true},
			{"no such line", []gpio.Spec{spec(t, "digital_in", "bell: {digital_in: GPIO45}")}, []string{"bell", "GPIO45"}, true},
		} {
			p, mistakes, busy := s.Plan(c.specs, nil)
			if p != nil || (len(busy) > 0) != c.busy || (len(mistakes) > 0) == c.busy {
				t.Errorf("%s: %v, %v", c.name, mistakes, busy)
				continue
			}
			for _, w := range c.says {
				if !strings.Contains(mistakes.Error()+busy.Error(), w) {
					t.Errorf("%s: %q is not in %v %v", c.name, w, mistakes, busy)
				}
			}
		}
		bench.Pass(time.Minute)
		if trace(b, "GPIO27", mark) != "" || len(b.Pump.Events("")) != 0 || len(s.Devices()) != 2 {
			t.Errorf("something was touched: %s", b.Pump.Lines(""))
		}
		order(t, s, "off", "")
	})
}

// TestReloadRollsBack: a line that is taken in the moment of the swap: the old devices
// are started again, at what was commanded last; the counter has lost nothing.
func TestReloadRollsBack(t *testing.T) {
	pump, flow := spec(t, "digital_out", "pump: {digital_out: GPIO27}"), spec(t, "counter", "flow: {counter: GPIO22, every: 1h}")
	onBench(t, []gpio.Spec{pump, flow}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		mark := len(b.Board.Trace("GPIO27"))
		drive(t, b, "GPIO22", true, false, true, false)
		b.Board.FailRequests("GPIO5", 1, unix.EBUSY)
		p, mistakes, busy := s.Plan([]gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO23, boot: on}"), spec(t, "digital_in", "bell: {digital_in: GPIO5}"),
			spec(t, "counter", "flow: {counter: GPIO22, every: 1m}")}, nil)
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		err := p.Swap(context.Background())
		var who *gpio.DeviceError
		if !errors.As(err, &who) || who.Device != "bell" || !errors.Is(err, unix.EBUSY) {
			t.Errorf("swap: %v", err)
		}
		bench.Pass(time.Second)
		if got := trace(b, "GPIO27", mark); got != "01" {
			t.Errorf("the pump: %s", got)
		}
		if on, _ := b.Board.Level("GPIO23"); on {
			t.Error("the new pump is left on")
		}
		for _, d := range s.Devices() {
			if d.Status != "ok" {
				t.Errorf("%+v", d)
			}
		}
		order(t, s, "off", "")
		drive(t, b, "GPIO22", true, false)
		reload(t, s, pump, spec(t, "counter", "flow: {counter: GPIO22, every: 1s}"))
		bench.Pass(2 * time.Second)
		if d, _ := s.Device("flow"); string(d.Value) != "3" {
			t.Errorf("flow %+v", d)
		}
	})
}

// TestReloadOfAnExpander: the devices on its lines are started again with it, and go on
// as they were; without it they can't be.
func TestReloadOfAnExpander(t *testing.T) {
	more, pump := spec(t, "mcp23017", "more: {mcp23017: 0x20, bus: I2C1, every: 20ms}"), spec(t, "digital_out", "pump: {digital_out: more.A0}")
	other := spec(t, "digital_out", "lamp: {digital_out: GPIO23}")
	onBench(t, []gpio.Spec{more, pump, other}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		if got := changes(reload(t, s, spec(t, "mcp23017", "more: {mcp23017: 0x20, bus: I2C1, every: 50ms}"), pump, other)); got != "+ ~more - ^pump =1" {
			t.Error(got)
		}
		bench.Pass(3 * time.Second)
		if d, _ := s.Device("pump"); d.Status != "ok" || d.State != "on" {
			t.Errorf("%+v", d)
		}
		order(t, s, "off", "")
		if _, _, busy := s.Plan([]gpio.Spec{pump, other}, nil); len(busy) != 1 || !strings.Contains(busy.Error(), "more.A0") {
			t.Errorf("without the expander: %v", busy)
		}
	})
}

// TestReloadEndsAPulse: a pulse that a restart of its device cuts short does not come
// back without an end.
func TestReloadEndsAPulse(t *testing.T) {
	more, pump := spec(t, "mcp23017", "more: {mcp23017: 0x20, bus: I2C1, every: 20ms}"), spec(t, "digital_out", "pump: {digital_out: more.A0}")
	onBench(t, []gpio.Spec{more, pump}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		order(t, s, "off", "")
		order(t, s, "pulse", `"90s"`)
		reload(t, s, spec(t, "mcp23017", "more: {mcp23017: 0x20, bus: I2C1, every: 50ms}"), pump)
		bench.Pass(3 * time.Second)
		if d, _ := s.Device("pump"); d.State != "off" || d.Status != "ok" {
			t.Errorf("%+v", d)
		}
	})
}

// TestReloadInASafeStart: outputs of a reload are safe until it is over.
func TestReloadInASafeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := safeSource(t, b)
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		reload(t, s, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on}"))
		if got := trace(b, "GPIO27", 0); got != "" {
			t.Errorf("levels %s", got)
		}
		s.Resume()
		bench.Pass(time.Second)
		if got := trace(b, "GPIO27", 0); got != "1" {
			t.Errorf("levels %s", got)
		}
	})
}

// TestReloadBesideCommands: commands all the while are done or refused with a reason,
// and each that was done is told; the simulated board says what the line did.
func TestReloadBesideCommands(t *testing.T) {
	b := bench.NewBench(t)
	here, there := spec(t, "digital_out", "pump: {digital_out: GPIO27}"), spec(t, "digital_out", "pump: {digital_out: GPIO23}")
	s := b.Source(t, here)
	stop := bench.Start(t, s)
	poll(t, "ok", func() bool { d, _ := s.Device("pump"); return d.Status == "ok" })
	over, ended := make(chan struct{}), make(chan map[string]bool)
	var came atomic.Int32
	go func() {
		done := map[string]bool{}
		defer func() { ended <- done }()
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			id := fmt.Sprint("c", i)
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond) // this pump stores nothing for good
			out, err := s.Command(ctx, edge.Command{ID: id, Device: "pump", Verb: "toggle", From: "client:test"})
			cancel()
			switch {
			case err == nil && out.Done:
				done[id] = true
				came.Add(1)
			case !errors.Is(err, edge.ErrAbsent):
				t.Errorf("%s: %+v, %v", id, out, err)
			}
			_, _, _ = s.Devices(), s.Pins(), s.Lines()
		}
	}()
	end := time.Now().Add(10 * time.Second)
	for i := 0; i < 20 || came.Load() < 20 && time.Now().Before(end); i++ {
		p, mistakes, busy := s.Plan([]gpio.Spec{[]gpio.Spec{there, here}[i%2]}, nil)
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		if err := p.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(over)
	done := <-ended
	stop()
	told := map[string]bool{}
	for _, ev := range b.Pump.Events("pump") {
		var data struct {
			ID   string `json:"id"`
			Done bool   `json:"done"`
		}
		if ev.Kind == edge.Acted && json.Unmarshal(ev.Data, &data) == nil && data.Done {
			told[data.ID] = true
		}
	}
	for id := range done {
		if !told[id] {
			t.Errorf("%s was done and is not told", id)
		}
	}
	if len(done) == 0 {
		t.Error("no command came through")
	}
}

// TestReloadAtTheEnd: devices that don't run, or stop, are not swapped.
func TestReloadAtTheEnd(t *testing.T) {
	b := bench.NewBench(t)
	s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27}"))
	p, _, _ := s.Plan(nil, nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Swap(over); err == nil {
		t.Error("swapped before the start")
	}
	bench.Start(t, s)()
	if err := p.Swap(t.Context()); err == nil {
		t.Error("swapped after the end")
	}
}

// TestReloadGoesOnFromMemory: what was commanded last counts, though no flush has taken
// it yet.
func TestReloadGoesOnFromMemory(t *testing.T) {
	onBench(t, []gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO27}")}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		order(t, s, "off", "")
		b.Pump.Deaf(true)
		order(t, s, "on", "")
		reload(t, s, spec(t, "digital_out", "pump: {digital_out: GPIO23, boot: last}"))
		if on, _ := b.Board.Level("GPIO23"); !on {
			t.Error("it is off")
		}
	})
}

// TestReloadOffline: an output that runs on is refused a config without the uplink that
// it names, and goes by the uplinks of the config that was taken.
func TestReloadOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		pump := spec(t, "digital_out", "pump: {digital_out: GPIO23, boot: on, offline: {after: 5m}}")
		fan := spec(t, "digital_out", "fan: {digital_out: GPIO24, offline: {after: 5m, uplinks: [cloud]}}")
		up := func() []edge.UplinkStatus { return []edge.UplinkStatus{{Name: "lab", State: "up"}} }
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{pump, fan}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup,
			Uplinks: up, UplinkNames: []string{"cloud", "lab"}})
		if err != nil {
			t.Fatal(err)
		}
		defer bench.Start(t, s)()
		bench.Pass(10 * time.Minute)
		for _, c := range []struct {
			uplinks []string
			want    string
		}{{[]string{"lab"}, `fan: offline: there is no uplink "cloud"`}, {nil, "there is no uplink that could"}} {
			if _, mistakes, _ := s.Plan([]gpio.Spec{pump, fan}, c.uplinks); !strings.Contains(mistakes.Error(), c.want) {
				t.Errorf("with uplinks %v: %v, want %q", c.uplinks, mistakes, c.want)
			}
		}
		if d, _ := s.Device("pump"); string(d.Value) != "true" {
			t.Errorf("lab is up, and the pump is %s", d.Value)
		}
		p, mistakes, busy := s.Plan([]gpio.Spec{pump, fan}, []string{"cloud"})
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		if err := p.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
		bench.Pass(6 * time.Minute)
		if d, _ := s.Device("pump"); string(d.Value) != "false" {
			t.Errorf("nothing is up, and the pump is %s", d.Value)
		}
	})
}
