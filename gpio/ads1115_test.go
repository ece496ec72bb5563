package gpio_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// TI's SBAS444D, table 3: codes are volts x 32768 / full scale, 7FFFh and 8000h where it clips.
func TestADS1115Values(t *testing.T) {
	for _, c := range []struct {
		options string
		volts   [4]float64
		config  uint16
		want    string
	}{
		{"channel: 0", [4]float64{2.048}, 0xc383, `"value":2.048,"unit":"V"`},
		{"channel: 3, rate: 8", [4]float64{3: 0.000125}, 0xf303, `"value":0.000125,"unit":"V"`}, // one step of 125 uV
		{"channel: 1, gain: 0.667, rate: 860", [4]float64{1: 5}, 0xd1e3, `"value":5.00006,"unit":"V"`},
		{"pair: 0-1, gain: 16", [4]float64{0.1, 0.2}, 0x8b83, `"value":-0.1,"unit":"V"`},
		{"pair: 2-3, gain: 8", [4]float64{2: 0.25}, 0xb983, `"value":0.25,"unit":"V"`},
		{"channel: 2, gain: 4", [4]float64{2: 3}, 0xe783, `"value":1.02397,"unit":"V","clipped":true`},
		{"pair: 0-3, gain: 2", [4]float64{0, 0, 0, 3}, 0x9583, `"value":-2.048,"unit":"V","clipped":true`},
		{"channel: 0, scale: 100, unit: kPa", [4]float64{1.5}, 0xc383, `"value":150,"unit":"kPa","volts":1.5`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			for n, v := range c.volts {
				b.Volts.Input(n, v)
			}
			stop := gpiotest.Start(t, b.Source(t, spec(t, "ads1115", "x: {ads1115: 0x48, "+c.options+"}")))
			gpiotest.Pass(time.Second)
			if got := only(t, b, "x"); got != "sample {"+c.want+"}" {
				t.Errorf("%s: it told %s", c.options, got)
			}
			if got := b.Volts.Peek(1, 2); got[0] != byte(c.config>>8) || got[1] != byte(c.config) {
				t.Errorf("%s: config is % x, not %04x", c.options, got, c.config)
			}
			stop()
		})
	}
}

// A conversion that takes as long as it may is waited for: the one before is not told.
func TestADS1115WaitsForTheConversion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		b.Volts.Busy = 8
		stop := gpiotest.Start(t, b.Source(t, spec(t, "ads1115", "x: {ads1115: 0x48, every: 1s, rate: 8}")))
		gpiotest.Pass(500 * time.Millisecond)
		b.Volts.Input(0, 2)
		gpiotest.Pass(time.Second)
		if got := b.Pump.Lines("x"); got != "sample {\"value\":1,\"unit\":\"V\"}\nsample {\"value\":2,\"unit\":\"V\"}\n" {
			t.Errorf("it told %s", got)
		}
		stop()
	})
}

// Four devices share one part, each with its own input and range.
func TestADS1115Shared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		var specs []gpio.Spec
		for n := range 4 {
			b.Volts.Input(n, float64(n+1)/8)
			specs = append(specs, spec(t, "ads1115", fmt.Sprintf("x%d: {ads1115: 0x48, channel: %d, gain: %d, rate: %d, every: 1s}", n, n, 1<<(n%3), 8<<n)))
		}
		s := b.Source(t, specs...)
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(time.Minute)
		for n := range 4 {
			name, want := fmt.Sprintf("x%d", n), fmt.Sprintf("sample {\"value\":%v,\"unit\":\"V\"}\n", float64(n+1)/8)
			if got := b.Pump.Lines(name); got != strings.Repeat(want, strings.Count(got, "\n")) || strings.Count(got, "\n") < 60 {
				t.Errorf("%s told %d lines: %.200s", name, strings.Count(got, "\n"), got)
			}
			if d, _ := s.Device(name); d.Status != "ok" || d.Restarts != 0 {
				t.Errorf("%+v", d)
			}
		}
		stop()
	})
}
