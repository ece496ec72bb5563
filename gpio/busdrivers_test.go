package gpio_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// onBus is a driver of a part on a bus, and how to hurt the part.
type onBus struct {
	driver, example string
	dial            func(*gpiotest.Bench) *gpiotest.Dial
	right           string                // all that it may ever tell
	wrong           func(*gpiotest.Bench) // puts another part there
	slow            func(*gpiotest.Bench) // its work is never done; nil: it has none that takes time
	short           string                // what is said of an answer that broke off after a byte
	opened          func(*gpiotest.Bench) int
}

func onBuses() []onBus {
	i2cOpened := func(b *gpiotest.Bench) int { return b.I2C.Opened() }
	return []onBus{
		{driver: "bme280", example: "x: {bme280: 0x76, every: 1s}", opened: i2cOpened,
			dial:  func(b *gpiotest.Bench) *gpiotest.Dial { return &b.Air.Dial },
			right: `sample {"value":25.08,"unit":"°C","humidity":40.47,"pressure":1006.53}`,
			wrong: func(b *gpiotest.Bench) { b.Air.Poke(0xd0, 0x61) },
			slow:  func(b *gpiotest.Bench) { b.Air.Busy = -1 },
			short: "broke off"},
		{driver: "ads1115", example: "x: {ads1115: 0x48, every: 1s}", opened: i2cOpened,
			dial:  func(b *gpiotest.Bench) *gpiotest.Dial { return &b.Volts.Dial },
			right: `sample {"value":1,"unit":"V"}`,
			wrong: func(b *gpiotest.Bench) { b.I2C.Add(0x48, &gpiotest.I2CPart{Ignore: func(int) bool { return true }}) },
			slow:  func(b *gpiotest.Bench) { b.Volts.Busy = -1 },
			short: "its config is 0x43ff"},
		{driver: "mcp3008", example: "x: {mcp3008: SPI0.0, vref: 2.048, every: 1s}", opened: func(b *gpiotest.Bench) int { return b.SPI.Opened() },
			dial:  func(b *gpiotest.Bench) *gpiotest.Dial { return &b.SPI.Dial },
			right: `sample {"value":1,"unit":"V"}`,
			wrong: func(b *gpiotest.Bench) { b.SPI.Part = func(_, r []byte) {} },
			short: "the bit before the result is not 0"},
		{driver: "mcp23017", example: "x: {mcp23017: 0x20}", opened: i2cOpened,
			dial:  func(b *gpiotest.Bench) *gpiotest.Dial { return &b.Expander.Dial },
			right: `change {"value":0}`,
			wrong: func(b *gpiotest.Bench) { b.I2C.Add(0x20, &gpiotest.I2CPart{Ignore: func(int) bool { return true }}) },
			short: "is 0xff"},
	}
}

// Whatever a part does, its device says so, tells nothing that is not so, leaves the
// other devices alone, stops in time, and goes on once the part is right again.
func TestBusFaults(t *testing.T) {
	for _, d := range onBuses() {
		faults := []struct {
			name   string
			fault  gpiotest.Fault
			hurt   func(*gpiotest.Bench)
			status string
			says   string
		}{
			{name: "no part", fault: gpiotest.Fault{Err: gpiotest.ErrNAK}, status: "absent", says: "remote I/O error"},
			{name: "a NAK in between", fault: gpiotest.Fault{Err: gpiotest.ErrNAK, After: 3, Times: 2}, status: "ok"},
			{name: "errors", fault: gpiotest.Fault{Err: unix.EIO}, status: "failed", says: "input/output error"},
			{name: "stuck", fault: gpiotest.Fault{Stuck: true}, status: "failed", says: "the bus is held"},
			{name: "stuck later", fault: gpiotest.Fault{Stuck: true, After: 20}, status: "failed", says: "the bus is held"},
			{name: "slow", fault: gpiotest.Fault{Delay: 100 * time.Millisecond}, status: "ok"},
			{name: "short", fault: gpiotest.Fault{Short: 1, After: 20}, status: "failed", says: d.short},
			{name: "short in between", fault: gpiotest.Fault{Short: 1, After: 21, Times: 1}, status: "ok"},
			{name: "nothing in it", fault: gpiotest.Fault{Short: -1}, status: "failed"},
			{name: "another part", hurt: d.wrong, status: "failed"},
			{name: "never done", hurt: d.slow, status: "failed", says: "wait for the "},
		}
		for _, f := range faults {
			if f.fault == (gpiotest.Fault{}) && f.hurt == nil {
				continue
			}
			if d.driver == "mcp3008" && (f.name == "no part" || f.name == "short" || f.name == "nothing in it" || f.name == "another part") {
				f.status, f.says = "absent", d.short // SPI has no acknowledgement: it is seen in the answer
				if f.name == "no part" {
					f.fault = gpiotest.Fault{Short: -1}
				}
			}
			t.Run(d.driver+"/"+f.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { busFault(t, d, f.fault, f.hurt, f.status, f.says) })
			})
		}
	}
}

