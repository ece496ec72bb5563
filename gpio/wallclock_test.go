package gpio_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestWallClockJumps: debounce, presses, a pulse's end, max_on, a counter's and a
// sensor's intervals are the same to the nanosecond, whatever is done to the wall
// clock meanwhile.
func TestWallClockJumps(t *testing.T) {
	years := 10 * 365 * 24 * time.Hour
	calm := wallTrace(t, func(*edgetest.Board, int) {})
	for name, jump := range map[string]time.Duration{"ahead": years, "back": -years, "an hour back": -time.Hour, "a leap second": -time.Second} {
		t.Run(name, func(t *testing.T) {
			if got := wallTrace(t, func(b *edgetest.Board, n int) {
				b.SetSync(n%2 == 0, time.Millisecond)
				b.SetWall(b.Board().Wall().Add(jump))
			}); !slices.Equal(got, calm) {
				t.Errorf("got\n%q\nwant\n%q", got, calm)
			}
		})
	}
}

// wallRun is devices on the real clock and Pump, with a jump between any two steps.
type wallRun struct {
	t     *testing.T
	board *edgetest.Board
	sim   *gpio.SimBoard
	s     *gpio.Source
	jump  func(b *edgetest.Board, n int)
	jumps int
}

// wallTrace runs devices, and gives what was stored, each with its time since the boot.
func wallTrace(t *testing.T, jump func(b *edgetest.Board, n int)) (trace []string) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		board := edgetest.NewBoard("boot-1")
		w := &wallRun{t: t, board: board, sim: gpio.NewSimBoard(gpio.SimOptions{Mono: board.Board().Mono}), jump: jump}
		rig := edgetest.OpenRig(t, dir, board)
		var err error
		w.s, err = gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{
			spec(t, "digital_in", "door: {digital_in: GPIO17, pull: up, debounce: 30ms}"),
			spec(t, "button", "bell: {button: GPIO18}"),
			spec(t, "counter", "flow: {counter: GPIO22, every: 1m}"),
			spec(t, "digital_out", "pump: {digital_out: GPIO27, max_on: 10m}"),
		}, Pump: rig.Pump, Rows: rig.Store, Clock: rig.Clock, Lookup: w.sim.Lookup})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		clock := make(chan error, 1)
		go func() { clock <- rig.Clock.Run(ctx, rig.Pump) }()
		stop := bench.Start(t, w.s)
		bench.Pass(time.Second)
		w.inputs()
		w.outputs()
		stop()
		end()
		if err := <-clock; err != nil {
			t.Error(err)
		}
		page, err := rig.Log.Read(edge.Query{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range page.Events {
			if ev.Kind != edge.System {
				trace = append(trace, fmt.Sprintf("%v %s %s", time.Duration(ev.Mono), ev.Name, lineOrigin.ReplaceAllString(string(ev.Data), "")))
			}
		}
		rig.Stop()
	})
	slices.Sort(trace) // what several devices say at one moment has no order
	if len(trace) < 25 {
		t.Errorf("%d events only: %q", len(trace), trace)
	}
	return trace
}

// pass lets time pass between two jumps.
func (w *wallRun) pass(d time.Duration) {
	w.jump(w.board, w.jumps)
	w.jumps++
	bench.Pass(d)
}

func (w *wallRun) drive(pin edge.Pin, level bool, after time.Duration) {
	if err := w.sim.Drive(pin, level); err != nil {
		w.t.Error(err)
	}
	w.pass(after)
}

func (w *wallRun) inputs() {
	for range 5 { // bounces that debounce eats, then a level that stays
		for range 4 {
			w.drive("GPIO17", false, 7*time.Millisecond)
			w.drive("GPIO17", true, 11*time.Millisecond)
		}
		w.drive("GPIO17", false, 100*time.Millisecond)
		w.drive("GPIO17", true, 100*time.Millisecond)
	}
	for _, held := range []time.Duration{80 * time.Millisecond, 3 * time.Second, 40 * time.Millisecond} {
		w.drive("GPIO18", false, held)
		w.drive("GPIO18", true, 130*time.Millisecond)
	}
	for range 3 {
		w.drive("GPIO22", true, 20*time.Second)
		w.drive("GPIO22", false, 20*time.Second)
	}
}

func (w *wallRun) outputs() {
	w.command(edge.Command{ID: "p", Verb: "pulse", Value: []byte(`"90s"`)})
	for range 5 {
		w.pass(17 * time.Second)
	}
	w.pass(time.Minute)
	w.command(edge.Command{ID: "o", Verb: "on"})
	for range 12 {
		w.pass(time.Minute)
	}
}

func (w *wallRun) command(cmd edge.Command) {
	cmd.Device, cmd.From = "pump", "client:app"
	if out, err := w.s.Command(w.t.Context(), cmd); err != nil || !out.Done {
		w.t.Errorf("%s: %+v %v", cmd.Verb, out, err)
	}
}
