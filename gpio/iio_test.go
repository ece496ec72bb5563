package gpio_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	bench "fieldpost/gpio/gpiotest"
)

const (
	bmp  = "sys/devices/platform/soc/i2c-1/1-0076/iio:device0"
	dht  = "sys/devices/platform/dht11@4/iio:device1"
	dhtT = dht + "/in_temp_input"
	dhtH = dht + "/in_humidityrelative_input"
)

func TestIIO(t *testing.T) {
	adc := func(files map[string]string) func(*bench.Bench) {
		return func(b *bench.Bench) {
			files["name"] = "ads1015\n"
			b.Plug(t, "sys/bus/iio/devices", "platform/soc/i2c-1/1-0049/iio:device2", files)
		}
	}
	for _, c := range []struct {
		name, config string
		set          func(*bench.Bench)
		want         string
	}{
		{"processed", "x: {iio: bmp280, channel: temp}", nil, "21.37 °C"},
		{"pressure", "x: {iio: bmp280, channel: pressure}", nil, "1013.25 hPa"},
		{"no noise of the float", "x: {iio: bmp280, channel: pressure}", func(b *bench.Bench) { b.Write(t, bmp+"/in_pressure_input", "101.3\n") }, "1013 hPa"},
		{"humidity", "x: {iio: dht11@4, channel: humidityrelative}", nil, "61.2 %"},
		{"raw, its own scale", "x: {iio: ads1015, channel: voltage0}", adc(map[string]string{"in_voltage0_raw": "1648\n", "in_voltage0_scale": "2.000000000\n"}), "3.296 V"},
		{"raw, a shared scale", "x: {iio: ads1015, channel: voltage2}", adc(map[string]string{"in_voltage2_raw": "100\n", "in_voltage_scale": "0.5\n"}), "0.05 V"},
		{"raw, differential", "x: {iio: ads1015, channel: voltage0-voltage1}", adc(map[string]string{"in_voltage0-voltage1_raw": "-100\n", "in_voltage-voltage_scale": "3\n", "in_voltage_scale": "9\n"}), "-0.3 V"},
		{"raw, with an offset", "x: {iio: ads1015, channel: temp}", adc(map[string]string{"in_temp_raw": "3083\n", "in_temp_scale": "7.812500\n", "in_temp_offset": "-83\n"}), "23.4375 °C"},
		{"raw, an axis", "x: {iio: ads1015, channel: accel_x}", adc(map[string]string{"in_accel_x_raw": "256\n", "in_accel_scale": "0.038344\n"}), "9.816064 m/s²"},
		{"raw, no scale", "x: {iio: ads1015, channel: current0}", adc(map[string]string{"in_current0_raw": "500\n"}), "0.5 A"},
		{"no unit", "x: {iio: ads1015, channel: intensity0}", adc(map[string]string{"in_intensity0_raw": "77\n"}), "77 "},
		{"label", "x: {iio: tank, channel: voltage0}", adc(map[string]string{"label": "tank\n", "in_voltage0_raw": "1000\n"}), "1 V"},
		{"path", "x: {iio: 1-0076, channel: temp}", nil, "21.37 °C"},
		{"several", "x: {iio: bmp280}", func(b *bench.Bench) {
			b.Plug(t, "sys/bus/iio/devices", "platform/soc/i2c-1/1-0077/iio:device3", map[string]string{"name": "bmp280\n", "in_temp_input": "1\n"})
		}, "there are several, name one by a part of its path: /sys/devices/platform/soc/i2c-1/1-0076, /sys/devices/platform/soc/i2c-1/1-0077"},
		{"no device", "x: {iio: bh1750}", nil, `absent: find iio device "bh1750", there is bmp280, dht11@4: absent`},
		{"no channel", "x: {iio: bmp280, channel: voltage0}", nil, "it has pressure, temp"},
		{"noise", "x: {iio: bmp280}", func(b *bench.Bench) { b.Sysfs.Fail(bmp+"/in_temp_input", unix.EIO, unix.ETIMEDOUT) }, "21.37 °C"},
		{"broken", "x: {iio: bmp280}", func(b *bench.Bench) { b.Sysfs.FailAlways(bmp+"/in_temp_input", unix.ETIMEDOUT) }, "in_temp_input: connection timed out, 3 times"},
		{"refused", "x: {iio: bmp280}", func(b *bench.Bench) { b.Sysfs.FailAlways(bmp+"/in_temp_input", unix.EBUSY) }, "failed: read"},
		{"gone", "x: {iio: bmp280}", func(b *bench.Bench) { b.Sysfs.FailAlways(bmp+"/in_temp_input", unix.ENODEV) }, "absent: read"},
		{"garbage", "x: {iio: bmp280}", func(b *bench.Bench) { b.Write(t, bmp+"/in_temp_input", "nan\n") }, `it has no number: "nan"`},
		{"garbled scale", "x: {iio: ads1015, channel: voltage0}", adc(map[string]string{"in_voltage0_raw": "1\n", "in_voltage0_scale": "x\n"}), "in_voltage0_scale: it has no number"},
		{"empty", "x: {iio: bmp280}", func(b *bench.Bench) { b.Write(t, bmp+"/in_temp_input", "") }, "the kernel gives nothing, 3 times"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d, _ := sensed(t, "iio", c.config, c.set); !strings.Contains(outcome(d), c.want) {
				t.Errorf("it is %q, want %q", outcome(d), c.want)
			}
		})
	}
}

