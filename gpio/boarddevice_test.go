package gpio_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// What the sensors of the board's i2c-stub are, and where the sonar is wired.
const (
	lm75Addr, lm75Twin, bmp280Addr = 0x48, 0x49, 0x76
	sonarTrigger, sonarEcho        = 19, 26
)

// celsius puts a temperature into an LM75: half degrees in the upper 9 of 16 bits, the
// upper byte first (LM75's data sheet, 7.2.1).
func celsius(t testing.TB, stub *bench.I2CStub, addr byte, v float64) {
	t.Helper()
	bits := uint16(int16(v*2) << 7)
	stub.Word(t, addr, 0, byte(bits>>8), byte(bits))
}

// plugged lets the kernel have a chip of the i2c-stub while the test runs.
func plugged(t *testing.T, stub *bench.I2CStub, name string, addr byte) {
	t.Helper()
	stub.Plug(t, name, addr, true)
	t.Cleanup(func() { stub.Plug(t, name, addr, false) })
}

// The devices that live on lines, and hwmon's, keep the contract on the kernel's own.
func TestBoardConformance(t *testing.T) {
	sim, stub := bench.OnBoard(t), bench.OnStub(t)
	board(t, nil)
	sonar := bench.NewKernelSonar(t, sim, sonarTrigger, sonarEcho)
	sonar.Width(10 * time.Millisecond)
	celsius(t, stub, lm75Addr, 21.5)
	stub.Plug(t, "lm75", lm75Addr, true)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	specs := []gpio.Spec{
		spec(t, "digital_in", "door: {digital_in: GPIO17, pull: up, debounce: 5ms}"),
		spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: off, stop: off}"),
		spec(t, "counter", "flow: {counter: GPIO22, every: 200ms}"),
		spec(t, "button", "bell: {button: GPIO23, double: 0s}"),
		spec(t, "rotary", "knob: {rotary: GPIO5, b: GPIO6}"),
		spec(t, "hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, every: 500ms}"),
		spec(t, "hwmon", "case: {hwmon: lm75, input: temp1, every: 200ms}"),
	}
	bench.ConformOnBoard(t, sim, specs, func(in bool) {
		sonar.Width(0) // nobody hears it while its chip is away
		sim.Plug(t, in)
		stub.Plug(t, "lm75", lm75Addr, in)
		if in {
			sonar.Width(10 * time.Millisecond)
		}
	})
	stub.Plug(t, "lm75", lm75Addr, false)
}

// reported is what a sensor's event says.
type reported struct {
	Value   *float64
	Unit    string
	Quality string
	Why     string
}

