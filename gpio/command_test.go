package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

func TestRepeatedIDActsOnce(t *testing.T) {
	for _, verb := range []string{"on", "toggle"} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			pump := spec(t, "digital_out", "pump: {digital_out: GPIO27, stop: hold}")
			s := b.Source(t, pump)
			stop := bench.Start(t, s)
			bench.Pass(time.Second)
			cmd := edge.Command{ID: "c1", Device: "pump", Verb: verb, From: "uplink:cloud"}
			var wg sync.WaitGroup
			var repeats [8]edge.Outcome
			for i := range repeats {
				wg.Go(func() { repeats[i], _ = s.Command(context.Background(), cmd) })
			}
			wg.Wait()
			fresh := 0
			for _, out := range repeats {
				if !out.Done || string(out.Value) != "true" {
					t.Errorf("%s: %+v", verb, out)
				}
				if !out.Repeat {
					fresh++
				}
			}
			if fresh != 1 || len(b.Board.Trace("GPIO27")) != 1 {
				t.Errorf("%s: %d acted, trace %v", verb, fresh, b.Board.Trace("GPIO27"))
			}
			if _, err := s.Command(context.Background(), edge.Command{ID: "c1", Device: "pump", Verb: "off"}); !errors.Is(err, edge.ErrRefused) {
				t.Errorf("the id of another command: %v", err)
			}
			stop()
			s = b.Source(t, pump)
			stop = bench.Start(t, s)
			bench.Pass(time.Second)
			if out, err := s.Command(context.Background(), cmd); err != nil || !out.Repeat || !out.Done || string(out.Value) != "true" {
				t.Errorf("%s after a restart: %+v, %v", verb, out, err)
			}
			level(t, b, true)
			stop()
		})
	}
}

// TestToggleIsRecordedFirst: where the record can't be stored, nothing moves;
// where a kill came after it, the repeat does not act.
func TestToggleIsRecordedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		pump := spec(t, "digital_out", "pump: {digital_out: GPIO27}")
		s := b.Source(t, pump)
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		toggle := edge.Command{ID: "t1", Device: "pump", Verb: "toggle"}
		full := errors.New("the store is full")
		b.Pump.Fail(full)
		if out, err := s.Command(context.Background(), toggle); !errors.Is(err, full) || out.Done {
			t.Errorf("with a full disk: %+v, %v", out, err)
		}
		level(t, b, false)
		if out, err := s.Command(context.Background(), edge.Command{ID: "o1", Device: "pump", Verb: "on"}); err != nil || !out.Done {
			t.Errorf("on with a full disk: %+v, %v", out, err)
		}
		b.Pump.Fail(nil)
		if out, err := s.Command(context.Background(), toggle); err != nil || out.Repeat || string(out.Value) != "false" {
			t.Errorf("when there is room again: %+v, %v", out, err)
		}
		b.Pump.Deaf(true) // its record is stored (Commit), its event is not
		toggle.ID = "t2"
		_, _ = s.Command(context.Background(), toggle)
		stop()
		b.Pump.Deaf(false)
		s = b.Source(t, pump)
		stop = bench.Start(t, s)
		bench.Pass(time.Second)
		before := len(b.Board.Trace("GPIO27"))
		if out, err := s.Command(context.Background(), toggle); err != nil || !out.Repeat || out.Done || out.Why == "" {
			t.Errorf("after a kill: %+v, %v", out, err)
		}
		if len(b.Board.Trace("GPIO27")) != before {
			t.Error("it acted again")
		}
		stop()
	})
}

func TestCommandIDsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		pump := spec(t, "digital_out", "pump: {digital_out: GPIO27}")
		s := b.Source(t, pump)
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		ask := func(s *gpio.Source, i int) edge.Outcome {
			out, err := s.Command(context.Background(), edge.Command{ID: fmt.Sprintf("c%d", i), Device: "pump", Verb: "off"})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		for i := range 10_050 {
			ask(s, i)
		}
		if n := b.Pump.Rows("commands"); n != 10_000 {
			t.Errorf("%d ids are kept", n)
		}
		if ask(s, 49).Repeat || !ask(s, 10_049).Repeat || !ask(s, 60).Repeat {
			t.Error("not the oldest were forgotten")
		}
		again := b.Source(t, pump) // the order is known after a restart
		if _, err := again.Command(context.Background(), edge.Command{ID: "c10049", Device: "pump", Verb: "off"}); err != nil {
			t.Error(err)
		}
	})
}
