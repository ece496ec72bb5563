package gpio_test

import (
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"fieldpost/gpio/gpiotest"
)

// Microchip's DS21295D, equation 4-2: the code is 1024 x volts / vref.
func TestMCP3008Values(t *testing.T) {
	for _, c := range []struct {
		options string
		codes   [8]uint16
		want    string
	}{
		{"channel: 0, vref: 5", [8]uint16{512}, `"value":2.5,"unit":"V"`},
		{"channel: 7, vref: 5", [8]uint16{1023, 1023, 1023, 1023, 1023, 1023, 1023, 1}, `"value":0.00488281,"unit":"V"`}, // a step of 4.88 mV
		{"channel: 3", [8]uint16{3: 1023}, `"value":3.29678,"unit":"V"`},
		{"channel: 4", [8]uint16{1023, 1023, 1023, 1023, 0, 1023, 1023, 1023}, `"value":0,"unit":"V"`},
		{"channel: 5, vref: 4.096, scale: 50, unit: \"%\"", [8]uint16{5: 0x155}, `"value":68.2,"unit":"%","volts":1.364`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			b.Analog = c.codes
			stop := gpiotest.Start(t, b.Source(t, spec(t, "mcp3008", "x: {mcp3008: SPI0.0, "+c.options+"}")))
			gpiotest.Pass(time.Second)
			if got := only(t, b, "x"); got != "sample {"+c.want+"}" {
				t.Errorf("%s: it told %s", c.options, got)
			}
			if f, mode := b.SPI.SetUp(); f > 1350*physic.KiloHertz || f < 10*physic.KiloHertz || mode != spi.Mode0 {
				t.Errorf("the port is at %s, mode %v", f, mode)
			}
			stop()
		})
	}
}
