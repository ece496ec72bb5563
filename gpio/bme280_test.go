package gpio_test

import (
	"encoding/json"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/bmxx80"

	"fieldpost/gpio/gpiotest"
)

// The worked example of Bosch's data sheet of the BMP280 (BST-BMP280-DS001 rev. 1.19,
// section 3.12): 519888 and 415148 are 25.08 °C and 100653.27 Pa, in double precision.
// The humidity is what the 32-bit formula of BST-BME280-DS002, section 4.2.3, gives.
func TestBME280Values(t *testing.T) {
	for _, c := range []struct {
		name     string
		id       byte
		poke     func(*gpiotest.BME280)
		temp, pr uint32
		hum      uint16
		want     string
	}{
		{"the worked example", 0x60, nil, 519888, 415148, 0x6b00, `sample {"value":25.08,"unit":"°C","humidity":40.47,"pressure":1006.53}`},
		{"a BMP280", 0x58, nil, 519888, 415148, 0, `sample {"value":25.08,"unit":"°C","pressure":1006.53}`},
		{"no humidity", 0x60, nil, 519888, 415148, 0x8000, `sample {"value":25.08,"unit":"°C","pressure":1006.53}`},
		{"no pressure", 0x60, nil, 519888, 0x80000, 0x6b00, `sample {"value":25.08,"unit":"°C","humidity":40.47}`},
		{"a pressure that can't be", 0x60, nil, 519888, 0xffff0, 0x6b00, `sample {"value":25.08,"unit":"°C","humidity":40.47}`},
		{"air that drips", 0x60, nil, 519888, 415148, 0xfff0, `sample {"value":25.08,"unit":"°C","humidity":100,"pressure":1006.53}`},
		{"signed words", 0x60, func(p *gpiotest.BME280) { p.Poke(0xe4, 0xff, 0x9d, 0xff) }, 519888, 415148, 0x2000, `sample {"value":25.08,"unit":"°C","humidity":47.18,"pressure":1006.53}`},
		{"too hot to be so", 0x60, nil, 900000, 415148, 0x6b00, `sample {"value":null,"unit":"°C","quality":"implausible","reading":"142.53"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := gpiotest.NewBench(t)
				part := gpiotest.NewBME280(c.id)
				part.Measures(c.temp, c.pr, c.hum)
				if c.poke != nil {
					c.poke(part)
				}
				b.I2C.Add(0x77, &part.I2CPart)
				stop := gpiotest.Start(t, b.Source(t, spec(t, "bme280", "air: {bme280: 0x77}")))
				gpiotest.Pass(29 * time.Second)
				if got := only(t, b, "air"); got != c.want {
					t.Errorf("it told %s", got)
				}
				if part.Resets != 1 {
					t.Errorf("it was reset %d times", part.Resets)
				}
				if mode := part.Peek(0xf4, 1)[0] & 3; mode != 0 {
					t.Errorf("it is in mode %d between measurements", mode)
				}
				stop()
			})
		})
	}
}

// periph's own driver, whose formulas are the integer ones, reads the same of the part.
func TestBME280AgreesWithPeriph(t *testing.T) {
	for _, raw := range []struct {
		temp, pr uint32
		hum      uint16
	}{{519888, 415148, 0x6b00}, {450000, 340000, 0x5000}, {560000, 380000, 0x7400}} {
		var ours struct{ Value, Humidity, Pressure float64 }
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			b.Air.Measures(raw.temp, raw.pr, raw.hum)
			stop := gpiotest.Start(t, b.Source(t, spec(t, "bme280", "air: {bme280: 0x76}")))
			gpiotest.Pass(time.Second)
			stop()
			if err := json.Unmarshal(b.Pump.Events("air")[0].Data, &ours); err != nil {
				t.Fatal(err)
			}
			bus, err := b.I2C.Open("")
			if err != nil {
				t.Fatal(err)
			}
			dev, err := bmxx80.NewI2C(bus, 0x76, &bmxx80.Opts{Temperature: bmxx80.O1x, Pressure: bmxx80.O1x, Humidity: bmxx80.O1x})
			if err != nil {
				t.Fatal(err)
			}
			var e physic.Env
			if err := dev.Sense(&e); err != nil {
				t.Fatal(err)
			}
			theirs := [3]float64{e.Temperature.Celsius(), float64(e.Humidity) / float64(physic.PercentRH), float64(e.Pressure) / float64(100*physic.Pascal)}
			for i, v := range [3]float64{ours.Value, ours.Humidity, ours.Pressure} {
				if math.Abs(v-theirs[i]) > 0.05 {
					t.Errorf("%+v: we read %+v, periph %v", raw, ours, theirs)
				}
			}
		})
	}
}

// What is wrong with the calibration is found before anything is told.
func TestBME280Calibration(t *testing.T) {
	for _, c := range []struct {
		name string
		reg  int
		b    []byte
		says string
	}{
		{"none", 0x88, make([]byte, 26), "word 0x88 is 0x0000"},
		{"no P1", 0x8e, []byte{0, 0}, "word 0x8e is 0x0000"},
		{"broke off", 0x9a, []byte{255, 255, 255, 255, 255, 255}, "it broke off after 18 bytes"},
		{"none for humidity", 0xe1, make([]byte, 7), "that of humidity is 00 00 00 00 00 00 00"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			b.Air.Poke(c.reg, c.b...)
			s := b.Source(t, spec(t, "bme280", "air: {bme280: 0x76}"))
			stop := gpiotest.Start(t, s)
			gpiotest.Pass(10 * time.Second)
			if d, _ := s.Device("air"); d.Status != "failed" || d.Error != "read calibration of the BME280 at 0x76: "+c.says {
				t.Errorf("%s: %+v", c.name, d)
			}
			if got := b.Pump.Lines("air"); got != "" {
				t.Errorf("%s: it told %s", c.name, got)
			}
			stop()
		})
	}
}

// A calibration of which a byte was lost once is read again; a part that measures nothing
// is no reading.
func TestBME280Doubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "bme280", "air: {bme280: 0x76}"))
		b.Air.Set(gpiotest.Fault{Short: 25, After: 5, Times: 1}) // id, reset, status twice, config; then H1
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(time.Second)
		if got := only(t, b, "air"); got != `sample {"value":25.08,"unit":"°C","humidity":40.47,"pressure":1006.53}` {
			t.Errorf("it told %s", got)
		}
		if b.Air.Resets != 2 {
			t.Errorf("it was set up %d times", b.Air.Resets)
		}
		b.Air.Measures(0x80000, 0x80000, 0x8000)
		gpiotest.Pass(time.Minute)
		if d, _ := s.Device("air"); d.Status != "failed" || d.Error != "read BME280 at 0x76: it measured nothing" {
			t.Errorf("%+v", d)
		}
		only(t, b, "air")
		stop()
	})
}
