package gpio_test

import (
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio/gpiotest"
)

// A part that comes back has the level that it had in this run, not the one that was
// stored at the end of the run before: with boot: off nothing goes on by itself.
func TestOutputThatComesBackStaysOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "digital_out", `pump: {digital_out: GPIO27, boot: off, stop: off}`))
		stop := gpiotest.Start(t, s)
		synctest.Wait()
		if _, err := s.Command(t.Context(), edge.Command{Device: "pump", Verb: "on"}); err != nil {
			t.Fatal(err)
		}
		stop()
		s = b.Source(t, spec(t, "digital_out", `pump: {digital_out: GPIO27, boot: off, stop: off}`))
		stop = gpiotest.Start(t, s)
		gpiotest.Pass(time.Second)
		b.Board.Unplug()
		gpiotest.Pass(time.Minute)
		b.Board.Plug()
		gpiotest.Pass(3 * time.Minute)
		if d, _ := s.Device("pump"); d.Status != "ok" || string(d.Value) != "false" {
			t.Errorf("%+v", d)
		}
		if level, err := b.Board.Level("GPIO27"); err != nil || level {
			t.Errorf("the line is %v, %v", level, err)
		}
		stop()
	})
}
