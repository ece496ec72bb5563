package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

const door = "door: {digital_in: GPIO17, pull: up, states: {on: open, off: closed}}"

// lineOrigin is where an edge came from, which differs from run to run.
var lineOrigin = regexp.MustCompile(`,"request":"[0-9a-f-]+"(,"line_seqno":[0-9]+)?`)

// expect compares the reports of a device since the last call, without where
// their edges came from.
func expect(t testing.TB, b *bench.Bench, device string, want ...string) {
	t.Helper()
	text := ""
	for _, w := range want {
		text += w + "\n"
	}
	if got := lineOrigin.ReplaceAllString(b.Pump.Lines(device), ""); got != text {
		t.Errorf("got\n%swant\n%s", got, text)
	}
	b.Pump.Forget()
}

const (
	isOpen   = `change {"value":true,"state":"open"}`
	isClosed = `change {"value":false,"state":"closed"}`
)

func TestDigitalInTellsLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_in", door))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		expect(t, b, "door", isOpen)
		at := b.Clock.Mono()
		drive(t, b, "GPIO17", false)
		bench.Pass(time.Minute)
		if ev := b.Pump.Events("door")[0]; ev.Mono != at {
			t.Errorf("stamp %d, want %d", ev.Mono, at)
		}
		expect(t, b, "door", isClosed)
		d, _ := s.Device("door")
		if d.State != "closed" || string(d.Value) != "false" || d.Since == nil || d.Pins[0] != "GPIO17" {
			t.Errorf("status %+v", d)
		}
		stop()
		expect(t, b, "door")
	})
}

// Every edge has its number, over a restart too, so that whoever reads the events
// can prove that none is missing.
func TestDigitalInNumbersItsEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_in", door))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		drive(t, b, "GPIO17", false, true)
		bench.Pass(time.Second)
		stop()
		drive(t, b, "GPIO17", false)
		stop = bench.Start(t, s)
		bench.Pass(time.Second)
		stop()
		evs, request := b.Pump.Events("door"), ""
		if len(evs) != 4 {
			t.Fatalf("%d events", len(evs))
		}
		for i, ev := range evs {
			var data struct {
				Request   string `json:"request"`
				LineSeqno int    `json:"line_seqno"` // 0 of the first, which no edge told
			}
			if err := json.Unmarshal(ev.Data, &data); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				request = data.Request
			}
			if data.Request != request || request == "" || data.LineSeqno != i {
				t.Errorf("event %d: %s", i, ev.Data)
			}
		}
	})
}

// What the kernel's queue drops while nobody runs is told as that.
func TestDigitalInOverflowWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_in", door))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		stop()
		b.Pump.Forget()
		for i := range gpio.MaxBuffer + 50 {
			drive(t, b, "GPIO17", i%2 != 0)
		}
		stop = bench.Start(t, s)
		bench.Pass(time.Second)
		stop()
		evs := b.Pump.Events("door")
		if len(evs) != gpio.MaxBuffer+1 || string(evs[0].Data) != `{"count":50,"cause":"overflow"}` {
			t.Errorf("%d events, the first %s", len(evs), evs[0].Data)
		}
	})
}

