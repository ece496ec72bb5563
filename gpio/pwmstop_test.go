package gpio_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// A stop while the device waits to be tried again still leaves the channel as stop says.
func TestPWMStopsWhatItLost(t *testing.T) {
	for _, c := range []struct{ stop, want string }{{"off", "0"}, {"on", "1000000"}, {"hold", "1000000"}, {"last", "1000000"}} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			s := b.Source(t, spec(t, "pwm", "pump: {pwm: GPIO18, stop: "+c.stop+"}"))
			stop := bench.Start(t, s)
			bench.Pass(time.Second)
			if err := commandFan(s, "on", ""); err != nil {
				t.Fatal(err)
			}
			b.Sysfs.Fail(duty4, unix.EIO)
			if err := commandFan(s, "set", "50"); !errors.Is(err, unix.EIO) {
				t.Errorf("set: %v", err)
			}
			bench.Pass(time.Millisecond)
			if d, _ := s.Device("pump"); d.Status != "failed" {
				t.Errorf("it is %s", outcome(d))
			}
			if took := stop(); took > time.Second {
				t.Errorf("it took %s to stop", took)
			}
			if got, err := b.Sysfs.Files().Read(b.Root + "/" + duty4); got != c.want {
				t.Errorf("stop: %s left %q, %v", c.stop, got, err)
			}
		})
	}
}

// No command waits for a channel that is slow to set up.
func TestPWMRefusesAtOnceWhileItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Sysfs.Fail(pwm4+"/pwm0/period", nil, unix.EACCES, unix.EACCES, unix.EACCES, unix.EACCES)
		s := b.Source(t, spec(t, "pwm", "pump: {pwm: GPIO18}"))
		stop := bench.Start(t, s)
		bench.Pass(time.Millisecond)
		began := time.Now()
		if err := commandFan(s, "on", ""); !errors.Is(err, edge.ErrAbsent) || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		bench.Pass(time.Second)
		if err := commandFan(s, "on", ""); err != nil {
			t.Error(err)
		}
		stop()
	})
}

// A duty cycle of no ns is off, and is told so.
func TestPWMTellsNoTimeAsOff(t *testing.T) {
	fan(t, "pump: {pwm: GPIO18, frequency: 10MHz}", nil, func(b *bench.Bench, s *gpio.Source) {
		for value, want := range map[string]string{"0.4": "0 %", "0.6": "0.6 %"} {
			if err := commandFan(s, "set", value); err != nil {
				t.Error(err)
			}
			if d, _ := s.Device("pump"); outcome(d) != want || (d.State == "on") != (want != "0 %") {
				t.Errorf("set %s: it is %s, %s", value, outcome(d), d.State)
			}
		}
	})
}

// A stop in the middle of a beginning is no failure.
func TestPWMStopsWhileItBegins(t *testing.T) {
	stopsWell(t, "pwm", "pump: {pwm: GPIO18}", func(b *bench.Bench) {
		b.Sysfs.Fail(pwm4+"/pwm0/period", nil, unix.EACCES, unix.EACCES, unix.EACCES, unix.EACCES)
	})
}

// stopsWell stops a device 5 ms after it was started: nothing went badly.
func stopsWell(t *testing.T, driver, config string, set func(*bench.Bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		set(b)
		var log strings.Builder
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, driver, config)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
			Lookup: b.Board.Lookup, Root: b.Root, Files: b.Sysfs.Files(), Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(5 * time.Millisecond)
		if stop(); log.Len() > 0 {
			t.Error(log.String())
		}
	})
}
