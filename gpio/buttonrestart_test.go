package gpio_test

import (
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestButtonOverARestart: the line is parked, the kernel's queue and stamps and
// the row say what was done.
func TestButtonOverARestart(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"nothing", "stop start", nil},
		{"in mid-press", "down100 stop wait100 start wait100 up1000", []string{press("0.3")}},
		{"in mid-press, let go of meanwhile, read late", "down100 stop wait100 up5000 start", []string{press("0.2")}},
		{"pressed meanwhile", "stop down100 up5000 start", []string{press("0.1")}},
		{"pressed twice meanwhile", "stop down100 up1000 down100 up1000 start", []string{press("0.1"), press("0.1")}},
		{"double meanwhile", "stop down100 up100 down100 up100 start", []string{double}},
		{"double, a half each", "down100 up100 stop wait50 down100 up100 start", []string{double}},
		{"double, the second while it starts", "down100 up100 stop down50 start wait50 up1000", []string{double}},
		{"the window is open at the stop, and nothing comes", "down100 up100 stop wait5000 start", []string{press("0.1")}},
		{"the window is open at the stop, and a press comes after it", "down100 up100 stop wait1000 down100 up100 start", []string{press("0.1"), press("0.1")}},
		{"long, held all the time", "down100 stop wait5000 start wait1000 up1000", []string{long, release("6.1")}},
		{"long meanwhile", "stop down2000 up1000 start", []string{long, release("2")}},
		{"long before, let go of meanwhile", "down1000 stop wait1000 up3000 start", []string{long, release("2")}},
		{"two restarts in one press", "down100 stop start wait100 stop start wait100 up1000", []string{press("0.3")}},
		{"killed in mid-press, after it was stored", "down100 kill killed wait100 start up1000", []string{press("0.2")}},
		{"killed before the press was stored", "kill down100 killed start wait100 up1000", []string{lost(1, "restart")}},
		{"killed before the press was stored, let go of meanwhile", "kill down100 killed up100 start wait2000", []string{lost(1, "restart")}},
		{"killed before the press was stored, held on", "kill down100 killed start wait1000 up1000", []string{lost(1, "restart")}},
		{"killed as it has just read the press", "stop down100 start kill killed start wait100 up1000", []string{press("0.2")}},
		{"the disk is full at the press", "full down100 room stop start up1000", []string{press("0.1")}},
		{"a hole after it is no matter of the restart", "stop start down30 drop2 up25 down25 up1000", []string{lost(2, "overflow")}},
		{"killed before a whole press was stored", "kill down100 up100 killed start wait1000 down100 up1000", []string{lost(2, "restart"), press("0.1")}},
	} {
		t.Run(c.name, func(t *testing.T) { at(t, bell, "start wait1000 "+c.script, c.want...) })
	}
}

// TestButtonOnAnotherRequest: nobody knows what happened in between.
func TestButtonOnAnotherRequest(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"nothing was going on", "stop unplug start", nil},
		{"the window was open", "down100 up100 stop unplug wait5000 start", []string{press("0.1")}},
		{"the window was open before the boot", "down100 up100 stop unplug reboot wait5000 start", []string{lost(1, "restart")}},
		{"a press, let go of", "down100 stop unplug up1000 start", []string{lost(1, "restart")}},
		{"a press, held still", "down100 stop unplug wait5000 start wait5000 up1000", []string{lost(1, "restart")}},
		{"the second of two", "down100 up100 down100 stop unplug up1000 start", []string{press("0.1"), lost(1, "restart")}},
		{"the second of two before the boot", "down100 up100 down100 stop unplug reboot up1000 start", []string{lost(2, "restart")}},
		{"long, let go of", "down1000 stop unplug up1000 start", []string{long, releasedNow}},
		{"long, held still", "down1000 stop unplug reboot wait5000 start wait1000 up1000", []string{long, released}},
		{"in mid-press the chip goes", "down100 unplug wait5000 up1000 down100 up1000", []string{lost(1, "restart"), press("0.1")}},
	} {
		t.Run(c.name, func(t *testing.T) { at(t, bell, "start wait1000 "+c.script, c.want...) })
	}
}

// TestButtonOnTheRealPump keeps half of a double in the real store, without an
// event, and without being stopped first.
func TestButtonOnTheRealPump(t *testing.T) {
	dir, board := t.TempDir(), edgetest.NewBoard("boot-1")
	sim := gpio.NewSimBoard(gpio.SimOptions{Mono: board.Board().Mono})
	open := func() (*edgetest.Rig, *gpio.Source, func() time.Duration) {
		rig := edgetest.OpenRig(t, dir, board)
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "button", "bell: {button: GPIO23, debounce: 0s, long: 1h, double: 1h}")},
			Pump: rig.Pump, Rows: rig.Store, Clock: rig.Clock, Lookup: sim.Lookup})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		poll(t, "button that is ok", func() bool { d, _ := s.Device("bell"); return d.Status == "ok" })
		return rig, s, stop
	}
	at := time.Hour
	click := func() {
		for _, level := range []bool{false, true} {
			at += time.Second
			board.SetMono(at)
			if err := sim.Drive("GPIO23", level); err != nil {
				t.Fatal(err)
			}
		}
	}
	rig, _, stop := open()
	click()
	poll(t, "row with the first press", func() bool {
		row, _ := rig.Store.Get("outputs", "button/bell")
		return strings.Contains(string(row), `"first":{"down":`)
	})
	stop()
	rig.Stop()
	rig, s, stop := open()
	defer stop()
	click()
	poll(t, "double", func() bool { d, _ := s.Device("bell"); return string(d.Value) == `"double"` && d.Event != "" })
	page, err := rig.Log.Read(edge.Query{Limit: 100, Names: []string{"bell"}})
	if err != nil || len(page.Events) != 1 {
		t.Errorf("%d events, %v", len(page.Events), err)
	}
}
