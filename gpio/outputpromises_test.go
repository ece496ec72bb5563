package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/queue"
)

// one world with outputs of these configs, as they stand in a file.
func worldOf(t *testing.T, configs ...string) *stream {
	t.Helper()
	s := &stream{w: newWorld(t, 1), ids: map[string]*record{}, ok: true}
	s.w.keeps = true
	for _, c := range configs {
		sp := spec(t, "digital_out", c)
		o := &out{name: sp.Name, w: s.w, cfg: *sp.Options.(*gpio.DigitalOut)}
		o.on = s.w.physical(o)
		s.w.outs, s.w.byName[o.name] = append(s.w.outs, o), o
	}
	t.Cleanup(func() {
		for _, f := range s.w.faults {
			t.Error(f)
		}
	})
	return s
}

// kill kills the process, and begins another after a while.
func (s *stream) kill(dead time.Duration) {
	s.w.mu.Lock()
	s.w.proc.die()
	s.w.mu.Unlock()
	s.after()
	pass(dead)
	s.w.start("", 0, false)
	s.after()
}

// do gives a command, and the reason of a refusal.
func (s *stream) do(t *testing.T, device, verb, value string) string {
	t.Helper()
	cmd := edge.Command{Device: device, Verb: verb, From: "client:app"}
	if value != "" {
		cmd.Value = json.RawMessage(value)
	}
	res, err := s.w.proc.source.Command(t.Context(), cmd)
	s.w.mu.Lock()
	s.answered(s.w.byName[device], cmd, res, err, nil)
	s.w.mu.Unlock()
	synctest.Wait()
	s.after()
	if res.Done != (err == nil) {
		t.Errorf("%+v, %v", res, err)
	}
	return res.Why
}

// is holds the level of an output.
func (s *stream) is(t *testing.T, device string, want bool) {
	t.Helper()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if got := s.w.byName[device].on; got != want {
		t.Errorf("%s is %v, want %v\n%s", device, got, want, strings.Join(s.w.script, "\n"))
	}
}

// A pump with max_on that is killed in mid-run is off at its deadline or at the restart,
// whichever comes first.
func TestPumpKilledInMidRunIsOffInTime(t *testing.T) {
	for _, boot := range []string{"off", "on", "hold", "last"} {
		for _, dead := range []time.Duration{0, time.Minute, 7 * time.Minute, time.Hour} {
			t.Run(fmt.Sprint(boot, " ", dead), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := worldOf(t, "pump: {digital_out: GPIO27, boot: "+boot+", max_on: 10m}")
					s.w.start("", 0, false)
					s.do(t, "pump", "off", "")
					s.do(t, "pump", "on", "")
					on := time.Now()
					pass(4 * time.Minute)
					s.is(t, "pump", true)
					s.kill(dead)
					end := 10*time.Minute - time.Since(on)
					s.is(t, "pump", boot != "off" && end > 0) // at the restart
					if end > 0 {
						pass(end - time.Millisecond)
						s.is(t, "pump", boot != "off")
						pass(time.Millisecond)
					}
					s.is(t, "pump", false)
					s.after()
					s.stop()
				})
			})
		}
	}
}

// An answer that says that an on is stored has its deadline stored too, whatever is lost
// after it: they were flushed apart, and a kill between left a pump without its end.
func TestAnsweredCommandHasItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "pump: {digital_out: GPIO27, boot: hold, max_on: 10m}")
		s.w.start("", 0, false)
		s.w.rules["pump"] = func(p *process, tl *tale) {
			if tl.ev.Kind == edge.Acted { // it is flushed alone, and nothing after it
				if err := p.pump.Commit(context.Background()); err != nil {
					t.Error(err)
				}
				s.w.mu.Lock()
				s.w.full = true
				s.w.mu.Unlock()
			}
		}
		s.do(t, "pump", "on", "")
		pass(time.Minute)
		delete(s.w.rules, "pump")
		s.w.hold(func() { s.w.full = false })
		s.w.mu.Lock()
		s.w.proc.die()
		s.w.mu.Unlock()
		s.after()
		s.w.start("", 0, false)
		s.is(t, "pump", true)
		pass(9*time.Minute - time.Millisecond)
		s.is(t, "pump", true)
		pass(time.Millisecond)
		s.is(t, "pump", false)
		s.after()
		s.stop()
	})
}

