package gpio_test

import (
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// units are a meter with one value of each kind in it.
func units() *gpiotest.ModbusUnits {
	m := &gpiotest.ModbusUnits{
		Holding: map[uint16]uint16{0: 0xFFFE, 1: 0x8001, 2: 0x41AA, 3: 0x6666, 8: 0x0929, 9: 3},
		Input:   map[uint16]uint16{0: 7, 65535: 9},
		Coil:    map[uint16]bool{3: true}, Discrete: map[uint16]bool{},
	}
	bits := math.Float64bits(-2.5)
	for i := range uint16(4) {
		m.Holding[4+i] = uint16(bits >> (48 - 16*i))
	}
	return m
}

// links runs a test over TCP and over a serial line.
func links(t *testing.T, test func(t *testing.T, b *gpiotest.Bench, m *gpiotest.ModbusUnits, link string)) {
	for _, link := range []string{"tcp://meter.lan", "/dev/ttyUSB9"} {
		t.Run(strings.Trim(link[:4], "/:"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, m := gpiotest.NewBench(t), units()
				b.Peers.Set("meter.lan:502", m.TCP)
				b.Peers.Set("/dev/ttyUSB9", m.RTU)
				test(t, b, m, link)
			})
		})
	}
}

// TestModbusValues: types, words, bits and scales.
func TestModbusValues(t *testing.T) {
	links(t, func(t *testing.T, b *gpiotest.Bench, _ *gpiotest.ModbusUnits, link string) {
		for options, want := range map[string]string{
			"register: '0'":                                      `sample {"value":65534}`,
			"register: holding 0, type: int16":                   `sample {"value":-2}`,
			"register: holding 0, type: uint32":                  `sample {"value":4.294868993e+09}`,
			"register: holding 0, type: int32":                   `sample {"value":-98303}`,
			"register: holding 0, type: int32, words: low_first": `sample {"value":-2.147352578e+09}`,
			"register: holding 0x2, type: float32, unit: °C":     `sample {"value":21.3,"unit":"°C"}`,
			"register: holding 4, type: float64":                 `sample {"value":-2.5}`,
			"register: holding 8, scale: 0.1":                    `sample {"value":234.5}`,
			"register: holding 9, scale: 0.1":                    `sample {"value":0.3}`,
			"register: holding 8, scale: 2, offset: -1":          `sample {"value":4689}`,
			"register: input 65535":                              `sample {"value":9}`,
			"register: coil 3":                                   `change {"value":true}`,
			"register: discrete 3, type: bool":                   `change {"value":false}`,
			"register: holding 1, bit: 15":                       `change {"value":true}`,
			"register: holding 1, bit: 1":                        `change {"value":false}`,
		} {
			b.Pump.Forget()
			stop := gpiotest.Start(t, b.Source(t, spec(t, "modbus", "m: {modbus: '"+link+"', "+options+", every: 10s}")))
			gpiotest.Pass(time.Second)
			if got := strings.TrimSpace(b.Pump.Lines("m")); got != want {
				t.Errorf("%s: %s, want %s", options, got, want)
			}
			stop()
		}
	})
}

// TestModbusBits: a bit is told when it changes.
func TestModbusBits(t *testing.T) {
	links(t, func(t *testing.T, b *gpiotest.Bench, m *gpiotest.ModbusUnits, link string) {
		stop := gpiotest.Start(t, b.Source(t, spec(t, "modbus", "m: {modbus: '"+link+"', register: coil 3, every: 1s, report: {heartbeat: 1h}}")))
		gpiotest.Pass(10*time.Second + 500*time.Millisecond)
		m.SetCoil(3, false)
		gpiotest.Pass(10 * time.Second)
		if got := b.Pump.Lines("m"); got != "change {\"value\":true}\nchange {\"value\":false}\n" {
			t.Error(got)
		}
		stop()
	})
}

