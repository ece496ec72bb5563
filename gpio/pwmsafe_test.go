package gpio_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	bench "fieldpost/gpio/gpiotest"
)

// A pwm is as its stop says in a safe start, and as its boot says after it.
func TestPWMSafeStart(t *testing.T) {
	for _, c := range []struct {
		boot, stop       string
		safe, over, next string // the duty cycle of 1000000 ns; next is another start's
	}{
		{"off", "off", "0", "0", "0"},
		{"on", "off", "0", "1000000", "1000000"},
		{"last", "off", "0", "700000", "700000"},
		{"off", "on", "1000000", "0", "0"},
		{"off", "hold", "700000", "0", "0"},
		{"last", "last", "700000", "700000", "700000"},
	} {
		for _, resumes := range []bool{true, false} {
			t.Run(c.boot+" "+c.stop, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := bench.NewBench(t)
					fan := spec(t, "pwm", "pump: {pwm: GPIO18, boot: "+c.boot+", stop: "+c.stop+"}")
					at := func(when, want string) {
						t.Helper()
						if got, _ := b.Sysfs.Files().Read(b.Root + "/" + duty4); got != want {
							t.Errorf("%s it is %q, want %q", when, got, want)
						}
					}
					s := b.Source(t, fan)
					stop := bench.Start(t, s)
					bench.Pass(time.Second)
					if err := commandFan(s, "set", "70"); err != nil {
						t.Fatal(err)
					}
					stop()

					s = safeSource(t, b, fan)
					stop = bench.Start(t, s)
					bench.Pass(time.Second)
					at("in the safe start", c.safe)
					if err := commandFan(s, "on", ""); !errors.Is(err, edge.ErrRefused) {
						t.Errorf("a command: %v", err)
					}
					if resumes {
						s.Resume()
						at("after it", c.over)
						stop()
						return
					}
					stop()
					stop = bench.Start(t, b.Source(t, fan))
					bench.Pass(time.Second)
					at("at the next start", c.next)
					stop()
				})
			})
		}
	}
}
