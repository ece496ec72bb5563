package gpio_test

import (
	"strings"
	"testing"

	bench "fieldpost/gpio/gpiotest"
)

// A contact's levels are told with the kernel's stamps and count, those while no agent
// ran too.
func TestBoardDigitalIn(t *testing.T) {
	sim := bench.OnBoard(t)
	a := newAgency(t, spec(t, "digital_in", door))
	a.expect("door", isOpen)
	moves := func() (from, to int64) {
		from = mono(t)
		sim.Pull(t, 17, false)
		pace()
		sim.Pull(t, 17, true)
		return from, mono(t)
	}
	for _, away := range []bool{false, true} {
		if away {
			a.halt()
		}
		from, to := moves()
		if away {
			a.start()
		}
		bench.Until(t, "two changes are told", func() bool { return len(a.pump.Events("door")) >= 2 })
		for _, ev := range a.pump.Events("door") {
			if ev.Mono < from || ev.Mono > to {
				t.Errorf("away %v: %s is stamped %d, the door moved from %d to %d", away, ev.Data, ev.Mono, from, to)
			}
		}
		a.expect("door", isClosed, isOpen)
	}
}

// An output obeys. One with stop: hold keeps its level through a restart, without an
// instant at another; one with stop: off is off when no agent runs.
func TestBoardDigitalOut(t *testing.T) {
	sim := bench.OnBoard(t)
	for _, c := range []struct {
		example string
		stopped bool
	}{
		{"pump: {digital_out: GPIO27, boot: hold, stop: hold}", true},
		{"pump: {digital_out: GPIO27, boot: off, stop: off}", false},
	} {
		t.Run(c.example, func(t *testing.T) {
			sim.Pull(t, 27, false)
			driven := levels(t)
			a := newAgency(t, spec(t, "digital_out", c.example))
			order(t, a.source, "on", "")
			if !sim.Level(t, 27) {
				t.Errorf("switched on, it is off")
			}
			order(t, a.source, "off", "")
			order(t, a.source, "toggle", "")
			if got := driven(); got != "0101" {
				t.Errorf("the kernel drove it to %q, not low, high, low and high", got)
			}
			a.halt()
			if got := sim.Level(t, 27); got != c.stopped {
				t.Errorf("no agent runs, it is %v", got)
			}
			a.start()
			if got := sim.Level(t, 27); got != c.stopped {
				t.Errorf("the next agent runs, it is %v", got)
			}
			if got := driven(); strings.Contains(got, map[bool]string{true: "0", false: "1"}[c.stopped]) {
				t.Errorf("over the restart the kernel drove it to %q", got)
			}
		})
	}
}