func busFault(t *testing.T, d onBus, fault gpiotest.Fault, hurt func(*gpiotest.Bench), status, says string) {
	b := gpiotest.NewBench(t)
	b.Analog[0] = 500 // of 1024, with vref 2.048
	dial := d.dial(b)
	s := b.Source(t, spec(t, d.driver, d.example), spec(t, "cpu", "board: {cpu: auto, every: 1s}"))
	dial.Set(fault)
	if hurt != nil {
		hurt(b)
	}
	stop := gpiotest.Start(t, s)
	gpiotest.Pass(30 * time.Second)
	dev, _ := s.Device("x")
	if dev.Status != status || !strings.Contains(dev.Error, says) || status == "ok" && dev.Restarts != 0 {
		t.Errorf("%+v", dev)
	}
	if n := len(b.Pump.Events("board")); n != 30 && n != 31 {
		t.Errorf("its neighbour told %d readings in 30 s", n)
	}
	if n := dial.Count(); n > 60000 {
		t.Errorf("%d transactions in 30 s", n)
	}
	if took := stop(); took > time.Second {
		t.Errorf("it took %s to stop", took)
	}
	if hurt == nil {
		dial.Set(gpiotest.Fault{})
		stop = gpiotest.Start(t, s)
		gpiotest.Pass(10 * time.Second)
		if dev, _ := s.Device("x"); dev.Status != "ok" {
			t.Errorf("with the part right again: %+v", dev)
		}
		stop()
	}
	for line := range strings.Lines(b.Pump.Lines("x")) {
		if strings.TrimSpace(line) != d.right {
			t.Fatalf("it told %s", line)
		}
	}
	dial.Set(gpiotest.Fault{})
	synctest.Wait()
	if n := d.opened(b); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// A stop does not wait for a transaction that hangs.
func TestStopWhileTheBusHangs(t *testing.T) {
	for _, d := range onBuses() {
		t.Run(d.driver, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := gpiotest.NewBench(t)
				stop := gpiotest.Start(t, b.Source(t, spec(t, d.driver, d.example)))
				gpiotest.Pass(10 * time.Second)
				d.dial(b).Set(gpiotest.Fault{Stuck: true})
				gpiotest.Pass(1500 * time.Millisecond)
				if took := stop(); took > 100*time.Millisecond {
					t.Errorf("it took %s to stop", took)
				}
				d.dial(b).Set(gpiotest.Fault{})
				synctest.Wait()
				if n := d.opened(b); n != 0 {
					t.Errorf("%d files are open", n)
				}
			})
		})
	}
}

// What can't work is refused before anything runs, with what would.
func TestBusOptions(t *testing.T) {
	for _, c := range []struct{ driver, example, says string }{
		{"bme280", "x: {bme280: 0x75}", "address 0x75: a BME280 has one from 0x76 to 0x77"},
		{"bme280", "x: {bme280: 0x76, every: 0s}", "every is 0s: it must be more than 0"},
		{"ads1115", "x: {ads1115: 0x4c}", "address 0x4c"},
		{"ads1115", "x: {ads1115: 0x48, channel: 4}", "channel 4: it is 0 to 3"},
		{"ads1115", "x: {ads1115: 0x48, channel: 1, pair: 0-1}", "channel 1 and pair 0-1: keep one of them"},
		{"ads1115", "x: {ads1115: 0x48, gain: 3}", "gain 3: it is 0.667, 1, 2, 4, 8 or 16"},
		{"ads1115", "x: {ads1115: 0x48, rate: 100}", "rate 100: it is 8, 16,"},
		{"ads1115", "x: {ads1115: 0x48, scale: 0}", "scale is 0: it is what one volt is worth"},
		{"mcp3008", "x: {mcp3008: SPI0.0, channel: -1}", "channel -1: it is 0 to 7"},
		{"mcp3008", "x: {mcp3008: SPI0.0, vref: 0}", "vref is 0 V: it must be more than 0"},
		{"mcp3008", "x: {mcp3008: SPI0.0, scale: .nan}", "scale is NaN"},
		{"mcp23017", "x: {mcp23017: 0x28}", "address 0x28"},
		{"mcp23017", "x: {mcp23017: 0x20, every: 10us}", "every is 10µs: it must be 1ms or more"},
	} {
		b := gpiotest.NewBench(t)
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, c.driver, c.example)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.example, err)
		}
	}
	var p gpio.Pair
	if err := p.UnmarshalText([]byte("1-2")); err == nil {
		t.Error("pair 1-2 is taken")
	}
}

// A part is one device's for as long as it says; who waits gives up in time, or at once
// when it is to stop.
func TestHoldPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buses []gpio.I2CBus
		drivers := []gpio.Driver{{Name: "probe", Config: func() any { return nil }, New: func(env gpio.Env, _ any) (gpio.Device, error) {
			bus, err := env.I2C("I2C1")
			buses = append(buses, bus)
			return nil, err
		}}}
		b := gpiotest.NewBench(t)
		if _, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Drivers: drivers, Buses: gpio.Buses{I2C: b.I2C.Open},
			Specs: []gpio.Spec{{Name: "first", Driver: "probe"}, {Name: "second", Driver: "probe"}}}); err != nil {
			t.Fatal(err)
		}
		release, err := buses[0].Hold(t.Context(), 0x48)
		if err != nil {
			t.Fatal(err)
		}
		other, err := buses[1].Hold(t.Context(), 0x49)
		if err != nil {
			t.Fatal(err)
		}
		other()
		begun := time.Now()
		if _, err := buses[1].Hold(t.Context(), 0x48); err == nil || err.Error() != "use 0x48 on I2C I2C1: device first uses it" || time.Since(begun) != 5*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		release()
		release()
		if again, err := buses[1].Hold(t.Context(), 0x48); err != nil {
			t.Error(err)
		} else {
			again()
		}
		for _, bus := range buses {
			if err := errors.Join(bus.Close()); err != nil {
				t.Error(err)
			}
		}
	})
}

// only gives the one line that a device told.
func only(t *testing.T, b *gpiotest.Bench, device string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(b.Pump.Lines(device)), "\n")
	if len(lines) != 1 {
		t.Fatalf("%s told %s", device, fmt.Sprint(lines))
	}
	return lines[0]
}
