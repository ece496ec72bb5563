package gpiotest

import (
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"

	"fieldpost/edge"
	fgpio "fieldpost/gpio"
)

// The rest of this file is for a real kernel, where a bubble's time does not pass.

// boardPatience is how long the emulated board may take for what it does in the end.
const boardPatience = time.Minute

// Until asks until ok, for a minute.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(boardPatience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", boardPatience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// UntilStatus waits until a device is as wanted, and gives it.
func UntilStatus(t testing.TB, s *fgpio.Source, device, status string) (d edge.DeviceStatus) {
	t.Helper()
	end := time.Now().Add(boardPatience)
	for d, _ = s.Device(device); d.Status != status; d, _ = s.Device(device) {
		if time.Now().After(end) {
			t.Fatalf("%s is not %s within %s: %+v", device, status, boardPatience, d)
		}
		<-time.After(10 * time.Millisecond)
	}
	return d
}

// BoardSource makes a Source of devices on the lines of the board that is open.
func BoardSource(t testing.TB, pump *Pump, specs ...fgpio.Spec) *fgpio.Source {
	t.Helper()
	s, err := fgpio.NewSource(fgpio.SourceOptions{Specs: specs, Pump: pump, Rows: pump, Clock: KernelClock{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lineInfo is what the kernel says of a pin's line.
func lineInfo(t testing.TB, pin edge.Pin) fgpio.LineInfo {
	t.Helper()
	found := gpioreg.ByName(string(pin))
	if alias, ok := found.(gpio.RealPin); ok {
		found = alias.Real()
	}
	line, ok := found.(interface {
		Info() (fgpio.LineInfo, error)
	})
	if !ok {
		t.Fatalf("%s is %T", pin, found)
	}
	info, err := line.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// ConformOnBoard checks that devices keep the contract on the lines of a real kernel,
// one after the other: each works, reports, answers, stops with its lines let go of,
// and works again. Then, all at once, each is absent while its hardware is away, and
// works when it is back. The board is open, keeps no lines, and plug takes everything
// away and brings it back.
func ConformOnBoard(t *testing.T, sim *KernelSim, specs []fgpio.Spec, plug func(in bool)) {
	for _, spec := range specs {
		t.Run(spec.Driver, func(t *testing.T) { runsOnBoard(t, sim, spec) })
	}
	t.Run("all are absent without their hardware", func(t *testing.T) {
		pump := NewPump()
		s := BoardSource(t, pump, specs...)
		defer Start(t, s)()
		for _, status := range []string{"ok", "absent", "ok"} {
			if status == "absent" {
				plug(false)
			}
			for _, spec := range specs {
				if d := UntilStatus(t, s, spec.Name, status); status == "absent" && d.Error == "" {
					t.Errorf("%s is absent, and does not say why", spec.Name)
				}
			}
			if status == "absent" {
				plug(true)
			}
		}
	})
}

// runsOnBoard is runs and commands, on a real kernel's lines. Each run is one of
// another agent, over the same store.
func runsOnBoard(t *testing.T, sim *KernelSim, spec fgpio.Spec) {
	pump := NewPump()
	for round := range 2 {
		s := BoardSource(t, pump, spec)
		stop := Start(t, s)
		d := UntilStatus(t, s, spec.Name, "ok")
		for _, pin := range d.Pins {
			info := lineInfo(t, edge.Pin(pin))
			if info.Consumer != "fieldpost:"+spec.Name {
				t.Errorf("round %d: %s is held by %q", round, pin, info.Consumer)
			}
			if !info.Output {
				nudge(t, sim, edge.Pin(pin))
			}
		}
		Until(t, spec.Name+" has a value and told something", func() bool {
			d, _ = s.Device(spec.Name)
			return len(d.Value) > 0 && len(pump.Events("")) > 0
		})
		stop()
		for _, pin := range d.Pins {
			if info := lineInfo(t, edge.Pin(pin)); info.Consumer != "" {
				t.Errorf("round %d: stopped, %s is held by %q", round, pin, info.Consumer)
			}
		}
	}
	wellFormed(t, pump.Events(""), spec.Name)
	s := BoardSource(t, pump, spec)
	stop := Start(t, s)
	UntilStatus(t, s, spec.Name, "ok")
	answers(t, s, spec.Name, 20*time.Millisecond)
	stop()
}

// nudge pulls a line to and fro, once each.
func nudge(t testing.TB, sim *KernelSim, pin edge.Pin) {
	t.Helper()
	offset, ok := pin.Number()
	if !ok {
		t.Fatalf("%s is no line of the header", pin)
	}
	level := sim.Level(t, offset)
	for _, to := range []bool{!level, level} {
		sim.Pull(t, offset, to)
		<-time.After(50 * time.Millisecond)
	}
}