// One of an interlock is on at most, and who is refused hears of whom.
func TestInterlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "up: {digital_out: GPIO17, interlock: blind}", "down: {digital_out: GPIO27, interlock: blind, boot: last, stop: last}", "lamp: {digital_out: GPIO22}")
		s.w.start("", 0, false)
		s.do(t, "up", "on", "")
		if why := s.do(t, "down", "on", ""); !strings.Contains(why, "interlock blind: up is on") {
			t.Error(why)
		}
		s.do(t, "lamp", "on", "")
		s.do(t, "up", "off", "")
		s.do(t, "down", "pulse", `"90s"`)
		s.w.board.FailRequests("GPIO17", 1, unix.EBUSY)
		s.kill(time.Second) // down was on; its group is not known yet
		s.is(t, "down", false)
		if why := s.do(t, "down", "on", ""); !strings.Contains(why, "up is not held now") {
			t.Error(why)
		}
		pass(3 * time.Second)
		s.is(t, "down", true) // as it was commanded last
		s.stop()
	})
}

// min_cycle holds over a kill, and what boot asks for waits for it.
func TestMinCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "fridge: {digital_out: GPIO17, min_cycle: 5m, boot: last}")
		s.w.start("", 0, false)
		pass(5 * time.Minute)
		s.do(t, "fridge", "on", "")
		s.do(t, "fridge", "off", "")
		pass(time.Minute)
		s.kill(time.Minute)
		if why := s.do(t, "fridge", "on", ""); !strings.Contains(why, "it can go on in 3m") {
			t.Error(why)
		}
		pass(3 * time.Minute)
		s.do(t, "fridge", "on", "")
		s.w.hold(func() { s.w.keeps = false })
		s.kill(0) // its line falls: a compressor that stopped just now
		s.is(t, "fridge", false)
		pass(5*time.Minute - time.Millisecond)
		s.is(t, "fridge", false)
		pass(time.Millisecond)
		s.is(t, "fridge", true)
		s.after()
		s.stop()
	})
}

// Where no uplink acknowledges, an output goes where offline says, also where the agent
// is killed again and again, and stays there until one does.
func TestOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "pump: {digital_out: GPIO17, boot: hold, offline: {after: 5m, uplinks: [cloud]}}")
		s.w.start("", 0, false)
		pass(time.Minute)
		s.do(t, "pump", "on", "")
		s.w.hold(func() { s.w.links[0].heard = false })
		for range 3 {
			pass(time.Minute)
			s.is(t, "pump", true)
			s.kill(0)
		}
		pass(2 * time.Minute) // at the latest; what was heard last is stored now and then
		s.is(t, "pump", false)
		if why := s.do(t, "pump", "on", ""); !strings.Contains(why, "no uplink has acknowledged anything for 5m") {
			t.Error(why)
		}
		s.w.hold(func() { s.w.links[0].heard = true })
		pass(2 * time.Second)
		s.is(t, "pump", false)
		s.do(t, "pump", "on", "")
		s.is(t, "pump", true)
		s.stop()
	})
}

// A pulse that a stop cut short is over: with boot: last it came back and had no end.
func TestPulseCutShortIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "pump: {digital_out: GPIO17, boot: last}")
		s.w.start("", 0, false)
		s.do(t, "pump", "pulse", `"90s"`)
		s.stop()
		s.w.start("", 0, false)
		s.is(t, "pump", false)
		s.after()
		s.stop()
	})
}

// A command that could not be recorded is told like any other refusal.
func TestUnrecordedCommandIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "pump: {digital_out: GPIO17}")
		s.w.start("", 0, false)
		s.w.hold(func() { s.w.full = true })
		res, err := s.w.proc.source.Command(context.Background(), edge.Command{ID: "a", Device: "pump", Verb: "toggle", From: "client:app"})
		synctest.Wait()
		o := s.w.byName["pump"]
		if !errors.Is(err, queue.ErrFull) || res.Done || len(o.acted) != 1 || *o.acted[0].data.Done || !strings.Contains(o.acted[0].data.Why, "full") {
			t.Errorf("%+v, %v, told %v", res, err, len(o.acted))
		}
		o.calls = append(o.calls, call{id: "a", from: "client:app"})
		s.w.hold(func() { s.w.full = false })
		s.stop()
	})
}

func TestOutputConfigThatContradictsItself(t *testing.T) {
	for _, c := range []struct{ more, want string }{
		{"offline: {after: 5m, set: last}", "it is off or on"},
		{"offline: {uplinks: [cloud]}", "after is 0s"},
		{"offline: {after: 5m, uplinks: [clod]}", `no uplink "clod"`},
		{"offline: {after: 5m, set: on}, max_on: 5m", "max_on or interlock"},
		{"interlock: a, stop: hold", "interlock"},
	} {
		sp := spec(t, "digital_out", "pump: {digital_out: GPIO17, "+c.more+"}")
		w := newWorld(t, 1)
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{sp}, Rows: &process{w: w}, Clock: w.clock, Lookup: w.board.Lookup, UplinkNames: []string{"cloud"}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.more, err)
		}
	}
}