// TestModbusFaults: what goes wrong is tried again, three times in all, and then told.
func TestModbusFaults(t *testing.T) {
	links(t, func(t *testing.T, b *gpiotest.Bench, m *gpiotest.ModbusUnits, link string) {
		s := b.Source(t, spec(t, "modbus", "m: {modbus: '"+link+"', unit_id: 3, register: input 0, every: 1h}"))
		serial := link[0] == '/'
		for _, c := range []struct {
			faults []gpiotest.ModbusFault
			tries  int    // requests until the status is settled
			want   string // of status and error
		}{
			{nil, 1, "ok "},
			{[]gpiotest.ModbusFault{gpiotest.FaultSilent, gpiotest.FaultShort}, 3, "ok "},
			{[]gpiotest.ModbusFault{gpiotest.FaultReset, gpiotest.FaultReset}, 3, "ok "},
			{[]gpiotest.ModbusFault{gpiotest.FaultOther, gpiotest.FaultGarbage}, 3, "ok "},
			{[]gpiotest.ModbusFault{gpiotest.FaultException}, 1, "failed ask unit 3 on LINK: illegal data address (exception 2)"},
			{[]gpiotest.ModbusFault{gpiotest.FaultSilent, gpiotest.FaultSilent, gpiotest.FaultSilent}, 3, "absent ask unit 3 on LINK: no answer within 1s"},
			{[]gpiotest.ModbusFault{gpiotest.FaultOther, gpiotest.FaultOther, gpiotest.FaultOther}, 3, "failed ask unit 3 on LINK: what came is no answer: it is of unit 4"},
			{[]gpiotest.ModbusFault{gpiotest.FaultGarbage, gpiotest.FaultGarbage, gpiotest.FaultGarbage}, 3, "failed ask unit 3 on LINK: what came is no answer"},
			{[]gpiotest.ModbusFault{gpiotest.FaultShort, gpiotest.FaultShort, gpiotest.FaultShort}, 3, map[bool]string{true: "failed ask unit 3 on LINK: what came is no answer: it is cut short, 4 bytes of 7", false: "absent ask"}[serial]},
			{[]gpiotest.ModbusFault{gpiotest.FaultReset, gpiotest.FaultReset, gpiotest.FaultReset}, 3, "failed ask unit 3 on LINK: read: the peer closed"},
			{[]gpiotest.ModbusFault{gpiotest.FaultCRC, gpiotest.FaultCRC}, map[bool]int{true: 3, false: 1}[serial], "ok "},
			{[]gpiotest.ModbusFault{gpiotest.FaultCRC, gpiotest.FaultCRC, gpiotest.FaultCRC}, 3, "failed ask unit 3 on LINK: what came is no answer: its CRC is wrong"},
			{[]gpiotest.ModbusFault{gpiotest.FaultNoise}, map[bool]int{true: 1, false: 2}[serial], "ok "},
		} {
			reset := len(c.faults) > 0 && c.faults[0] == gpiotest.FaultReset
			if serial && reset || !serial && len(c.faults) == 3 && c.faults[0] == gpiotest.FaultCRC {
				continue // a port that ends is gone, which TestModbusComesBack has; TCP has no CRC
			}
			before, _ := m.Asked()
			m.Fail(c.faults...)
			began := time.Now()
			stop := gpiotest.Start(t, s)
			status := ""
			for range 400 { // the first thing that is known of it
				<-time.After(10 * time.Millisecond)
				if n, _ := m.Asked(); n-before < c.tries {
					continue
				}
				synctest.Wait()
				d, _ := s.Device("m")
				status = d.Status + " " + d.Error
				if c.want == "ok " && d.Status == "ok" || d.Error != "" {
					break
				}
			}
			want := strings.ReplaceAll(c.want, "LINK", map[bool]string{true: "/dev/ttyUSB9", false: "meter.lan:502"}[serial])
			after, _ := m.Asked()
			if !strings.HasPrefix(status, want) || after-before != c.tries {
				t.Errorf("%v: %d requests, %s; want %d, %s", c.faults, after-before, status, c.tries, want)
			}
			if took := time.Since(began); serial && len(c.faults) == 3 && strings.Contains("short crc", string(c.faults[0])) && took > 500*time.Millisecond {
				t.Errorf("%v: it took %s to see that no more comes", c.faults, took)
			}
			stop()
			m.Fail()
			wellAgain(t, s, c.faults)
		}
	})
}

