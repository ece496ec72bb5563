package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// order gives a command and fails the test where it isn't done.
func order(t testing.TB, s *gpio.Source, verb, value string) {
	t.Helper()
	cmd := edge.Command{Device: "pump", Verb: verb, From: "client:app"}
	if value != "" {
		cmd.Value = json.RawMessage(value)
	}
	if out, err := s.React(cmd, nil); err != nil || !out.Done {
		t.Errorf("%s %s: %+v, %v", verb, value, out, err)
	}
}

func level(t testing.TB, b *bench.Bench, want bool) {
	t.Helper()
	if got, err := b.Board.Level("GPIO27"); err != nil || got != want {
		t.Errorf("the line is %v, want %v (%v)", got, want, err)
	}
}

const (
	isOn  = `change {"value":true,"state":"on"}`
	isOff = `change {"value":false,"state":"off"}`
)

func TestBootAndStop(t *testing.T) {
	// The line is low before; "on" means that the agent of before left it so.
	for _, c := range []struct {
		boot, stop   string
		last         bool // commanded in the run before
		atBoot       bool
		afterStop    bool
		afterRestart bool
	}{
		{"off", "off", true, false, false, false},
		{"on", "off", false, true, false, true},
		{"last", "off", true, false, false, true},
		{"last", "off", false, false, false, false},
		{"off", "hold", true, false, true, true}, // parked: this is no boot for the line
		{"hold", "hold", true, false, true, true},
		{"off", "on", false, false, false, false}, // released, its pull takes it down
	} {
		t.Run(fmt.Sprintf("%s %s %v", c.boot, c.stop, c.last), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				pump := fmt.Sprintf("pump: {digital_out: GPIO27, boot: %s, stop: %s}", c.boot, c.stop)
				s := b.Source(t, spec(t, "digital_out", pump))
				stop := bench.Start(t, s)
				bench.Pass(time.Second)
				level(t, b, c.atBoot)
				order(t, s, "set", fmt.Sprint(c.last))
				stop()
				level(t, b, c.afterStop)
				stop = bench.Start(t, b.Source(t, spec(t, "digital_out", pump)))
				bench.Pass(time.Second)
				level(t, b, c.afterRestart)
				stop()
			})
		})
	}
}

func TestOutputTellsWhatItDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, max_on: 10m}"))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		expect(t, b, "pump", isOff)
		_, _ = s.React(edge.Command{ID: "c1", Device: "pump", Verb: "on", From: "rule:r", Cause: "7f3a9c21-3"}, nil)
		at := b.Clock.Mono()
		evs := b.Pump.Events("pump")
		if len(evs) != 2 || evs[0].From != "rule:r" || evs[0].Cause != "7f3a9c21-3" || evs[1].From != "device:pump" || evs[1].Mono != at {
			t.Errorf("events %+v", evs)
		}
		if cause, ok := b.Pump.Cause(1); !ok || cause.Kind != edge.Acted {
			t.Errorf("the change's cause is %+v", cause)
		}
		expect(t, b, "pump", `command {"value":true,"state":"on","id":"c1","verb":"on","done":true}`, isOn)
		bench.Pass(9 * time.Minute)
		_, _ = s.React(edge.Command{ID: "c2", Device: "pump", Verb: "on", From: "rule:r"}, nil) // does not prolong it
		bench.Pass(59 * time.Second)
		level(t, b, true)
		bench.Pass(2 * time.Second)
		level(t, b, false)
		expect(t, b, "pump", `command {"value":true,"state":"on","id":"c2","verb":"on","done":true}`, `change {"value":false,"state":"off","why":"max_on"}`)
		order(t, s, "on", "")
		b.Pump.Forget()
		stop()
		expect(t, b, "pump", `change {"value":false,"state":"off","why":"stop"}`)
	})
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, max_on: 10m}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		order(t, s, "pulse", `"90s"`)
		bench.Pass(89 * time.Second)
		level(t, b, true)
		order(t, s, "pulse", `"5s"`) // again, from now
		bench.Pass(4 * time.Second)
		level(t, b, true)
		bench.Pass(2 * time.Second)
		level(t, b, false)
		order(t, s, "pulse", `"1s"`)
		order(t, s, "on", "") // takes the end of the pulse back
		bench.Pass(time.Minute)
		level(t, b, true)
		order(t, s, "toggle", "")
		level(t, b, false)
		if _, err := s.React(edge.Command{Device: "pump", Verb: "pulse", Value: json.RawMessage(`"11m"`)}, nil); !errors.Is(err, edge.ErrRefused) {
			t.Errorf("a pulse over max_on: %v", err)
		}
		for _, v := range []string{"", "5", `"5"`, `"0s"`, `"-1s"`, `"31d"`, "null"} {
			if _, err := s.React(edge.Command{Device: "pump", Verb: "pulse", Value: json.RawMessage(v)}, nil); !errors.Is(err, edge.ErrBadValue) {
				t.Errorf("pulse %s: %v", v, err)
			}
		}
		level(t, b, false)
	})
}