func reportOf(t testing.TB, ev edge.Event) (r reported) {
	t.Helper()
	if err := json.Unmarshal(ev.Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// untilTold waits for an event of a device that is as wanted.
func untilTold(t testing.TB, pump *bench.Pump, device, what string, wanted func(edge.Event) bool) (ev edge.Event) {
	t.Helper()
	bench.Until(t, device+" tells "+what, func() bool {
		for _, ev = range pump.Events(device) {
			if wanted(ev) {
				return true
			}
		}
		return false
	})
	return ev
}

// A distance is that of the kernel's stamps of the echo's two edges: between the
// narrowest and the widest that the pulls of its line allow.
func TestBoardHCSR04(t *testing.T) {
	const speed = 343.2 // m/s in air of 20 °C
	sim := bench.OnBoard(t)
	board(t, nil)
	sonar := bench.NewKernelSonar(t, sim, sonarTrigger, sonarEcho)
	sonar.Width(6 * time.Millisecond)
	pump := bench.NewPump()
	s := bench.BoardSource(t, pump, spec(t, "hc_sr04", "tank: {hc_sr04: GPIO19, echo: GPIO26, tries: 1, every: 200ms}"))
	defer bench.Start(t, s)()
	for _, width := range []time.Duration{6 * time.Millisecond, 15 * time.Millisecond} {
		sonar.Width(width)
		pump.Forget()
		untilTold(t, pump, "tank", "a distance of an echo of "+width.String(), func(ev edge.Event) bool {
			r := reportOf(t, ev)
			ping, ok := sonar.Before(ev.Mono)
			if r.Value == nil || !ok || ping.Least() < width-time.Millisecond {
				return false // this machine stalled, or it is an echo of before
			}
			near, far := ping.Least().Seconds()*speed/2, ping.Most().Seconds()*speed/2
			if *r.Value < near-0.001 || *r.Value > far+0.001 || r.Unit != "m" {
				t.Errorf("told %s, the echo makes it %.4f to %.4f m", ev.Data, near, far)
			}
			return true
		})
	}
	// Nothing in reach: the sensor's own pulse for that.
	sonar.Width(45 * time.Millisecond)
	pump.Forget()
	ev := untilTold(t, pump, "tank", "that nothing is in reach", func(ev edge.Event) bool { return reportOf(t, ev).Value == nil })
	if r := reportOf(t, ev); r.Quality != "implausible" || !strings.Contains(r.Why, "no echo") {
		// A stall may have made an echo of before too long to be true, with its reading.
		if !strings.Contains(string(ev.Data), `"reading"`) {
			t.Errorf("told %s", ev.Data)
		}
	}
	// No answer at all: absent, and no value is made up.
	sonar.Width(0)
	d := bench.UntilStatus(t, s, "tank", "absent")
	pump.Forget()
	if !strings.Contains(d.Error, "no answer to the trigger") {
		t.Errorf("it is absent as: %s", d.Error)
	}
	bench.Until(t, "it was tried again", func() bool { now, _ := s.Device("tank"); return now.Restarts > d.Restarts })
	if got := pump.Lines("tank"); got != "" {
		t.Errorf("without an answer it told %s", got)
	}
	sonar.Width(6 * time.Millisecond)
	bench.UntilStatus(t, s, "tank", "ok")
}

// A chip of the kernel's hardware monitoring, and a second one of its name.
func TestBoardHwmon(t *testing.T) {
	bench.OnBoard(t)
	stub := bench.OnStub(t)
	celsius(t, stub, lm75Addr, 25)
	celsius(t, stub, lm75Twin, -10.5)
	plugged(t, stub, "lm75", lm75Addr)
	pump := bench.NewPump()
	s := bench.BoardSource(t, pump,
		spec(t, "hwmon", "case: {hwmon: lm75, every: 100ms, report: {delta: 0.5, heartbeat: 1h}}"),
		spec(t, "hwmon", "roof: {hwmon: 0-0049, every: 100ms, report: {delta: 0.5, heartbeat: 1h}}"),
		spec(t, "hwmon", "fan: {hwmon: lm75, input: fan1}"))
	defer bench.Start(t, s)()
	told := func(device string, want float64) {
		t.Helper()
		ev := untilTold(t, pump, device, "a temperature", func(ev edge.Event) bool { r := reportOf(t, ev); return r.Value != nil && *r.Value == want })
		if r := reportOf(t, ev); r.Unit != "°C" || r.Quality != "" || ev.Kind != edge.Sample {
			t.Errorf("%s told %s %s", device, ev.Kind, ev.Data)
		}
		pump.Forget()
	}
	told("case", 25)
	if d := bench.UntilStatus(t, s, "roof", "absent"); !strings.Contains(d.Error, "there is lm75") {
		t.Errorf("roof: %s", d.Error)
	}
	if d := bench.UntilStatus(t, s, "fan", "absent"); !strings.Contains(d.Error, "it has temp1") {
		t.Errorf("fan: %s", d.Error)
	}
	celsius(t, stub, lm75Addr, -55)
	told("case", -55)
	celsius(t, stub, lm75Addr, 124.5)
	told("case", 124.5)
	// Two of one name: neither is guessed, and a part of the path tells them apart.
	stub.Plug(t, "lm75", lm75Twin, true)
	told("roof", -10.5)
	bench.Until(t, "case names the two", func() bool {
		d, _ := s.Device("case")
		return d.Status != "ok" && strings.Contains(d.Error, "0-0048") && strings.Contains(d.Error, "0-0049")
	})
	stub.Plug(t, "lm75", lm75Twin, false)
	bench.UntilStatus(t, s, "roof", "absent")
	bench.UntilStatus(t, s, "case", "ok")
}

// A BMP280 as the kernel's industrial I/O reads it, with the registers of the example
// in its data sheet (BST-BMP280-DS001, 3.12): 25.08 °C and 1006.53 hPa.
func TestBoardIIO(t *testing.T) {
	bench.OnBoard(t)
	stub := bench.OnStub(t)
	for i, v := range []int{27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000} {
		stub.Byte(t, bmp280Addr, byte(0x88+2*i), byte(v))
		stub.Byte(t, bmp280Addr, byte(0x88+2*i+1), byte(v>>8))
	}
	const pressure, temperature = 415148, 519888 // of 20 bits
	for i, v := range []int{pressure, temperature} {
		for j, b := range []int{v >> 12, v >> 4, v << 4} {
			stub.Byte(t, bmp280Addr, byte(0xf7+3*i+j), byte(b))
		}
	}
	stub.Byte(t, bmp280Addr, 0xd0, 0x58) // what it is
	plugged(t, stub, "bmp280", bmp280Addr)
	pump := bench.NewPump()
	s := bench.BoardSource(t, pump, spec(t, "iio", "outside: {iio: bmp280, channel: pressure, every: 1s}"),
		spec(t, "iio", "warmth: {iio: bmp280, channel: temp, every: 1s}"))
	defer bench.Start(t, s)()
	for device, want := range map[string]struct {
		low, high float64
		unit      string
	}{"outside": {1006.52, 1006.54, "hPa"}, "warmth": {25.07, 25.09, "°C"}} {
		ev := untilTold(t, pump, device, "a value", func(edge.Event) bool { return true })
		if r := reportOf(t, ev); r.Value == nil || *r.Value < want.low || *r.Value > want.high || r.Unit != want.unit {
			t.Errorf("%s told %s, want %v", device, ev.Data, want)
		}
	}
}
