package gpio_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// unharmed fails the test where a device did not run on.
func unharmed(t *testing.T, s *gpio.Source, devices ...string) {
	t.Helper()
	for _, name := range devices {
		if d, _ := s.Device(name); d.Status != "ok" || d.Restarts != 0 {
			t.Errorf("%+v", d)
		}
	}
}

// held fails the test where a command does not fail in time since the bus is held.
func held(t *testing.T, s *gpio.Source, device, verb string) {
	t.Helper()
	begun := time.Now()
	if _, err := s.React(edge.Command{Device: device, Verb: verb}, nil); !errors.Is(err, gpio.ErrBusHeld) || time.Since(begun) != 500*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}

// A part that fails for a moment has its outputs back seconds later, not when they ask
// by themselves: so a stop then turns them off.
func TestExpanderOutputNoticesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "mcp23017", expanderExample), spec(t, "digital_out", "pump: {digital_out: more.A2}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(1500 * time.Millisecond)
		if err := command(s, "pump", "on"); err != nil {
			t.Fatal(err)
		}
		b.Expander.Set(gpiotest.Fault{Err: unix.EIO, Times: 3})
		gpiotest.Pass(100 * time.Millisecond)
		if d, _ := s.Device("pump"); d.Status == "ok" {
			t.Errorf("while the part is broken: %+v", d)
		}
		gpiotest.Pass(5 * time.Second)
		statuses(t, s, "ok", "more", "pump")
		if !b.Expander.Level(2) {
			t.Error("it is not on again")
		}
		if stop(); b.Expander.Level(2) {
			t.Error("it is on after the stop")
		}
	})
}

// A command behind a slow poll is over in time, and the part is none the worse.
func TestExpanderCommandBehindAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "mcp23017", expanderExample), spec(t, "digital_out", "pump: {digital_out: more.A2}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(5 * time.Second)
		b.Expander.Set(gpiotest.Fault{Delay: 1500 * time.Millisecond, Times: 1})
		gpiotest.Pass(100 * time.Millisecond)
		held(t, s, "pump", "on")
		gpiotest.Pass(2 * time.Second)
		if err := command(s, "pump", "on"); err != nil || !b.Expander.Level(2) {
			t.Errorf("on: %v, the line is %v", err, b.Expander.Level(2))
		}
		unharmed(t, s, "more", "pump")
		stop()
	})
}

// A neighbour that has the bus costs a command, not the part; where the part itself has
// it, nobody knows what it did, and the part begins anew.
func TestExpanderCommandWhileANeighbourHasTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		slow := &gpiotest.I2CPart{}
		slow.Set(gpiotest.Fault{Delay: time.Second})
		b.I2C.Add(0x40, slow)
		var bus i2c.BusCloser
		drivers := append(gpio.Drivers(), gpio.Driver{Name: "probe", Config: func() any { return nil }, New: func(env gpio.Env, _ any) (gpio.Device, error) {
			var err error
			bus, err = env.I2C("I2C1")
			return idle{}, err
		}})
		s, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Drivers: drivers, Buses: gpio.Buses{I2C: b.I2C.Open},
			Specs: []gpio.Spec{spec(t, "mcp23017", "more: {mcp23017: 0x20, every: 20s}"), spec(t, "digital_out", "pump: {digital_out: more.A2}"), {Name: "slow", Driver: "probe"}}})
		if err != nil {
			t.Fatal(err)
		}
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(5 * time.Second)
		go bus.Tx(0x40, []byte{1}, nil)
		gpiotest.Pass(100 * time.Millisecond)
		held(t, s, "pump", "on")
		gpiotest.Pass(2 * time.Second)
		unharmed(t, s, "more", "pump")
		if err := command(s, "pump", "on"); err != nil || !b.Expander.Level(2) {
			t.Errorf("on: %v, the line is %v", err, b.Expander.Level(2))
		}
		b.Expander.Set(gpiotest.Fault{Delay: time.Second, Times: 1})
		if err := command(s, "pump", "off"); err == nil {
			t.Error("off was done")
		}
		gpiotest.Pass(10 * time.Second)
		if d, _ := s.Device("more"); d.Status != "ok" || d.Restarts == 0 {
			t.Errorf("%+v", d)
		}
		stop()
	})
}

// idle is a device that does nothing.
type idle struct{}

func (idle) Run(ctx context.Context, _ *gpio.Outlet) error { <-ctx.Done(); return nil }
