package gpio_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

const knob = "knob: {rotary: GPIO5, b: GPIO6, every: 0s}"

func turnedTo(position int, state string) string {
	if state == "" {
		return fmt.Sprintf(`change {"value":%d}`, position)
	}
	return fmt.Sprintf(`change {"value":%d,"state":%q}`, position, state)
}

// turning runs a knob in a bubble.
func turning(t *testing.T, example string, test func(t *testing.T, b *bench.Bench, k *bench.Knob, s *gpio.Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		k := bench.NewKnob(t, b.Board, "GPIO5", "GPIO6")
		s := b.Source(t, spec(t, "rotary", example))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		test(t, b, k, s)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}

func TestRotaryCountsDetents(t *testing.T) {
	for _, c := range []struct {
		name, example string
		turns         []int // edges
		want          []string
	}{
		{"to and fro", knob, []int{12, -8}, []string{turnedTo(0, ""), turnedTo(1, "cw"), turnedTo(2, "cw"), turnedTo(3, "cw"), turnedTo(2, "ccw"), turnedTo(1, "ccw")}},
		{"half a detent and back is nothing", knob, []int{3, -6, 3}, []string{turnedTo(0, "")}},
		{"shaking at a detent's end tells it once", knob, []int{4, -1, 1, -1, 1}, []string{turnedTo(0, ""), turnedTo(1, "cw")}},
		{"two edges a detent", "knob: {rotary: GPIO5, b: GPIO6, every: 0s, steps: 2}", []int{4, -2}, []string{turnedTo(0, ""), turnedTo(1, "cw"), turnedTo(2, "cw"), turnedTo(1, "ccw")}},
		{"one edge a detent", "knob: {rotary: GPIO5, b: GPIO6, every: 0s, steps: 1, debounce: 1ms}", []int{-2}, []string{turnedTo(0, ""), turnedTo(-1, "ccw"), turnedTo(-2, "ccw")}},
		{"it ends at max, and comes back at once", "knob: {rotary: GPIO5, b: GPIO6, every: 0s, max: 1}", []int{20, -4}, []string{turnedTo(0, ""), turnedTo(1, "cw"), turnedTo(0, "ccw")}},
		{"it ends at min", "knob: {rotary: GPIO5, b: GPIO6, every: 0s, min: 3, max: 5}", []int{-8, 4}, []string{turnedTo(3, ""), turnedTo(4, "cw")}},
		{"it goes around", "knob: {rotary: GPIO5, b: GPIO6, every: 0s, min: 0, max: 2, wrap: true}", []int{-4, 8}, []string{turnedTo(0, ""), turnedTo(2, "ccw"), turnedTo(0, "cw"), turnedTo(1, "cw")}},
	} {
		for _, bounce := range []int{0, 4} {
			t.Run(fmt.Sprintf("%s, %d bounces", c.name, bounce), func(t *testing.T) {
				turning(t, c.example, func(t *testing.T, b *bench.Bench, k *bench.Knob, _ *gpio.Source) {
					k.Bounce = bounce
					for _, n := range c.turns {
						k.Turn(t, n)
						bench.Pass(time.Second)
					}
					expect(t, b, "knob", c.want...)
				})
			})
		}
	}
}

func TestRotaryTellsSlowlyAndTheEndAlways(t *testing.T) {
	turning(t, "knob: {rotary: GPIO5, b: GPIO6}", func(t *testing.T, b *bench.Bench, k *bench.Knob, _ *gpio.Source) {
		b.Pump.Forget()
		began := b.Clock.Mono()
		k.Pace = time.Millisecond
		k.Turn(t, 400) // 100 detents in 400 ms
		end := b.Clock.Mono() - int64(k.Pace)
		bench.Pass(time.Second)
		evs := b.Pump.Events("knob")
		if len(evs) < 6 || len(evs) > 10 {
			t.Fatalf("it told %d times in 400 ms", len(evs))
		}
		if last := evs[len(evs)-1]; string(last.Data) != `{"value":100,"state":"cw"}` || last.Mono != end {
			t.Errorf("at last it told %s at %d, want 100 at %d", last.Data, last.Mono-began, end-began)
		}
		if first := evs[0]; string(first.Data) != `{"value":1,"state":"cw"}` || first.Mono != began+int64(3*k.Pace) {
			t.Errorf("at first it told %s at %d", first.Data, first.Mono-began)
		}
	})
}

func TestRotaryGoesOnOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		k := bench.NewKnob(t, b.Board, "GPIO5", "GPIO6")
		s := b.Source(t, spec(t, "rotary", knob))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		k.Turn(t, 10) // two and a half
		stop()
		expect(t, b, "knob", turnedTo(0, ""), turnedTo(1, "cw"), turnedTo(2, "cw"))
		k.Turn(t, 10) // while nobody runs
		bench.Pass(time.Second)
		stop = bench.Start(t, s)
		bench.Pass(time.Second)
		expect(t, b, "knob", turnedTo(5, "cw"))
		b.Pump.Deaf(true) // a kill: what was read is not stored
		k.Turn(t, 4)
		bench.Pass(time.Second)
		stop()
		b.Pump.Deaf(false)
		b.Pump.Forget()
		k.Turn(t, 4)
		stop = bench.Start(t, b.Source(t, spec(t, "rotary", knob)))
		bench.Pass(time.Second)
		if got := b.Pump.Lines("knob"); !strings.Contains(got, `"cause":"restart"`) || !strings.HasSuffix(got, turnedTo(6, "cw")+"\n") {
			t.Errorf("after a kill: %s", got)
		}
		b.Pump.Forget()
		k.Turn(t, 2)
		b.Board.Unplug() // new requests: nobody saw it turn
		k.Turn(t, -10)
		b.Board.Plug()
		bench.Pass(11 * time.Second)
		k.Turn(t, -4) // from where it clicks
		bench.Pass(time.Second)
		expect(t, b, "knob", turnedTo(5, "ccw"))
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}

