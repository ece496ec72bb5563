package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
	"fieldpost/queue"
)

// safeSource is a Source of the devices that begins with a safe start.
func safeSource(t *testing.T, b *bench.Bench, specs ...gpio.Spec) *gpio.Source {
	t.Helper()
	s, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup, Root: b.Root, Files: b.Sysfs.Files(), Safe: "it crashed"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Outputs are as their stop says, whatever boot says, take nothing, and go on when
// it is over, as after any start.
func TestSafeStart(t *testing.T) {
	for _, c := range []struct {
		more               string
		last               bool // commanded in the run before, which ended in good order
		safe, over, normal bool // in the safe start, after it, and after another start
	}{
		{"boot: off, stop: off", true, false, false, false},
		{"boot: on, stop: off", true, false, true, true},
		{"boot: last, stop: off", true, false, true, true},
		{"boot: last, stop: off", false, false, false, false},
		{"boot: off, stop: on", false, true, false, false},
		{"boot: hold, stop: on", false, true, true, false}, // released, its pull takes it down
		{"boot: off, stop: hold", true, true, true, true},  // parked: it keeps its level through any start
		{"boot: on, stop: hold", false, false, false, false},
		{"boot: on, stop: hold, max_on: 10m", true, false, true, true}, // it would have gone off by itself
	} {
		t.Run(c.more, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				pump := spec(t, "digital_out", fmt.Sprintf("pump: {digital_out: GPIO27, %s}", c.more))
				s := b.Source(t, pump)
				stop := bench.Start(t, s)
				bench.Pass(time.Second)
				order(t, s, "set", fmt.Sprint(c.last))
				stop()

				s = safeSource(t, b, pump)
				stop = bench.Start(t, s)
				bench.Pass(time.Second)
				level(t, b, c.safe)
				b.Pump.Forget()
				out, err := s.Command(context.Background(), edge.Command{ID: "x", Device: "pump", Verb: "toggle"})
				if !errors.Is(err, edge.ErrRefused) || out.Done || !strings.Contains(out.Why, "it crashed") {
					t.Errorf("a command: %+v, %v", out, err)
				}
				level(t, b, c.safe)
				if evs := b.Pump.Events("pump"); len(evs) != 1 || evs[0].Kind != edge.Acted {
					t.Errorf("events %+v", evs)
				}
				s.Resume()
				bench.Pass(time.Second)
				level(t, b, c.over)
				if s.Safe() != "" {
					t.Error("it is not over")
				}
				s.Resume() // does nothing
				order(t, s, "set", fmt.Sprint(!c.over))
				level(t, b, !c.over)
				order(t, s, "set", fmt.Sprint(c.over))
				stop()
			})
		})
		t.Run(c.more+", and another start", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				pump := spec(t, "digital_out", fmt.Sprintf("pump: {digital_out: GPIO27, %s}", c.more))
				s := b.Source(t, pump)
				stop := bench.Start(t, s)
				bench.Pass(time.Second)
				order(t, s, "set", fmt.Sprint(c.last))
				stop()
				stop = bench.Start(t, safeSource(t, b, pump))
				bench.Pass(time.Second)
				stop()
				stop = bench.Start(t, b.Source(t, pump))
				bench.Pass(time.Second)
				level(t, b, c.normal)
				stop()
			})
		})
	}
}

// What was on for a time when the agent crashed is off, also where stop says on, and
// where the kernel held the line meanwhile.
func TestSafeStartEndsWhatEndsByItself(t *testing.T) {
	for _, more := range []string{"stop: on, max_on: 10m", "stop: hold"} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			pump := spec(t, "digital_out", fmt.Sprintf("pump: {digital_out: GPIO27, %s}", more))
			s := b.Source(t, pump)
			stop := bench.Start(t, s)
			bench.Pass(time.Second)
			order(t, s, "on", "")
			stop()
			level(t, b, more == "stop: hold")
			const key = "digital_out/pump"
			raw, _ := b.Pump.Get("outputs", key)
			was := strings.NewReplacer(`"value":false`, `"value":true`, `"for":0`, `"for":90000000000,"why":"pulse","pulse":90000000000`).Replace(string(raw))
			if was == string(raw) {
				t.Fatalf("the row is %s", raw)
			}
			if err := b.Pump.Commit(context.Background(), queue.Row{Table: "outputs", Key: key, Value: []byte(was)}); err != nil {
				t.Fatal(err)
			}
			stop = bench.Start(t, safeSource(t, b, pump))
			bench.Pass(time.Second)
			level(t, b, false)
			stop()
		})
	}
}

// What boot turns on once it is over goes off by itself as ever.
func TestSafeStartKeepsMaxOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := safeSource(t, b, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on, max_on: 10m}"))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		s.Resume()
		bench.Pass(9 * time.Minute)
		level(t, b, true)
		bench.Pass(2 * time.Minute)
		level(t, b, false)
		stop()
	})
}

// A line that is not there in the safe start gets its boot level once it is over.
func TestSafeStartWithoutTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		var there atomic.Bool
		s, err := gpio.NewSource(gpio.SourceOptions{
			Specs: []gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on}")}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Root: b.Root, Safe: "it crashed",
			Lookup: func(name string) periph.PinIO {
				if !there.Load() {
					return nil
				}
				return b.Board.Lookup(name)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		s.Resume()
		there.Store(true)
		bench.Pass(2 * time.Minute)
		level(t, b, true)
		stop()
	})
}
