package gpio_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestReloadOfALabelBesideReports: a device tells what it does while a reload changes what
// is told of it. The race detector judges.
func TestReloadOfALabelBesideReports(t *testing.T) {
	b := bench.NewBench(t)
	here, there := spec(t, "digital_out", "pump: {digital_out: GPIO27}"), spec(t, "digital_out", "pump: {digital_out: GPIO27}")
	there.Label = "The pump"
	s := b.Source(t, here)
	stop := bench.Start(t, s)
	poll(t, "ok", func() bool { d, _ := s.Device("pump"); return d.Status == "ok" })
	over := make(chan struct{})
	var ended sync.WaitGroup
	for range 4 {
		ended.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
				_, _ = s.Command(ctx, edge.Command{Device: "pump", Verb: []string{"on", "off"}[i%2]}) // what it says is another test's
				cancel()
			}
		})
	}
	for i := range 100 {
		next := []gpio.Spec{here, there}[i%2]
		if i == 99 {
			next = there
		}
		p, mistakes, busy := s.Plan([]gpio.Spec{next}, nil)
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		if err := p.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(over)
	ended.Wait()
	if d, _ := s.Device("pump"); d.Label != "The pump" {
		t.Errorf("%+v", d)
	}
	stop()
}

// TestReloadBeginsToAskUplinks: an output that goes by the uplinks for the first time is
// not offline for the time in which nobody wanted to know of them.
func TestReloadBeginsToAskUplinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		var acked uint64
		up := func() []edge.UplinkStatus { // it always has something to send
			acked++
			return []edge.UplinkStatus{{Name: "cloud", State: "up", Backlog: 10, Acknowledged: acked}}
		}
		plain := spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: hold, stop: hold}")
		careful := spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: hold, stop: hold, offline: {after: 5m}}")
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{plain}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup,
			Uplinks: up, UplinkNames: []string{"cloud"}})
		if err != nil {
			t.Fatal(err)
		}
		defer bench.Start(t, s)()
		for range 2 {
			bench.Pass(24 * time.Hour)
			order(t, s, "on", "")
			mark := len(b.Board.Trace("GPIO27"))
			p, mistakes, busy := s.Plan([]gpio.Spec{careful}, []string{"cloud"})
			if p == nil {
				t.Fatal(mistakes, busy)
			}
			if err := p.Swap(t.Context()); err != nil {
				t.Fatal(err)
			}
			bench.Pass(time.Minute)
			if got := trace(b, "GPIO27", mark); got != "" {
				t.Errorf("levels %q", got)
			}
			if p, mistakes, busy = s.Plan([]gpio.Spec{plain}, []string{"cloud"}); p == nil {
				t.Fatal(mistakes, busy)
			}
			if err := p.Swap(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestReloadKeepsTheOrder: what a device told before it was replaced is told, and stored,
// before what the one in its place tells, also where a reaction holds it up.
func TestReloadKeepsTheOrder(t *testing.T) {
	onBench(t, []gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO27, stop: off}")}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		pass := make(chan struct{})
		b.Pump.React = func(ev *edge.Event, _ *edge.Ticket) {
			if ev.Kind == edge.Acted {
				<-pass
			}
		}
		var both sync.WaitGroup
		both.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, _ = s.Command(ctx, edge.Command{Device: "pump", Verb: "off"}) // this pump stores nothing for good
		})
		bench.Pass(time.Second)
		p, mistakes, busy := s.Plan([]gpio.Spec{spec(t, "digital_out", "pump: {digital_out: GPIO23, boot: on}")}, nil)
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		both.Go(func() {
			if err := p.Swap(t.Context()); err != nil {
				t.Error(err)
			}
		})
		bench.Pass(time.Second)
		close(pass)
		both.Wait()
		synctest.Wait()
		values := ""
		for _, ev := range b.Pump.Events("pump") {
			if ev.Kind == edge.Change {
				values += string(ev.Data)
			}
		}
		if strings.LastIndex(values, `"value":false`) > strings.LastIndex(values, `"value":true`) {
			t.Errorf("the pump is on, and it told %s", values)
		}
	})
}