func TestSetAndIf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, active_low: true, states: {on: runs, off: rests}}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		for _, c := range []struct {
			set, cond string
			want      bool // logical, after it
			err       error
		}{
			{"true", "", true, nil}, {"false", "", false, nil}, {`"on"`, "", true, nil}, {`"OFF"`, "", false, nil}, {"1", "", true, nil}, {"0", "", false, nil},
			{`"runs"`, `"rests"`, true, nil}, {"false", `"off"`, true, edge.ErrRefused}, {"false", "true", false, nil},
			{"2", "", false, edge.ErrBadValue}, {"{}", "", false, edge.ErrBadValue}, {"true", "[]", false, edge.ErrRefused},
		} {
			cmd := edge.Command{Device: "pump", Verb: "set", Value: json.RawMessage(c.set)}
			if c.cond != "" {
				cmd.If = json.RawMessage(c.cond)
			}
			_, err := s.React(cmd, nil)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("set %s if %s: %v", c.set, c.cond, err)
			}
			level(t, b, !c.want)
		}
	})
}

// TestDeadlineSurvives: a kill in the middle of max_on or a pulse ends it at its
// time, or at the restart.
func TestDeadlineSurvives(t *testing.T) {
	for _, c := range []struct {
		name   string
		away   time.Duration
		reboot bool
		atOnce bool // on after the restart
		later  bool // on five minutes after that
	}{
		{"restarted in time", time.Minute, false, true, false},
		{"restarted too late", 6 * time.Minute, false, false, false},
		{"another boot", time.Minute, true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				pump := spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: last, max_on: 5m}")
				s := b.Source(t, pump)
				stop := bench.Start(t, s)
				bench.Pass(time.Second)
				order(t, s, "on", "")
				b.Pump.Deaf(true) // what happens from here on is lost, as in a kill
				stop()
				b.Pump.Deaf(false)
				bench.Pass(c.away)
				if c.reboot {
					b.Clock.Reboot()
				}
				b.Pump.Forget()
				stop = bench.Start(t, b.Source(t, pump))
				bench.Pass(time.Second)
				level(t, b, c.atOnce)
				if !c.atOnce {
					expect(t, b, "pump", `change {"value":false,"state":"off","why":"max_on"}`)
				}
				bench.Pass(5 * time.Minute)
				level(t, b, c.later)
				stop()
			})
		})
	}
}

func TestOutputFailsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, max_on: 1m}"))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		b.Board.FailSets("GPIO27", 1, unix.EIO)
		if out, err := s.React(edge.Command{Device: "pump", Verb: "on"}, nil); !errors.Is(err, unix.EIO) || out.Done || out.Why == "" {
			t.Errorf("%+v, %v", out, err)
		}
		order(t, s, "on", "")
		b.Board.FailSets("GPIO27", 1, unix.EIO)
		bench.Pass(time.Minute + time.Second) // max_on fails once; the restart sees it is overdue
		level(t, b, false)
		order(t, s, "on", "")
		b.Board.Unplug()
		if _, err := s.React(edge.Command{Device: "pump", Verb: "off"}, nil); !errors.Is(err, edge.ErrAbsent) {
			t.Errorf("unplugged: %v", err)
		}
		bench.Pass(time.Second)
		if d, _ := s.Device("pump"); d.Status != "absent" {
			t.Errorf("unplugged: %+v", d)
		}
		b.Board.Plug()
		bench.Pass(10 * time.Second)
		order(t, s, "on", "")
		level(t, b, true)
	})
}