func TestRotaryLosesOnlyWhatNobodyKnows(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, b *bench.Bench, k *bench.Knob)
		want []string
	}{
		{"a bounce that overflowed", func(t *testing.T, b *bench.Bench, k *bench.Knob) {
			k.Turn(t, 1)
			drive(t, b, "GPIO6", false)
			b.Board.DropEdges("GPIO6", 40)
			for range 21 {
				drive(t, b, "GPIO6", true, false)
			}
			k.Turn(t, 3)
		}, []string{turnedTo(1, "cw")}},
		{"a bounce that nobody saw", func(t *testing.T, b *bench.Bench, k *bench.Knob) {
			k.Bounce = 3
			b.Board.SwallowEdges("GPIO5", 3)
			k.Turn(t, 4)
		}, []string{turnedTo(1, "cw")}},
		{"edges that overflowed while it turned", func(t *testing.T, b *bench.Bench, k *bench.Knob) {
			k.Turn(t, 4)
			b.Board.DropEdges("GPIO5", 2)
			k.Turn(t, 8)
		}, []string{turnedTo(1, "cw"), `loss {"count":2,"cause":"overflow"}`}},
		{"an edge that vanished while it turned", func(t *testing.T, b *bench.Bench, k *bench.Knob) {
			k.Turn(t, 4)
			b.Board.SwallowEdges("GPIO5", 1)
			k.Turn(t, 8)
		}, []string{turnedTo(1, "cw"), `loss {"count":1,"cause":"repeat"}`}},
		{"the last edge vanished: where it rests is known", func(t *testing.T, b *bench.Bench, k *bench.Knob) {
			k.Turn(t, 3)
			b.Board.SwallowEdges("GPIO6", 1)
			k.Turn(t, 1)
			bench.Pass(time.Second)
		}, []string{turnedTo(1, "cw")}},
		{"both contacts changed and nobody saw it", func(t *testing.T, b *bench.Bench, k *bench.Knob) {
			k.Turn(t, 2)
			b.Board.SwallowEdges("GPIO5", 1)
			b.Board.SwallowEdges("GPIO6", 1)
			k.Turn(t, 2)
			bench.Pass(time.Second)
		}, []string{`loss {"count":1,"cause":"missed"}`, turnedTo(1, "cw")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			turning(t, knob, func(t *testing.T, b *bench.Bench, k *bench.Knob, s *gpio.Source) {
				b.Pump.Forget()
				c.do(t, b, k)
				bench.Pass(time.Second)
				got := b.Pump.Lines("knob")
				for _, w := range c.want {
					if !strings.Contains(got, w+"\n") {
						t.Errorf("got\n%swant %s", got, w)
					}
				}
				if n := strings.Count(got, "loss "); n != strings.Count(strings.Join(c.want, "\n"), "loss ") {
					t.Errorf("%d losses in\n%s", n, got)
				}
				b.Pump.Forget()
				before, _ := s.Device("knob")
				k.Turn(t, 4) // and it is where a detent is
				bench.Pass(time.Second)
				after, _ := s.Device("knob")
				if lines := b.Pump.Lines("knob"); strings.Count(lines, "\n") != 1 || string(before.Value) == string(after.Value) {
					t.Errorf("a detent later, from %s:\n%s", before.Value, lines)
				}
			})
		})
	}
}