func TestDigitalInRestart(t *testing.T) {
	for _, c := range []struct {
		name  string
		while func(t *testing.T, b *bench.Bench) // while nobody runs
		want  []string
	}{
		{"same level", func(*testing.T, *bench.Bench) {}, nil},
		{"edges wait in the kernel", func(t *testing.T, b *bench.Bench) { drive(t, b, "GPIO17", false, true, false) }, []string{isClosed, isOpen, isClosed}},
		{"edges were read and not stored", func(t *testing.T, b *bench.Bench) {
			b.Board.DropEdges("GPIO17", 3)
			drive(t, b, "GPIO17", false, true, false, true)
		}, []string{`loss {"count":3,"cause":"restart"}`, isOpen}},
		{"one edge was read and not stored", func(t *testing.T, b *bench.Bench) {
			b.Board.DropEdges("GPIO17", 1)
			drive(t, b, "GPIO17", false)
		}, []string{`loss {"count":1,"cause":"restart"}`, `change {"value":false,"state":"closed","stamp":"agent"}`}},
		{"the line was released", func(t *testing.T, b *bench.Bench) {
			b.Board.Unplug()
			drive(t, b, "GPIO17", false)
			b.Board.Plug()
		}, []string{isClosed}},
		{"released, and back at the level", func(t *testing.T, b *bench.Bench) {
			b.Board.Unplug()
			drive(t, b, "GPIO17", false, true)
			b.Board.Plug()
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				stop := bench.Start(t, b.Source(t, spec(t, "digital_in", door)))
				bench.Pass(time.Second)
				stop()
				expect(t, b, "door", isOpen)
				c.while(t, b)
				s := b.Source(t, spec(t, "digital_in", door))
				stop = bench.Start(t, s)
				bench.Pass(time.Second)
				expect(t, b, "door", c.want...)
				if d, _ := s.Device("door"); d.State == "" {
					t.Errorf("status %+v", d)
				}
				// Whatever was told is told once: the next edge goes on from there.
				was, err := b.Board.Level("GPIO17")
				if err != nil {
					t.Fatal(err)
				}
				drive(t, b, "GPIO17", !was)
				bench.Pass(time.Second)
				expect(t, b, "door", map[bool]string{true: isOpen, false: isClosed}[!was])
				stop()
			})
		})
	}
}

func TestDigitalInTellsLosses(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, b *bench.Bench)
		want []string
		lost uint64
	}{
		{"hole", func(t *testing.T, b *bench.Bench) {
			b.Board.DropEdges("GPIO17", 2)
			drive(t, b, "GPIO17", false, true, false)
		}, []string{`loss {"count":2,"cause":"overflow"}`, isClosed}, 2},
		{"same edge twice", func(t *testing.T, b *bench.Bench) {
			drive(t, b, "GPIO17", false)
			b.Board.SwallowEdges("GPIO17", 1)
			drive(t, b, "GPIO17", true, false)
		}, []string{isClosed, `loss {"count":1,"cause":"repeat"}`, isClosed}, 1},
		{"the last edge is lost without a sign", func(t *testing.T, b *bench.Bench) {
			b.Board.SwallowEdges("GPIO17", 1)
			drive(t, b, "GPIO17", false)
			drive(t, b, "GPIO17", true, false)
			b.Board.SwallowEdges("GPIO17", 1)
			drive(t, b, "GPIO17", true)
		}, []string{`loss {"count":1,"cause":"repeat"}`, isOpen, isClosed, `loss {"count":1,"cause":"missed"}`, `change {"value":true,"state":"open","stamp":"agent"}`}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				s := b.Source(t, spec(t, "digital_in", door))
				stop := bench.Start(t, s)
				defer stop()
				bench.Pass(time.Second)
				b.Pump.Forget()
				c.do(t, b)
				bench.Pass(time.Second)
				expect(t, b, "door", c.want...)
				if d, _ := s.Device("door"); d.Lost != c.lost {
					t.Errorf("lost %d, want %d", d.Lost, c.lost)
				}
			})
		})
	}
}

// TestDigitalInOnAForeignPin runs on a pin that has no more than periph asks for.
func TestDigitalInOnAForeignPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		pin := bench.NewForeignPin("EXP_0")
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "digital_in", strings.Replace(door, "GPIO17", "EXP_0", 1))}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
			Lookup: func(string) periph.PinIO { return pin }})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		expect(t, b, "door", `change {"value":true,"state":"open","stamp":"agent"}`)
		pin.Drive(false, true)
		bench.Pass(time.Second)
		expect(t, b, "door", `change {"value":false,"state":"closed","stamp":"agent"}`)
		pin.Drive(true, false) // its driver misses it
		bench.Pass(time.Second)
		expect(t, b, "door", `change {"value":true,"state":"open","stamp":"agent"}`)
		pin.Rush() // its driver doesn't wait any more
		pin.Drive(false, false)
		bench.Pass(time.Second)
		expect(t, b, "door", `change {"value":false,"state":"closed","stamp":"agent"}`)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}

func TestDeviceComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_in", door), spec(t, "sim", "air: {sim: constant, value: 3, every: 10s}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		b.Board.Unplug()
		bench.Pass(time.Minute)
		b.Pump.Forget()
		d, _ := s.Device("door")
		air, _ := s.Device("air")
		if d.Status != "absent" || !strings.Contains(d.Error, "GPIO17: no such device") || air.Status != "ok" {
			t.Errorf("unplugged: %+v, %+v", d, air)
		}
		b.Board.Plug()
		b.Board.FailRequests("GPIO17", 1, errors.New("input/output error"))
		bench.Pass(2 * time.Minute)
		if d, _ = s.Device("door"); d.Status != "ok" || d.Error != "" {
			t.Errorf("plugged: %+v", d)
		}
		drive(t, b, "GPIO17", false)
		bench.Pass(time.Second)
		expect(t, b, "door", isClosed)
	})
}

func TestPinsAndDrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_in", door), spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		pins := s.Pins()
		if len(pins) != 40 || pins[0].Name != "3V3" || pins[5].Function != "ground" {
			t.Fatalf("pins %+v", pins)
		}
		if p := pins[10]; p.Name != "GPIO17" || p.Function != "in" || !*p.Level || p.Device != "door" || p.Owner != "fieldpost:door" {
			t.Errorf("P1_11 is %+v", p)
		}
		if p := pins[12]; p.Name != "GPIO27" || p.Function != "out" || !*p.Level || p.Device != "pump" {
			t.Errorf("P1_13 is %+v", p)
		}
		if err := s.Drive("GPIO17", false); err != nil {
			t.Error(err)
		}
		bench.Pass(time.Second)
		expect(t, b, "door", isOpen, isClosed)
		if err := s.Drive("GPIO27", false); err == nil {
			t.Error("an output was driven")
		}
		if err := s.Drive("GPIO99", false); err == nil {
			t.Error("a line that is not there was driven")
		}
	})
}

func TestRealPinsAreNotDriven(t *testing.T) {
	b := bench.NewBench(t)
	s, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
		Lookup: func(string) periph.PinIO { return bench.NewForeignPin("GPIO4") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drive("GPIO4", true); !errors.Is(err, gpio.ErrReal) {
		t.Errorf("got %v", err)
	}
}

func TestSourceRefusesWhatCannotWork(t *testing.T) {
	for name, specs := range map[string][]gpio.Spec{
		"no driver":    {{Name: "x", Driver: "nope"}},
		"a pin twice":  {spec(t, "digital_in", "a: {digital_in: GPIO17}"), spec(t, "counter", "b: {counter: GPIO17}")},
		"a name twice": {spec(t, "digital_in", "a: {digital_in: GPIO17}"), spec(t, "counter", "a: {counter: GPIO18}")},
		"every 0":      {spec(t, "sim", "a: {sim: sine, every: 0s}")},
		"min over max": {spec(t, "sim", "a: {sim: sine, accept: {min: 2, max: 1}}")},
		"no scale":     {spec(t, "counter", "a: {counter: GPIO17, scale: 0}")},
		"period 0":     {spec(t, "sim", "a: {sim: sine, period: 0s}")},
	} {
		b := bench.NewBench(t)
		if _, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// panicky is a device that panics.
type panicky struct{}

func (panicky) Run(context.Context, *gpio.Outlet) error { panic("a driver's mistake") }

func TestPanicIsTheDevicesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		row := gpio.Driver{Name: "panicky", New: func(gpio.Env, any) (gpio.Device, error) { return panicky{}, nil }}
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{{Name: "x", Driver: "panicky"}}, Drivers: []gpio.Driver{row},
			Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Minute)
		if d, _ := s.Device("x"); d.Status != "failed" || d.Restarts == 0 {
			t.Errorf("status %+v", d)
		}
	})
}
