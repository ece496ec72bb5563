package gpio_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// pulses makes n rising edges.
func pulses(t testing.TB, b *bench.Bench, n int) {
	t.Helper()
	for range n {
		drive(t, b, "GPIO22", true, false)
	}
}

func count(n int) string { return fmt.Sprintf(`sample {"value":%d,"unit":"L","count":%d}`, n, n) }

func TestCounterIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		flow := spec(t, "counter", "flow: {counter: GPIO22, every: 10s, unit: L}")
		stop := bench.Start(t, b.Source(t, flow))
		bench.Pass(time.Second)
		expect(t, b, "flow", count(0))
		pulses(t, b, 7)
		bench.Pass(10 * time.Second)
		expect(t, b, "flow", count(7))
		pulses(t, b, 5000) // far more than the queue holds
		bench.Pass(10 * time.Second)
		bench.Pass(10 * time.Second)
		expect(t, b, "flow", count(5007), count(5007))
		pulses(t, b, 3)
		stop() // tells what it has
		expect(t, b, "flow", count(5010))
		pulses(t, b, 2000) // while nobody runs
		stop = bench.Start(t, b.Source(t, flow))
		bench.Pass(time.Second)
		expect(t, b, "flow", count(7010))
		pulses(t, b, 5)
		b.Pump.Deaf(true) // a kill: what it counted is not stored, the line stays parked
		stop()
		b.Pump.Deaf(false)
		pulses(t, b, 1)
		stop = bench.Start(t, b.Source(t, flow))
		bench.Pass(time.Second)
		expect(t, b, "flow", count(7016))
		b.Board.Unplug() // a new request: it goes on from the stored total
		b.Board.Plug()
		bench.Pass(11 * time.Second)
		pulses(t, b, 4)
		bench.Pass(20 * time.Second)
		evs := b.Pump.Events("flow")
		if last := evs[len(evs)-1]; string(last.Kind)+" "+string(last.Data) != count(7020) {
			t.Errorf("after a new request: %s", last.Data)
		}
		stop()
		b.Pump.Forget()
		stop = bench.Start(t, b.Source(t, flow))
		bench.Pass(time.Second)
		expect(t, b, "flow") // the same total is no news
		stop()
	})
}

func TestCounterScalesAndThins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		flow := spec(t, "counter", "flow: {counter: GPIO22, every: 1s, unit: L, scale: 0.00225, report: {delta: 0.01, heartbeat: 1m}}")
		stop := bench.Start(t, b.Source(t, flow))
		bench.Pass(500 * time.Millisecond)
		pulses(t, b, 3)
		bench.Pass(10 * time.Second)
		expect(t, b, "flow", `sample {"value":0,"unit":"L","count":0}`)
		pulses(t, b, 3)
		bench.Pass(30 * time.Second)
		expect(t, b, "flow", `sample {"value":0.0135,"unit":"L","count":6}`)
		bench.Pass(time.Minute)
		expect(t, b, "flow", `sample {"value":0.0135,"unit":"L","count":6}`)
		stop()
	})
}

func TestCounterOnAForeignPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		pin := bench.NewForeignPin("EXP_1")
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "counter", "flow: {counter: EXP_1, every: 10s, unit: L}")},
			Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: func(string) periph.PinIO { return pin }})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		for range 3 {
			pin.Drive(true, true)
			bench.Pass(time.Second)
			pin.Drive(false, true)
			bench.Pass(time.Second)
		}
		bench.Pass(5 * time.Second)
		expect(t, b, "flow", count(0), count(3))
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}

func TestSimIsTheSameEachTime(t *testing.T) {
	series := func(sim string) (out string) {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			stop := bench.Start(t, b.Source(t, spec(t, "sim", "air: {"+sim+", every: 1s}")))
			bench.Pass(20*time.Second - time.Millisecond)
			stop()
			if n := len(b.Pump.Events("air")); n != 20 {
				t.Errorf("%s: %d readings", sim, n)
			}
			out = b.Pump.Lines("air")
		})
		return out
	}
	for _, shape := range []string{"constant", "sine", "square", "saw", "walk"} {
		a := series("sim: " + shape + ", value: 20, noise: 0.5, seed: 7, unit: K")
		if a != series("sim: "+shape+", value: 20, noise: 0.5, seed: 7, unit: K") {
			t.Errorf("%s: the same seed gives another series", shape)
		}
		if a == series("sim: "+shape+", value: 20, noise: 0.5, seed: 8, unit: K") {
			t.Errorf("%s: another seed gives the same series", shape)
		}
	}
	want := `sample {"value":5}
sample {"value":-5}
`
	if got := series("sim: square, amplitude: 5, period: 2s"); got[:len(want)] != want {
		t.Errorf("got %s", got)
	}
}

func TestSamplerAcceptsAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "cpu", "board: {cpu: auto, every: 1s, accept: {min: -40, max: 80}, report: {delta: 0.5, heartbeat: 1m}}"))
		stop := bench.Start(t, s)
		defer stop()
		const more = `,"load":0.42,"memory":{"total":447643648,"available":308224000}}`
		set := func(milli int, wait time.Duration) {
			b.Write(t, "sys/class/thermal/thermal_zone0/temp", fmt.Sprintln(milli))
			bench.Pass(wait)
		}
		set(20000, 1500*time.Millisecond)
		b.Pump.Forget()
		set(20400, 2*time.Second)
		expect(t, b, "board")
		set(20500, 2*time.Second)
		expect(t, b, "board", `sample {"value":20.5,"unit":"°C"`+more)
		set(85000, 3*time.Second)
		expect(t, b, "board", `sample {"value":null,"unit":"°C","quality":"implausible","reading":"85"}`)
		if d, _ := s.Device("board"); d.Status != "ok" || d.Error == "" {
			t.Errorf("status %+v", d)
		}
		set(20500, 2*time.Second)
		expect(t, b, "board", `sample {"value":20.5,"unit":"°C"`+more)
		bench.Pass(time.Minute)
		expect(t, b, "board", `sample {"value":20.5,"unit":"°C"`+more)
		if d, _ := s.Device("board"); d.Error != "" || d.Unit != "°C" {
			t.Errorf("status %+v", d)
		}
	})
}

func TestCPUTellsItsSupply(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n", `,"throttled":true,"undervoltage":true}`},
		{"sys/devices/platform/soc/soc:firmware/get_throttled", "0\n", `,"throttled":false,"undervoltage":false}`},
		{"sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n", `,"undervoltage":true}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			b.Write(t, "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
			b.Write(t, c.file, c.text)
			stop := bench.Start(t, b.Source(t, spec(t, "cpu", "board: {cpu: auto}")))
			bench.Pass(time.Second)
			stop()
			expect(t, b, "board", `sample {"value":48.312,"unit":"°C","load":0.42,"memory":{"total":447643648,"available":308224000}`+c.want)
		})
	}
}

func TestBusyIsAFailureThatNamesTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Board.Hold("GPIO22", "rotary@0")
		s := b.Source(t, spec(t, "counter", "flow: {counter: GPIO22}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		if d, _ := s.Device("flow"); d.Status != "failed" || d.Error != "request line GPIO22: rotary@0 holds it" {
			t.Errorf("status %+v", d)
		}
		if _, err := b.Board.Request(22, gpio.LineConfig{}); !errors.Is(err, unix.EBUSY) {
			t.Error(err)
		}
	})
}
