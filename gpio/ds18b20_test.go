package gpio_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

const (
	probe     = "sys/devices/w1_bus_master1/28-0316a2794fff"
	probeTemp = probe + "/temperature"
	probeOld  = probe + "/w1_slave"
)

// scratchpad is a w1_slave: what was read, whether its checksum is right, and m°C.
func scratchpad(bytes, verdict string, milli int) string {
	return fmt.Sprintf("%s : crc=%s %s\n%s t=%d\n", bytes, bytes[len(bytes)-2:], verdict, bytes, milli)
}

func TestDS18B20(t *testing.T) {
	// The raw values are those of the data sheet's table 1: 0191h is +25.0625 °C.
	warm := scratchpad("91 01 4b 46 7f ff 0f 10 25", "YES", 25062)
	old := func(text string) func(*bench.Bench) {
		return func(b *bench.Bench) {
			b.Remove(t, probeTemp)
			b.Write(t, probeOld, text)
		}
	}
	for _, c := range []struct {
		name, config string
		set          func(*bench.Bench)
		want         string
	}{
		{"auto", "x: {ds18b20: auto}", nil, "19.812 °C"},
		{"id", "x: {ds18b20: 28-0316A2794FFF}", nil, "19.812 °C"},
		{"below zero", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Write(t, probeTemp, "-10125\n") }, "-10.125 °C"},
		{"another family by id", "x: {ds18b20: 10-000801b5a7a6}", func(b *bench.Bench) {
			b.Plug(t, "sys/bus/w1/devices", "w1_bus_master1/10-000801b5a7a6", map[string]string{"temperature": "23500\n"})
		}, "23.5 °C"},
		{"several", "x: {ds18b20: auto}", func(b *bench.Bench) {
			b.Plug(t, "sys/bus/w1/devices", "w1_bus_master2/28-00000a1b2c3d", map[string]string{"temperature": "1000\n"})
		}, "failed: find the DS18B20: there are several, name one by its id: 28-00000a1b2c3d, 28-0316a2794fff"},
		{"none", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Remove(t, "sys/bus/w1/devices/28-0316a2794fff") }, "absent: find sensor 28-*"},
		{"another", "x: {ds18b20: 28-00000a1b2c3d}", nil, "absent: find sensor 28-00000a1b2c3d below sys/bus/w1/devices"},
		{"no bus", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Remove(t, "sys/bus/w1") }, "absent: find 1-wire bus below sys/bus/w1/devices, dtoverlay=w1-gpio"},
		{"empty once", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Sysfs.Answer(probeTemp, "\n", "19000\n") }, "19 °C"},
		{"empty", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Write(t, probeTemp, "") }, "failed: read" /* ... */},
		{"noise", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Sysfs.Fail(probeTemp, unix.EIO, unix.EAGAIN) }, "19.812 °C"},
		{"broken", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Sysfs.FailAlways(probeTemp, unix.EIO) }, "temperature: input/output error, 3 times"},
		{"gone", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Sysfs.FailAlways(probeTemp, unix.ENODEV) }, "absent: read"},
		{"garbage", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Write(t, probeTemp, "t=19812\n") }, "it has no number"},
		{"too hot", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Write(t, probeTemp, "127937\n") }, "doubted: reading 127.937 is outside -55 to 125"},
		{"power-on", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Write(t, probeTemp, "85000\n") }, "null °C, doubted: reading 85 is what a sensor says before its first conversion"},
		{"power-on once", "x: {ds18b20: auto}", func(b *bench.Bench) { b.Sysfs.Answer(probeTemp, "85000\n") }, "19.812 °C"},
		{"old kernel", "x: {ds18b20: auto}", old(warm), "25.062 °C"},
		{"old kernel, wrong checksum", "x: {ds18b20: auto}", old(scratchpad("91 01 4b 46 7f ff 0f 10 26", "NO", 25062)), "w1_slave: the checksum is wrong, 3 times"},
		{"old kernel, wrong once", "x: {ds18b20: auto}", func(b *bench.Bench) {
			old(warm)(b)
			b.Sysfs.Answer(probeOld, scratchpad("ff ff ff ff ff ff ff ff ff", "NO", -62))
		}, "25.062 °C"},
		{"old kernel, shorted", "x: {ds18b20: auto}", old(scratchpad("00 00 00 00 00 00 00 00 00", "YES", 0)), "the data line may be shorted to ground"},
		{"old kernel, power-on", "x: {ds18b20: auto}", old(scratchpad("50 05 4b 46 7f ff 0c 10 1c", "YES", 85000)), "doubted: reading 85"},
		{"old kernel, cut off", "x: {ds18b20: auto}", old("91 01 4b 46 7f ff 0f 10 25 : crc=25 YES\n"), "it has no temperature"},
		{"old kernel, garbage", "x: {ds18b20: auto}", old("YES\nt=\n"), "the kernel gives nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d, _ := sensed(t, "ds18b20", c.config, c.set); !strings.Contains(outcome(d), c.want) {
				t.Errorf("it is %q, want %q", outcome(d), c.want)
			}
		})
	}
}

