package gpio_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestReactFirst: a rule's output follows on the emitting goroutine, before
// anything is stored, and may command the device that it reacts to.
func TestReactFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		var s *gpio.Source
		b.Pump.React = func(ev *edge.Event, ticket *edge.Ticket) {
			switch {
			case ev.Name == "door" && ev.From == "device:door" && strings.HasPrefix(string(ev.Data), `{"value":false,"state":"closed"`):
				if _, err := s.React(edge.Command{Device: "pump", Verb: "on", From: "rule:a"}, ticket); err != nil {
					t.Error(err)
				}
			case ev.Name == "pump" && ev.Kind == edge.Change && string(ev.Data) == `{"value":true,"state":"on"}`:
				if _, err := s.React(edge.Command{Device: "pump", Verb: "off", From: "rule:b"}, ticket); err != nil {
					t.Error(err)
				}
			}
		}
		s = b.Source(t, spec(t, "digital_in", door), spec(t, "digital_out", "pump: {digital_out: GPIO27}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		b.Pump.Forget()
		at := b.Clock.Mono()
		drive(t, b, "GPIO17", false)
		bench.Pass(time.Second)
		trace := b.Board.Trace("GPIO27")
		if len(trace) != 2 || !trace[0].Level || trace[0].Mono != at || trace[1].Level {
			t.Errorf("trace %v", trace)
		}
		var froms []string
		for _, ev := range b.Pump.Events("") {
			froms = append(froms, string(ev.Kind)+" "+ev.From)
		}
		want := "[change device:door command rule:a change device:pump command rule:b change device:pump]"
		if fmt.Sprint(froms) != want {
			t.Errorf("got %v, want %s", froms, want)
		}
		for i, from := range []string{"", "device:door", "rule:a", "device:pump", "rule:b"} {
			if cause, _ := b.Pump.Cause(i); cause.From != from {
				t.Errorf("event %d was caused by %q, want %q", i, cause.From, from)
			}
		}
	})
}
