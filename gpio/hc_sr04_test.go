package gpio_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

const tank = "tank: {hc_sr04: GPIO19, echo: GPIO26, every: 10s}"

// Distances by hand: width x speed / 2, with 331.3 m/s at 0 °C and 343.2 at 20.
func TestHCSR04Measures(t *testing.T) {
	ms := func(fs ...float64) (ds []time.Duration) {
		for _, f := range fs {
			ds = append(ds, time.Duration(f*float64(time.Millisecond)))
		}
		return ds
	}
	const none = `sample {"value":null,"unit":"m","quality":"implausible","why":"no echo: nothing is in reach"}`
	for _, c := range []struct {
		name, example string
		widths        []time.Duration
		want          string
	}{
		{"1 m at 20 °C", tank, ms(5.827), `sample {"value":1,"unit":"m"}`},
		{"the data sheet's 58 us a cm", tank, ms(5.8), `sample {"value":0.9953,"unit":"m"}`},
		{"at freezing", "tank: {hc_sr04: GPIO19, echo: GPIO26, temperature: 0}", ms(10), `sample {"value":1.6565,"unit":"m"}`},
		{"in mm", "tank: {hc_sr04: GPIO19, echo: GPIO26, unit: mm}", ms(5.827), `sample {"value":1000,"unit":"mm"}`},
		{"in cm", "tank: {hc_sr04: GPIO19, echo: GPIO26, unit: cm}", ms(5.83), `sample {"value":100.05,"unit":"cm"}`},
		{"the median of three", tank, ms(5.827, 1, 20), `sample {"value":1,"unit":"m"}`},
		{"one of three without an echo", tank, ms(38, 5.827, 5.827), `sample {"value":1,"unit":"m"}`},
		{"two of three without an echo", tank, ms(38, 5.827, 38), none},
		{"no echo", tank, ms(38), none},
		{"an echo of nothing that takes 200 ms", tank, ms(200), none},
		{"too far", tank, ms(24), `sample {"value":null,"unit":"m","quality":"implausible","reading":"4.1186"}`},
		{"too near", tank, ms(0.1), `sample {"value":null,"unit":"m","quality":"implausible","reading":"0.0172"}`},
		{"too near, in mm", "tank: {hc_sr04: GPIO19, echo: GPIO26, unit: mm}", ms(0.1), `sample {"value":null,"unit":"mm","quality":"implausible","reading":"17.2"}`},
		{"the user's own bound", "tank: {hc_sr04: GPIO19, echo: GPIO26, accept: {max: 0.5}}", ms(5.827), `sample {"value":null,"unit":"m","quality":"implausible","reading":"1"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				b.Echo.Widths(c.widths...)
				s := b.Source(t, spec(t, "hc_sr04", c.example))
				stop := bench.Start(t, s)
				bench.Pass(5 * time.Second)
				expect(t, b, "tank", c.want)
				pings := b.Echo.Pings()
				for i := 1; i < len(pings); i++ {
					if gap := time.Duration(pings[i] - pings[i-1]); gap < 60*time.Millisecond {
						t.Errorf("triggered again after %s", gap)
					}
				}
				if len(pings) != 3 {
					t.Errorf("triggered %d times", len(pings))
				}
				if d, _ := s.Device("tank"); d.Status != "ok" {
					t.Errorf("status %+v", d)
				}
				stop()
			})
		})
	}
}

// TestHCSR04TimesByTheKernel: the agent hears of the edges late, each by another time.
func TestHCSR04TimesByTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Echo.Widths(5827 * time.Microsecond)
		lookup := func(name string) periph.PinIO {
			if name == "GPIO26" {
				return &bench.LatePin{PinIO: b.Board.Lookup(name), Late: 20 * time.Millisecond}
			}
			return b.Board.Lookup(name)
		}
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "hc_sr04", tank)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: lookup})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(5 * time.Second)
		expect(t, b, "tank", `sample {"value":1,"unit":"m"}`)
		stop()
	})
}

func TestHCSR04Fails(t *testing.T) {
	for _, c := range []struct {
		name         string
		do, undo     func(b *bench.Bench)
		status, want string
	}{
		{"a sensor without power", func(b *bench.Bench) { b.Echo.Mute(true) }, func(b *bench.Bench) { b.Echo.Mute(false) }, "absent", "no answer to the trigger"},
		{"an echo that never ends", func(b *bench.Bench) { b.Echo.Stick() }, func(b *bench.Bench) { b.Echo.Unstick() }, "failed", "GPIO26 stays high"},
		{"rising edges are lost", func(b *bench.Bench) { b.Board.SwallowEdges("GPIO26", 1000) }, func(b *bench.Bench) { b.Board.SwallowEdges("GPIO26", 0) }, "absent", "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				b.Echo.Widths(5827 * time.Microsecond)
				s := b.Source(t, spec(t, "hc_sr04", tank))
				stop := bench.Start(t, s)
				bench.Pass(5 * time.Second)
				b.Pump.Forget()
				c.do(b)
				bench.Pass(5 * time.Minute)
				if d, _ := s.Device("tank"); d.Status != c.status || !strings.Contains(d.Error, c.want) || d.Restarts < 4 || d.Restarts > 25 {
					t.Errorf("%+v, want %s", d, c.want)
				}
				expect(t, b, "tank")
				c.undo(b)
				bench.Pass(2 * time.Minute)
				if d, _ := s.Device("tank"); d.Status != "ok" || string(d.Value) != "1" {
					t.Errorf("afterwards: %+v", d)
				}
				if took := stop(); took > time.Second {
					t.Errorf("it took %s to stop", took)
				}
			})
		})
	}
}

// TestHCSR04DropsWhatIsNoPair: a try that lost an edge is no distance, and over.
func TestHCSR04DropsWhatIsNoPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Echo.Widths(time.Millisecond, 5827*time.Microsecond)
		b.Board.DropEdges("GPIO26", 1)
		stop := bench.Start(t, b.Source(t, spec(t, "hc_sr04", tank)))
		bench.Pass(5 * time.Second)
		expect(t, b, "tank", `sample {"value":1,"unit":"m"}`)
		if pings := b.Echo.Pings(); pings[1]-pings[0] > int64(70*time.Millisecond) {
			t.Errorf("the try took %s", time.Duration(pings[1]-pings[0]))
		}
		stop()
	})
}

// TestHCSR04DropsAnEchoWithAHole: two edges in the middle of it were lost.
func TestHCSR04DropsAnEchoWithAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Echo.Widths(3*time.Millisecond, 5827*time.Microsecond)
		stop := bench.Start(t, b.Source(t, spec(t, "hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, tries: 1}")))
		bench.Pass(time.Millisecond)
		b.Board.DropEdges("GPIO26", 2)
		drive(t, b, "GPIO26", false, true)
		bench.Pass(100 * time.Millisecond)
		expect(t, b, "tank")
		bench.Pass(20 * time.Second)
		if got := b.Pump.Lines("tank"); !strings.HasPrefix(got, `sample {"value":1,"unit":"m"}`) {
			t.Errorf("later: %s", got)
		}
		stop()
	})
}