// A kettle does get to 85 °C; a sensor that was at 20 a moment ago does not.
func TestDS18B20Believes85(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Sysfs.Answer(probeTemp, "79999", "85000", "85000", "80000", "85000", "85000", "84937")
		s := b.Source(t, spec(t, "ds18b20", "x: {ds18b20: auto, every: 10s}"))
		stop := bench.Start(t, s)
		bench.Pass(45 * time.Second)
		stop()
		want := "sample {\"value\":79.999,\"unit\":\"°C\"}\n" +
			"sample {\"value\":null,\"unit\":\"°C\",\"quality\":\"implausible\",\"reading\":\"85\"}\n" +
			"sample {\"value\":80,\"unit\":\"°C\"}\nsample {\"value\":85,\"unit\":\"°C\"}\nsample {\"value\":85,\"unit\":\"°C\"}\n"
		if got := b.Pump.Lines("x"); got != want {
			t.Errorf("it told\n%swant\n%s", got, want)
		}
	})
}

// Sensors of one bus take turns; one that hangs costs those of its bus a bounded wait,
// another bus nothing, and no goroutine for each try.
func TestDS18B20Buses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		b.Plug(t, "sys/bus/w1/devices", "w1_bus_master1/28-000000000001", map[string]string{"temperature": "1000\n"})
		b.Plug(t, "sys/bus/w1/devices", "w1_bus_master2/28-000000000002", map[string]string{"temperature": "2000\n"})
		release := b.Sysfs.Hang(probeTemp)
		s := b.Source(t, spec(t, "ds18b20", "a: {ds18b20: 28-0316a2794fff, every: 10s}"),
			spec(t, "ds18b20", "b: {ds18b20: 28-000000000001, every: 10s}"), spec(t, "ds18b20", "c: {ds18b20: 28-000000000002, every: 10s}"))
		stop := bench.Start(t, s)
		bench.Pass(10 * time.Minute)
		for name, want := range map[string]string{"a": "the bus is held: 1-wire bus w1_bus_master1", "b": "w1_bus_master1 by device a", "c": "2 °C"} {
			if d, _ := s.Device(name); !strings.Contains(outcome(d), want) {
				t.Errorf("%s is %s, want %q", name, outcome(d), want)
			}
		}
		if d, _ := s.Device("b"); d.Restarts < 8 {
			t.Errorf("b waited each time for who can't be waited for: %d tries", d.Restarts)
		}
		if n := b.Sysfs.Calls(probeTemp); n != 1 {
			t.Errorf("the sensor that hangs was read %d times at once", n)
		}
		release()
		bench.Pass(2 * time.Minute)
		for name, want := range map[string]string{"a": "19.812 °C", "b": "1 °C", "c": "2 °C"} {
			if d, _ := s.Device(name); outcome(d) != want {
				t.Errorf("after it %s is %s, want %s", name, outcome(d), want)
			}
		}
		hang := b.Sysfs.Hang(probeTemp)
		bench.Pass(15 * time.Second)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
		hang()
	})
}

// One read at a time on a bus, whatever the number of sensors and devices.
func TestDS18B20TakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		var specs []gpio.Spec
		for i := range 5 {
			id := fmt.Sprintf("28-00000000000%d", i)
			b.Plug(t, "sys/bus/w1/devices", "w1_bus_master1/"+id, map[string]string{"temperature": "1000\n"})
			specs = append(specs, spec(t, "ds18b20", fmt.Sprintf("s%d: {ds18b20: %s, every: 5s}", i, id)))
		}
		turns := make(chan struct{}, 1)
		files := b.Sysfs.Files()
		slow := gpio.Files{Write: files.Write, Read: func(file string) (string, error) {
			select {
			case turns <- struct{}{}:
			default:
				t.Error("two conversions at once on a bus")
			}
			<-time.After(750 * time.Millisecond) // the bubble's time
			<-turns
			return files.Read(file)
		}}
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Root: b.Root, Files: slow})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(time.Minute)
		for _, sp := range specs {
			if d, _ := s.Device(sp.Name); outcome(d) != "1 °C" || d.Restarts != 0 {
				t.Errorf("%s is %s after %d restarts", sp.Name, outcome(d), d.Restarts)
			}
		}
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
		bench.Pass(time.Second) // the conversion that is under way can't be taken back
	})
}