// TestNewMaxOn: a limit that the config got while it was on counts from when it
// went on, and one that the config lost is gone.
func TestNewMaxOn(t *testing.T) {
	for _, c := range []struct {
		before, after string
		atOnce, later bool // on at once, and five minutes after
	}{{"", ", max_on: 5m", true, false}, {"", ", max_on: 1m", false, false}, {", max_on: 5m", "", true, true}, {", max_on: 5m", ", max_on: 20m", true, true}} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: last"+c.before+"}"))
			stop := bench.Start(t, s)
			bench.Pass(time.Second)
			order(t, s, "on", "")
			bench.Pass(2 * time.Minute)
			b.Pump.Deaf(true)
			stop()
			b.Pump.Deaf(false)
			stop = bench.Start(t, b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: last"+c.after+"}")))
			bench.Pass(time.Second)
			level(t, b, c.atOnce)
			if moved := len(b.Board.Trace("GPIO27")); !c.atOnce && moved != 2 {
				t.Errorf("it was on for a moment: %v", b.Board.Trace("GPIO27"))
			}
			bench.Pass(5 * time.Minute)
			level(t, b, c.later)
			stop()
		})
	}
}

// TestBootOnIsLimited: max_on also limits what boot turned on.
func TestBootOnIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		stop := bench.Start(t, b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: on, max_on: 5m}")))
		defer stop()
		bench.Pass(4 * time.Minute)
		level(t, b, true)
		bench.Pass(time.Minute + time.Second)
		level(t, b, false)
		expect(t, b, "pump", isOn, `change {"value":false,"state":"off","why":"max_on"}`)
	})
}

// TestOutputComesBack: a chip that went away is noticed without a command, and
// what was on is on again when it is back, whatever boot says.
func TestOutputComesBack(t *testing.T) {
	for _, boot := range []string{"off", "on"} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: "+boot+"}"))
			stop := bench.Start(t, s)
			defer stop()
			bench.Pass(time.Second)
			if boot == "off" {
				order(t, s, "on", "")
			}
			b.Board.Unplug()
			bench.Pass(11 * time.Second)
			if d, _ := s.Device("pump"); d.Status != "absent" {
				t.Errorf("boot %s, unplugged: %+v", boot, d)
			}
			b.Board.Plug()
			bench.Pass(time.Minute)
			level(t, b, true)
		})
	}
}

func TestCommandIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27}"), spec(t, "digital_in", door))
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
		for name, c := range map[string]struct {
			cmd   edge.Command
			state edge.ClockState
			err   error
			told  bool
		}{
			"no device":       {edge.Command{Device: "nope", Verb: "on"}, edge.Synced, edge.ErrNoDevice, false},
			"an input":        {edge.Command{Device: "door", Verb: "on"}, edge.Synced, edge.ErrBadValue, false},
			"no verb":         {edge.Command{Device: "pump", Verb: "explode"}, edge.Synced, edge.ErrBadValue, false},
			"a long id":       {edge.Command{ID: string(make([]byte, 200)), Device: "pump", Verb: "on"}, edge.Synced, edge.ErrBadValue, false},
			"from upstream":   {edge.Command{Device: "pump", Verb: "on", Remote: true}, edge.Synced, edge.ErrRefused, true},
			"expired":         {edge.Command{Device: "pump", Verb: "on", Expires: past}, edge.Synced, edge.ErrRefused, true},
			"unsynced":        {edge.Command{Device: "pump", Verb: "on", Expires: future}, edge.Unsynced, edge.ErrRefused, true},
			"in time":         {edge.Command{Device: "pump", Verb: "off", Expires: future}, edge.Synced, nil, true},
			"expired with id": {edge.Command{ID: "x", Device: "pump", Verb: "toggle", Expires: past}, edge.Synced, edge.ErrRefused, true},
		} {
			b.Pump.Forget()
			b.Clock.SetState(c.state)
			out, err := s.Command(context.Background(), c.cmd)
			if !errors.Is(err, c.err) || out.Why == "" {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
			if evs := b.Pump.Events(""); len(evs) == 1 != c.told {
				t.Errorf("%s: events %v", name, evs)
			}
			level(t, b, false)
		}
		if n := b.Pump.Rows("commands"); n != 0 {
			t.Errorf("%d refused ids were kept", n)
		}
	})
}