// wellAgain checks that nothing of the faults is left.
func wellAgain(t *testing.T, s *gpio.Source, after []gpiotest.ModbusFault) {
	t.Helper()
	stop := gpiotest.Start(t, s)
	defer stop()
	gpiotest.Pass(10 * time.Second)
	if d, _ := s.Device("m"); d.Status != "ok" || string(d.Value) != "7" {
		t.Errorf("after %v: %+v", after, d)
	}
}

// TestModbusLateAnswer: what comes after its time is not taken for the answer to
// another question.
func TestModbusLateAnswer(t *testing.T) {
	links(t, func(t *testing.T, b *gpiotest.Bench, m *gpiotest.ModbusUnits, link string) {
		s := b.Source(t,
			spec(t, "modbus", "a: {modbus: '"+link+"', register: input 0, every: 1h}"),
			spec(t, "modbus", "b: {modbus: '"+link+"', register: input 65535, every: 1s}"))
		for _, late := range []int{1, 2, 3, 4} {
			faults := make([]gpiotest.ModbusFault, late)
			for i := range faults {
				faults[i] = gpiotest.FaultLate
			}
			m.Fail(faults...)
			stop := gpiotest.Start(t, s)
			gpiotest.Pass(time.Minute)
			stop()
			gpiotest.Pass(2 * time.Second)
		}
		told := map[string]int{}
		for _, name := range []string{"a", "b"} {
			for line := range strings.Lines(b.Pump.Lines(name)) {
				told[name+" "+strings.TrimSpace(line)]++
			}
		}
		if len(told) != 2 || told[`a sample {"value":7}`] < 4 || told[`b sample {"value":9}`] < 100 {
			t.Error(told)
		}
	})
}

// TestModbusShares: devices share a link and take turns; a unit that is dead costs its
// neighbours a timeout at most, and no neighbour of it closes their connection.
func TestModbusShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := gpiotest.NewBench(t), units()
		dead := true
		b.Peers.Set("meter.lan:502", func(c net.Conn) {
			if dead { // the peer is there and says nothing: half open
				dead = false
				buf := make([]byte, 100)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
				}
			}
			m.TCP(c)
		})
		var specs []gpio.Spec
		for i := range 5 {
			specs = append(specs, spec(t, "modbus", fmt.Sprintf("m%d: {modbus: 'tcp://meter.lan:502', register: input 0, every: 1s}", i)))
		}
		s := b.Source(t, specs...)
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(30 * time.Second)
		for _, d := range s.Devices() {
			if d.Status != "ok" {
				t.Errorf("%+v", d)
			}
		}
		if n, c := m.Asked(); c != 1 || n < 100 {
			t.Errorf("%d requests on %d connections", n, c)
		}
		if took := stop(); took > time.Second {
			t.Error(took)
		}
	})
}

