package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// said is a hold in short: down, +1 for a step, stuck, up0 to up2 for an end, void.
func said(h gpio.Hold) string {
	switch {
	case h.Down && h.Stuck:
		return "stuck"
	case h.Down && h.Step == 0:
		return "down"
	case h.Down:
		return "+" + strconv.Itoa(h.Step)
	case h.Stuck:
		return "late"
	case h.For == 0:
		return "void"
	}
	return "up" + strconv.Itoa(h.Step)
}

// TestHold: scripts of a finger, in ms; ! is an edge that the kernel loses, ? one that
// never reaches its queue, chatter bounces for 20 ms and is down then. Let go of at the
// very moment of a step, whether that was told before is open.
func TestHold(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"down100 up1000", "down up0"},
		{"down2999 up1000", "down up0"},
		{"down3000 up1000", "...up1"},
		{"down14999 up1000", "down +1 up1"},
		{"down15000 up1000", "...up2"},
		{"down60000 up1000", "down +1 +2 up2"},
		{"down60001 up1000", "down +1 +2 stuck late"},
		{"down600000 up1000", "down +1 +2 stuck late"},
		{"down10 up1000", ""},                            // a spark
		{"chatter4000 up1000", "down +1 up1"},            // a bounce is no end
		{"down3500 up10 down3500 up1000", "down +1 up1"}, // nor is a short break of the contact
		{"down1000 up50 down2500 up1000", "down up0 down up0"},
		{"down4000 up1000 down16000 up1000", "down +1 up1 down +1 +2 up2"},
		{"!down4000 up1000 down4000 up1000", "down +1 up1"}, // a lost edge never begins a press
		{"down4000 !up1000 down100 up1000", "down +1 void down up0"},
		{"down4000 ?up100 down4000 up1000", "down +1 void down +1 up1"},
		{"down4000 stop", "down +1 void"},
	} {
		t.Run(c.script, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := holds(t, c.script)
				if end, open := strings.CutPrefix(c.want, "..."); got != c.want && !(open && strings.HasSuffix(got, end)) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// holds plays a script.
func holds(t *testing.T, script string) string {
	b := bench.NewBench(t)
	return play(t, b, script)
}

func play(t *testing.T, b *bench.Bench, script string) string {
	var all []string
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Source(t).Hold(ctx, gpio.HoldOptions{Pin: "GPIO3", ActiveLow: true,
			Steps: []time.Duration{3 * time.Second, 15 * time.Second}, Stuck: time.Minute,
			Tell: func(h gpio.Hold) { all = append(all, said(h)) }})
	}()
	synctest.Wait()
	for _, word := range strings.Fields(script) {
		what := strings.TrimRight(word, "0123456789")
		n, _ := strconv.Atoi(word[len(what):])
		switch what[0] {
		case '!':
			b.Board.DropEdges("GPIO3", 1)
		case '?':
			b.Board.SwallowEdges("GPIO3", 1)
		}
		switch strings.TrimLeft(what, "!?") {
		case "down":
			drive(t, b, "GPIO3", false)
		case "up":
			drive(t, b, "GPIO3", true)
		case "chatter":
			for i := range 20 {
				drive(t, b, "GPIO3", i%2 == 0)
				bench.Pass(time.Millisecond)
			}
			drive(t, b, "GPIO3", false)
		}
		bench.Pass(time.Duration(n) * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return strings.Join(all, " ")
}

// A button that is down when the agent starts was not pressed for it.
func TestHoldDownAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		drive(t, b, "GPIO3", false)
		bench.Pass(time.Second)
		if got := play(t, b, "down20000 up1000 down4000 up1000"); got != "down +1 up1" {
			t.Errorf("got %q", got)
		}
	})
}

// A line that goes under a press ends it, and is an error; so is one that another has.
func TestHoldFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		var all []string
		ready := 0
		opt := gpio.HoldOptions{Pin: "GPIO3", ActiveLow: true, Steps: []time.Duration{time.Second}, Stuck: time.Minute,
			Ready: func() { ready++ }, Tell: func(h gpio.Hold) { all = append(all, said(h)) }}
		ended := make(chan error, 1)
		go func() { ended <- b.Source(t).Hold(t.Context(), opt) }()
		synctest.Wait()
		drive(t, b, "GPIO3", false)
		bench.Pass(2 * time.Second)
		b.Board.Unplug()
		if err := <-ended; !errors.Is(err, edge.ErrAbsent) || fmt.Sprint(all) != "[down +1 void]" || ready != 1 {
			t.Errorf("got %v, %v, %d", err, all, ready)
		}
		b.Board.Plug()
		b.Board.Hold("GPIO3", "somebody")
		if err := b.Source(t).Hold(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "somebody holds it") || ready != 1 {
			t.Errorf("got %v, %d", err, ready)
		}
	})
}
