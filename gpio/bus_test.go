package gpio_test

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// slowBus is a bus whose part at 0x40 holds it until it is let go.
type slowBus struct {
	hold   chan struct{}
	opened *atomic.Int32
}

func (b slowBus) String() string                  { return "I2C7" }
func (b slowBus) SetSpeed(physic.Frequency) error { return nil }
func (b slowBus) Close() error                    { b.opened.Add(-1); return nil }
func (b slowBus) Tx(addr uint16, w, r []byte) error {
	if addr == 0x40 {
		<-b.hold
	}
	for i := range r {
		r[i] = byte(addr)
	}
	return nil
}

// A part that never answers costs its neighbours a bounded wait, and memory that it
// fills later is nobody's any more.
func TestStuckPartHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, opened := make(chan struct{}), new(atomic.Int32)
		var stuck, fine i2c.BusCloser
		var open func() (i2c.BusCloser, error)
		drivers := []gpio.Driver{{Name: "probe", Config: func() any { return nil }, New: func(env gpio.Env, _ any) (gpio.Device, error) {
			bus, err := env.I2C("")
			if env.Name == "stuck" {
				stuck = bus
			} else {
				fine, open = bus, func() (i2c.BusCloser, error) { return env.I2C("") }
			}
			return nil, err
		}}}
		b := gpiotest.NewBench(t)
		_, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Drivers: drivers,
			Specs: []gpio.Spec{{Name: "stuck", Driver: "probe"}, {Name: "fine", Driver: "probe"}},
			Buses: gpio.Buses{I2C: func(string) (i2c.BusCloser, error) { opened.Add(1); return slowBus{hold, opened}, nil }}})
		if err != nil {
			t.Fatal(err)
		}
		r := make([]byte, 2)
		if err := fine.Tx(0x76, nil, r); err != nil || !bytes.Equal(r, []byte{0x76, 0x76}) {
			t.Fatalf("% x, %v", r, err)
		}
		if err := fine.SetSpeed(physic.KiloHertz); !errors.Is(err, edge.ErrRefused) {
			t.Error(err)
		}
		begun, mine := time.Now(), make([]byte, 2)
		if err := stuck.Tx(0x40, []byte{1}, mine); !errors.Is(err, gpio.ErrBusHeld) || time.Since(begun) != 2*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		begun = time.Now()
		if err := fine.Tx(0x76, nil, r); !errors.Is(err, gpio.ErrBusHeld) || time.Since(begun) != 2*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		for range 10 {
			if _, err := open(); !errors.Is(err, gpio.ErrBusHeld) {
				t.Fatal(err)
			}
		}
		if err := stuck.Close(); err != nil {
			t.Error(err)
		}
		if n := opened.Load(); n != 2 {
			t.Errorf("%d files are open", n)
		}
		close(hold)
		synctest.Wait()
		if mine[0] != 0 {
			t.Error("a late answer was written into the caller's memory")
		}
		if err := fine.Tx(0x76, nil, r); err != nil {
			t.Error(err)
		}
		if err := fine.Close(); err != nil || opened.Load() != 0 {
			t.Errorf("%v, %d files are open", err, opened.Load())
		}
	})
}

// panickyBus is a bus that panics where no part is meant.
type panickyBus struct{ slowBus }

func (b panickyBus) Tx(addr uint16, w, r []byte) error {
	if addr == 0 {
		panic("no such address")
	}
	return b.slowBus.Tx(addr, w, r)
}

// A panic in a transaction is that transaction's error, and the bus goes on.
func TestBusOutlivesAPanic(t *testing.T) {
	var bus i2c.BusCloser
	drivers := []gpio.Driver{{Name: "probe", Config: func() any { return nil }, New: func(env gpio.Env, _ any) (_ gpio.Device, err error) {
		bus, err = env.I2C("")
		return nil, err
	}}}
	b := gpiotest.NewBench(t)
	_, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Drivers: drivers, Specs: []gpio.Spec{{Name: "probe", Driver: "probe"}},
		Buses: gpio.Buses{I2C: func(string) (i2c.BusCloser, error) { return panickyBus{slowBus{opened: new(atomic.Int32)}}, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Tx(0, nil, nil); err == nil || !strings.Contains(err.Error(), "panic: no such address") {
		t.Error(err)
	}
	if err := bus.Tx(0x76, nil, nil); err != nil {
		t.Error(err)
	}
}