// TestModbusStops: it lets go of a silent unit as soon as it is told to.
func TestModbusStops(t *testing.T) {
	links(t, func(t *testing.T, b *gpiotest.Bench, m *gpiotest.ModbusUnits, link string) {
		m.Fail(gpiotest.FaultSilent, gpiotest.FaultSilent, gpiotest.FaultSilent)
		s := b.Source(t,
			spec(t, "modbus", "a: {modbus: '"+link+"', register: input 0, timeout: 5s}"),
			spec(t, "modbus", "b: {modbus: '"+link+"', register: input 0, timeout: 5s}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(2 * time.Second)
		if took := stop(); took > 10*time.Millisecond {
			t.Errorf("it took %s to stop", took)
		}
	})
}

// TestModbusComesBack: a port that is unplugged is absent, and found again.
func TestModbusComesBack(t *testing.T) {
	links(t, func(t *testing.T, b *gpiotest.Bench, m *gpiotest.ModbusUnits, link string) {
		s := b.Source(t, spec(t, "modbus", "m: {modbus: '"+link+"', register: input 0, every: 1s}"))
		stop := gpiotest.Start(t, s)
		defer stop()
		status := func(want string) {
			t.Helper()
			if d, _ := s.Device("m"); d.Status != want {
				t.Errorf("it is %s (%s), not %s", d.Status, d.Error, want)
			}
		}
		gpiotest.Pass(5*time.Second + 500*time.Millisecond)
		status("ok")
		b.Peers.Set("meter.lan:502", nil)
		b.Peers.Set("/dev/ttyUSB9", nil)
		m.Fail(gpiotest.FaultReset)
		gpiotest.Pass(10 * time.Second)
		status("absent")
		b.Peers.Set("meter.lan:502", m.TCP)
		b.Peers.Set("/dev/ttyUSB9", m.RTU)
		gpiotest.Pass(time.Minute)
		status("ok")
	})
}

// TestModbusOneBadFrame: an answer that is damaged came, so no other is waited for.
func TestModbusOneBadFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := gpiotest.NewBench(t), units()
		b.Peers.Set("/dev/ttyUSB9", m.RTU)
		m.Fail("", "", gpiotest.FaultCRC, "", "", gpiotest.FaultShort)
		const line = ": {modbus: /dev/ttyUSB9, every: 1s, timeout: 5s, register: input "
		s := b.Source(t, spec(t, "modbus", "a"+line+"0}"), spec(t, "modbus", "b"+line+"65535}"), spec(t, "modbus", "c"+line+"0, unit_id: 2}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(29*time.Second + 900*time.Millisecond)
		for _, name := range []string{"a", "b", "c"} {
			d, _ := s.Device(name)
			if n := strings.Count(b.Pump.Lines(name), "\n"); n < 30 || d.Status != "ok" || d.Restarts != 0 {
				t.Errorf("%d readings: %+v", n, d)
			}
		}
		stop()
	})
}

// TestModbusEcho: a line that gives back what is sent does no harm.
func TestModbusEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := gpiotest.NewBench(t), units()
		m.Echo = true
		m.Holding[0x0200] = 5 // the answer's size is the high byte of its address
		b.Peers.Set("/dev/ttyUSB9", m.RTU)
		stop := gpiotest.Start(t, b.Source(t, spec(t, "modbus", "m: {modbus: /dev/ttyUSB9, register: holding 0x0200, every: 1h}")))
		gpiotest.Pass(time.Second)
		if got := b.Pump.Lines("m"); got != "sample {\"value\":5}\n" {
			t.Error(got)
		}
		stop()
	})
}

// TestModbusOptions: what can't work is refused.
func TestModbusOptions(t *testing.T) {
	b := gpiotest.NewBench(t)
	for options, want := range map[string]string{
		"modbus: ttyUSB0, register: input 0":                    "it is tcp://HOST",
		"modbus: 'tcp://a/b', register: input 0":                "it is tcp://HOST",
		"modbus: 'udp://a', register: input 0":                  "it is tcp://HOST",
		"modbus: 'tcp://a'":                                     "register is missing",
		"modbus: 'tcp://a', register: input 65535, type: int32": "goes beyond 65535",
		"modbus: 'tcp://a', register: coil 0, type: int16":      "type int16 is not possible: coil 0",
		"modbus: 'tcp://a', register: input 0, type: bool":      "type bool is not possible",
		"modbus: 'tcp://a', register: input 0, bit: 16":         "bit is 16",
		"modbus: 'tcp://a', register: input 0, scale: 0":        "scale is 0",
		"modbus: 'tcp://a', register: input 0, timeout: 6s":     "timeout is 6s",
		"modbus: 'tcp://a', register: input 0, unit_id: 256":    "unit_id is 256",
		"modbus: 'tcp://a', register: input 0, every: 0s":       "every is 0s: it must be more than 0",
		"modbus: /dev/x, register: input 0, unit_id: 0":         "unit_id is 0: it is 1 to 247",
		"modbus: /dev/x, register: input 0, data_bits: 7":       "RTU has 8",
		"modbus: /dev/y, register: input 0, baud: 19200":        "set up for 9600 8N1 by another device",
	} {
		_, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Specs: []gpio.Spec{
			spec(t, "modbus", "first: {modbus: /dev/y, register: input 0}"), spec(t, "modbus", "m: {"+options+"}")}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
	var r gpio.ModbusRegister
	for _, bad := range []string{"", "input", "input -1", "input 65536", "inputs 1", "input 1 2", "40001x"} {
		if err := r.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a register", bad)
		}
	}
}
