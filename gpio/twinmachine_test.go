package gpio_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2creg"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestTwinLeavesTheMachineAlone: around a twin the machine's own buses, ports, kernel
// files and network are not there, though the machine has them.
func TestTwinLeavesTheMachineAlone(t *testing.T) {
	var opened atomic.Int64
	err := i2creg.Register("twintest", nil, 77, func() (i2c.BusCloser, error) {
		opened.Add(1)
		return nil, errors.New("the twin opened the machine's bus")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i2creg.Unregister("twintest") }()
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		names := []string{"air", "meter", "board", "page", "unit"}
		specs := []gpio.Spec{
			spec(t, "bme280", "air: {bme280: 0x76, bus: twintest}"),
			spec(t, "serial", "meter: {serial: /dev/ptmx}"),
			spec(t, "hwmon", "board: {hwmon: lm75}"),
			spec(t, "http_get", "page: {http_get: 'http://127.0.0.1:1/'}"),
			spec(t, "modbus", "unit: {modbus: 'tcp://127.0.0.1:1', register: holding 1}"),
		}
		src, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup,
			Twin: gpio.NewTwin(gpio.TwinOptions{Board: b.Board, Alone: true})})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, src)
		bench.Pass(time.Minute)
		for _, name := range names {
			if d, _ := src.Device(name); d.Status != "absent" {
				t.Errorf("%s is %s: %s", name, d.Status, d.Error)
			}
		}
		stop()
	})
	if n := opened.Load(); n > 0 {
		t.Errorf("the machine's bus was opened %d times", n)
	}
}
