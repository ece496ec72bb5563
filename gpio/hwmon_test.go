package gpio_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// sensed runs a device on a bench for a minute and gives its status.
func sensed(t *testing.T, driver, example string, set func(*bench.Bench)) (d edge.DeviceStatus, lines string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		if set != nil {
			set(b)
		}
		sp := spec(t, driver, example)
		s := b.Source(t, sp)
		stop := bench.Start(t, s)
		bench.Pass(59 * time.Second)
		d, _ = s.Device(sp.Name)
		lines = b.Pump.Lines(sp.Name)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
	return d, lines
}

// outcome is a status in short: the value, or what is wrong.
func outcome(d edge.DeviceStatus) string {
	if d.Status != "ok" {
		return d.Status + ": " + d.Error
	}
	if d.Error != "" {
		return string(d.Value) + " " + d.Unit + ", doubted: " + d.Error
	}
	return string(d.Value) + " " + d.Unit
}

const lm75 = "sys/devices/platform/soc/i2c-1/1-0048/hwmon/hwmon0"

func TestHwmon(t *testing.T) {
	other := func(b *bench.Bench) {
		b.Plug(t, "sys/class/hwmon", "platform/soc/i2c-3/3-0049/hwmon/hwmon1", map[string]string{"name": "lm75\n", "temp1_input": "7000\n"})
	}
	for _, c := range []struct {
		name, config string
		set          func(*bench.Bench)
		want         string // a part of it
	}{
		{"temperature", "x: {hwmon: lm75}", nil, "21.5 °C"},
		{"below zero", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Write(t, lm75+"/temp1_input", "-10125\n") }, "-10.125 °C"},
		{"voltage", "x: {hwmon: lm75, input: in0}", func(b *bench.Bench) { b.Write(t, lm75+"/in0_input", "5123\n") }, "5.123 V"},
		{"current", "x: {hwmon: lm75, input: curr1}", func(b *bench.Bench) { b.Write(t, lm75+"/curr1_input", "250\n") }, "0.25 A"},
		{"power", "x: {hwmon: lm75, input: power1}", func(b *bench.Bench) { b.Write(t, lm75+"/power1_input", "1250000\n") }, "1.25 W"},
		{"average power", "x: {hwmon: lm75, input: power1}", func(b *bench.Bench) { b.Write(t, lm75+"/power1_average", "1500000\n") }, "1.5 W"},
		{"energy", "x: {hwmon: lm75, input: energy1}", func(b *bench.Bench) { b.Write(t, lm75+"/energy1_input", "42000000\n") }, "42 J"},
		{"humidity", "x: {hwmon: lm75, input: humidity1}", func(b *bench.Bench) { b.Write(t, lm75+"/humidity1_input", "45300\n") }, "45.3 %"},
		{"fan", "x: {hwmon: lm75, input: fan1}", func(b *bench.Bench) { b.Write(t, lm75+"/fan1_input", "2770\n") }, "2770 rpm"},
		{"label", "x: {hwmon: lm75, input: Case}", func(b *bench.Bench) {
			b.Write(t, lm75+"/temp2_input", "33000\n")
			b.Write(t, lm75+"/temp2_label", "Case\n")
		}, "33 °C"},
		{"old chip", "x: {hwmon: w83627}", func(b *bench.Bench) {
			b.Plug(t, "sys/class/hwmon", "platform/w83627/hwmon/hwmon7", map[string]string{"device/name": "w83627\n", "device/temp1_input": "40000\n"})
		}, "40 °C"},
		{"path", "x: {hwmon: i2c-3/3-0049}", other, "7 °C"},
		{"several", "x: {hwmon: lm75}", other, "failed: find hwmon chip \"lm75\": there are several, name one by a part of its path: /sys/devices/platform/soc/i2c-1/1-0048, /sys/devices/platform/soc/i2c-3/3-0049"},
		{"no chip", "x: {hwmon: lm77}", nil, `absent: find hwmon chip "lm77", there is lm75: absent`},
		{"no input", "x: {hwmon: lm75, input: temp2}", nil, "absent: find input temp2 of hwmon chip lm75, it has temp1: absent"},
		{"garbage", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Write(t, lm75+"/temp1_input", "hot\n") }, `it has no number: "hot"`},
		{"empty", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Write(t, lm75+"/temp1_input", "") }, "temp1_input: the kernel gives nothing, 3 times"},
		{"noise", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Sysfs.Fail(lm75+"/temp1_input", unix.EIO, unix.EIO) }, "21.5 °C"},
		{"broken", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Sysfs.FailAlways(lm75+"/temp1_input", unix.EIO) }, "temp1_input: input/output error, 3 times"},
		{"switched off", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Sysfs.FailAlways(lm75+"/temp1_input", unix.ENODATA) }, "temp1_enable turns it on"},
		{"fault", "x: {hwmon: lm75}", func(b *bench.Bench) { b.Write(t, lm75+"/temp1_fault", "1\n") }, "null °C, doubted: reading 21.5 is of a sensor that the chip calls broken"},
		{"out of range", "x: {hwmon: lm75, accept: {min: 30, max: 40}}", nil, "null °C, doubted: reading 21.5 is outside 30 to 40"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d, _ := sensed(t, "hwmon", c.config, c.set); !strings.Contains(outcome(d), c.want) {
				t.Errorf("it is %q, want %q", outcome(d), c.want)
			}
		})
	}
}