func TestDHT22(t *testing.T) {
	second := func(b *bench.Bench) {
		b.Plug(t, "sys/bus/iio/devices", "platform/humidity-sensor/iio:device9", map[string]string{"name": "humidity-sensor\n", "in_temp_input": "5000\n", "in_humidityrelative_input": "80000\n",
			"of_node/compatible": "dht11\x00", "of_node/gpios": "\x00\x00\x00\x07\x00\x00\x00\x0a\x00\x00\x00\x00"})
	}
	for _, c := range []struct {
		name, config string
		set          func(*bench.Bench)
		want, told   string
	}{
		{"auto", "x: {dht22: auto}", nil, "18.6 °C", `"humidity":61.2`},
		{"line", "x: {dht22: P1_7}", second, "18.6 °C", `"humidity":61.2`},
		{"another line", "x: {dht22: GPIO10}", second, "5 °C", `"humidity":80`},
		{"several", "x: {dht22: auto}", second, "failed: find the sensor: there are several, name one by its line: GPIO4, GPIO10", ""},
		{"no such line", "x: {dht22: GPIO5}", nil, "absent: find the sensor at GPIO5, there is one at GPIO4: absent", ""},
		{"unknown line", "x: {dht22: GPIO4}", func(b *bench.Bench) { b.Remove(t, dht+"/of_node") }, "absent: find the sensor at GPIO4: the device tree does not tell the line: write dht22: auto", ""},
		{"unknown line, auto", "x: {dht22: auto}", func(b *bench.Bench) { b.Remove(t, dht+"/of_node") }, "18.6 °C", ""},
		{"none", "x: {dht22: auto}", func(b *bench.Bench) { b.Remove(t, "sys/bus/iio/devices/iio:device1") }, "absent: find a dht11 below sys/bus/iio/devices, dtoverlay=dht11", ""},
		{"the middle", "x: {dht22: auto}", func(b *bench.Bench) {
			b.Sysfs.Answer(dhtT, "20000", "35000", "20200")
			b.Sysfs.Answer(dhtH, "50000", "12000", "50400")
		}, "20.2 °C", `"humidity":50`},
		{"one of three", "x: {dht22: auto}", func(b *bench.Bench) {
			b.Sysfs.Fail(dhtT, unix.EIO)
			b.Sysfs.Answer(dhtT, "20000", "21000")
			b.Sysfs.Fail(dhtH, nil, unix.ETIMEDOUT)
		}, "20 °C", `"humidity":61.2`},
		{"between two", "x: {dht22: auto}", func(b *bench.Bench) {
			b.Sysfs.Fail(dhtT, unix.EIO)
			b.Sysfs.Answer(dhtT, "20000", "21000")
		}, "20.5 °C", `"humidity":61.2`},
		{"zeros are dropped", "x: {dht22: auto}", func(b *bench.Bench) {
			b.Sysfs.Answer(dhtT, "0", "0")
			b.Sysfs.Answer(dhtH, "0", "0")
		}, "18.6 °C", `"humidity":61.2`},
		{"freezing is not", "x: {dht22: auto}", func(b *bench.Bench) { b.Write(t, dhtT, "0\n") }, "0 °C", `"humidity":61.2`},
		{"only zeros", "x: {dht22: auto}", func(b *bench.Bench) { b.Write(t, dhtT, "0\n"); b.Write(t, dhtH, "0\n") }, "null °C, doubted: reading 0 is impossible: the sensor says 0 °C and 0 %", ""},
		{"too wet", "x: {dht22: auto}", func(b *bench.Bench) { b.Write(t, dhtH, "127500\n") }, "doubted: reading 0 is impossible: the sensor says 18.6 °C and 127.5 %", ""},
		{"too hot", "x: {dht22: auto}", func(b *bench.Bench) { b.Write(t, dhtT, "127000\n") }, "is impossible: the sensor says 127 °C", ""},
		{"silent", "x: {dht22: auto}", func(b *bench.Bench) { b.Sysfs.FailAlways(dhtT, unix.ETIMEDOUT) }, "in_temp_input: connection timed out, 3 times", ""},
		{"gone", "x: {dht22: auto}", func(b *bench.Bench) { b.Sysfs.FailAlways(dhtH, unix.ENODEV) }, "absent: read", ""},
		{"garbage", "x: {dht22: auto}", func(b *bench.Bench) { b.Write(t, dhtT, "?\n") }, "it has no number", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, told := sensed(t, "dht22", c.config, c.set)
			if !strings.Contains(outcome(d), c.want) || !strings.Contains(told, c.told) {
				t.Errorf("it is %q and told %s, want %q", outcome(d), told, c.want)
			}
		})
	}
}

// The sensor is left alone for 2 s between readings.
func TestDHT22Waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		stop := bench.Start(t, b.Source(t, spec(t, "dht22", "x: {dht22: auto, every: 10s}")))
		defer stop()
		for i, want := range []int{1, 2, 3, 3, 3} {
			at := []time.Duration{2 * time.Second, 2100 * time.Millisecond, 2100 * time.Millisecond, 3 * time.Second, 700 * time.Millisecond}[i]
			bench.Pass(at)
			if n := b.Sysfs.Calls(dhtT); n != want {
				t.Errorf("step %d: it was read %d times, want %d", i, n, want)
			}
		}
	})
}