// TestRotaryOrdersByStamps: one line's edges come later than the other's.
func TestRotaryOrdersByStamps(t *testing.T) {
	for _, c := range []struct {
		late, pace time.Duration
		loss       bool
	}{
		{0, time.Millisecond, false},
		{4 * time.Millisecond, 2 * time.Millisecond, false}, // B's edge is there before A's older one
		{30 * time.Millisecond, 20 * time.Millisecond, true},
	} {
		t.Run(fmt.Sprint(c.late, " late at ", c.pace), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				k := bench.NewKnob(t, b.Board, "GPIO5", "GPIO6")
				k.Pace = c.pace
				lookup := func(name string) periph.PinIO {
					if name == "GPIO5" {
						return &bench.LatePin{PinIO: b.Board.Lookup(name), Late: c.late}
					}
					return b.Board.Lookup(name)
				}
				s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "rotary", knob)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: lookup})
				if err != nil {
					t.Fatal(err)
				}
				stop := bench.Start(t, s)
				bench.Pass(time.Second)
				k.Turn(t, 12)
				bench.Pass(time.Second)
				stop()
				got := b.Pump.Lines("knob")
				if c.loss != strings.Contains(got, `"cause":"late"`) || !c.loss && !strings.HasSuffix(got, turnedTo(3, "cw")+"\n") {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// panickyPin is a pin whose lines panic at an edge while bad is set.
type panickyPin struct {
	periph.PinIO
	bad *atomic.Bool
}

func (p panickyPin) Request(cfg gpio.LineConfig) (gpio.Line, error) {
	l, err := (&bench.LatePin{PinIO: p.PinIO}).Request(cfg)
	return panickyLine{l, p.bad}, err
}

type panickyLine struct {
	gpio.Line
	bad *atomic.Bool
}

func (l panickyLine) NextEdge(ctx context.Context) (gpio.Edge, error) {
	e, err := l.Line.NextEdge(ctx)
	if l.bad.Load() {
		panic("no such edge")
	}
	return e, err
}

// TestRotaryOutlivesAPanic: one in a line is the device's failure, not the agent's.
func TestRotaryOutlivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, bad := bench.NewBench(t), new(atomic.Bool)
		k := bench.NewKnob(t, b.Board, "GPIO5", "GPIO6")
		lookup := func(name string) periph.PinIO { return panickyPin{b.Board.Lookup(name), bad} }
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "rotary", knob)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: lookup})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		bad.Store(true)
		k.Turn(t, 1)
		synctest.Wait()
		if d, _ := s.Device("knob"); d.Status != "failed" || !strings.Contains(d.Error, "panic: no such edge") {
			t.Errorf("%+v", d)
		}
		bad.Store(false)
		bench.Pass(10 * time.Second)
		if d, _ := s.Device("knob"); d.Status != "ok" {
			t.Errorf("%+v", d)
		}
		stop()
	})
}

func TestLineDriversRefuse(t *testing.T) {
	foreign := func(string) periph.PinIO { return bench.NewForeignPin("EXP_1") }
	for _, c := range []struct{ driver, example, want string }{
		{"rotary", "knob: {rotary: GPIO5}", "b is missing"},
		{"rotary", "knob: {rotary: GPIO5, b: GPIO5}", "GPIO5 is used by device knob"},
		{"rotary", "knob: {rotary: GPIO5, b: GPIO6, steps: 0}", "steps is 0"},
		{"rotary", "knob: {rotary: GPIO5, b: GPIO6, min: 5, max: 5}", "min is 5 and max is 5"},
		{"rotary", "knob: {rotary: GPIO5, b: GPIO6, max: 10000000000}", "within a billion"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19}", "echo is missing"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, unit: inch}", "m, cm or mm"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, temperature: 293}", "temperature is 293"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, temperature: .nan}", "temperature is NaN"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, tries: 0}", "tries is 0"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, every: 100ms}", "3 tries 60 ms apart take 180ms"},
		{"hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, every: 0s}", "every is 0s"},
		{"hx711", "hive: {hx711: GPIO20}", "clock is missing"},
		{"hx711", "hive: {hx711: GPIO20, clock: GPIO21, gain: 100}", "gain is 100"},
		{"hx711", "hive: {hx711: GPIO20, clock: GPIO21, scale: 0}", "scale is 0"},
		{"hx711", "hive: {hx711: GPIO20, clock: GPIO21, offset: .inf}", "offset is +Inf"},
		{"hx711", "hive: {hx711: GPIO20, clock: GPIO21, tries: 99}", "tries is 99"},
		{"hx711", "hive: {hx711: GPIO20, clock: GPIO21, every: 0s}", "every is 0s"},
	} {
		b := bench.NewBench(t)
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, c.driver, c.example)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.example, err, c.want)
		}
	}
	for driver, example := range map[string]string{
		"rotary": knob, "hc_sr04": "tank: {hc_sr04: GPIO19, echo: GPIO26}", "hx711": "hive: {hx711: GPIO20, clock: GPIO21}",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			sp := spec(t, driver, example)
			s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{sp}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: foreign})
			if err != nil {
				t.Fatal(err)
			}
			stop := bench.Start(t, s)
			bench.Pass(10 * time.Second)
			if d, _ := s.Device(sp.Name); d.Status != "failed" || !strings.Contains(d.Error, "this line ") {
				t.Errorf("%s on an expander: %+v", driver, d)
			}
			stop()
		})
	}
}