// A chip that comes back under another number is found again, and one that took its
// number is not taken for it.
func TestHwmonFollowsItsChip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "hwmon", "x: {hwmon: lm75, every: 10s}"))
		defer bench.Start(t, s)()
		bench.Pass(time.Second)
		b.Remove(t, "sys/class/hwmon/hwmon0")
		b.Remove(t, lm75)
		b.Plug(t, "sys/class/hwmon", "platform/nvme/hwmon/hwmon0", map[string]string{"name": "nvme\n", "temp1_input": "66000\n"})
		bench.Pass(15 * time.Second)
		if d, _ := s.Device("x"); d.Status != "absent" || string(d.Value) != "21.5" {
			t.Errorf("without the chip it is %+v", d)
		}
		b.Plug(t, "sys/class/hwmon", "platform/soc/i2c-1/1-0048/hwmon/hwmon5", map[string]string{"name": "lm75\n", "temp1_input": "22500\n"})
		bench.Pass(time.Minute)
		if d, _ := s.Device("x"); outcome(d) != "22.5 °C" {
			t.Errorf("with the chip it is %s", outcome(d))
		}
		if lines := b.Pump.Lines("x"); strings.Contains(lines, "66") {
			t.Errorf("another chip's reading: %s", lines)
		}
	})
}

func TestSensorsRefuse(t *testing.T) {
	for _, c := range []struct{ driver, config, want string }{
		{"hwmon", "x: {hwmon: \"\"}", "hwmon and input must not be empty"},
		{"hwmon", "x: {hwmon: lm75, every: 0s}", "every is 0s: it must be more than 0"},
		{"ds18b20", "x: {ds18b20: 28-1}", `ds18b20 "28-1": it is auto, or an id like 28-0316a2794fff`},
		{"ds18b20", "x: {ds18b20: ../../28-0316a2794fff}", "it is auto, or an id"},
		{"ds18b20", "x: {ds18b20: 01-0316a2794fff}", "it is auto, or an id"},
		{"iio", "x: {iio: \"\"}", "iio is empty"},
		{"iio", "x: {iio: adc, channel: ../temp}", `channel "../temp": it is like temp or voltage0`},
		{"dht22", "x: {dht22: kitchen}", `dht22 "kitchen": it is auto, or a line like GPIO4`},
		{"dht22", "x: {dht22: GPIO99}", "the highest line is GPIO53"},
		{"dht22", "x: {dht22: auto, every: 5s}", "every is 5s: it must be at least 10s"},
		{"pwm", "x: {pwm: GPIO17}", "pwm: GPIO17 has no hardware PWM, GPIO12, GPIO13, GPIO18, GPIO19 have"},
		{"pwm", "x: {pwm: fan}", `pwm "fan": it is GPIO12`},
		{"pwm", "x: {pwm: chip/x}", `pwm "chip/x": it is GPIO12`},
		{"pwm", "x: {pwm: GPIO18, frequency: 0Hz}", "frequency is 0Hz: it can be 1Hz to 10MHz"},
		{"pwm", "x: {pwm: GPIO18, frequency: 20MHz}", "frequency is 20MHz: it can be 1Hz to 10MHz"},
	} {
		b := bench.NewBench(t)
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, c.driver, c.config)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.config, err, c.want)
		}
	}
}
