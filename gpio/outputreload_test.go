package gpio_test

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// change is what a reload makes of an output whose line it gives back and takes anew.
type change struct {
	cfg        gpio.DigitalOut
	was, timed bool // before
	bar        string
}

// parks reports whether the config lets the line outlive the process.
func (o *out) parks() bool { return parks(&o.cfg) }

func parks(c *gpio.DigitalOut) bool {
	return c.Stop == gpio.RestHold && c.MaxOn == 0 && c.Offline.After == 0
}

// goesOn reports whether a line must not notice another config.
func (o *out) goesOn(c gpio.DigitalOut) bool {
	return parks(&c) == o.parks() && c.Interlock == o.cfg.Interlock && reflect.DeepEqual(c.Offline, o.cfg.Offline)
}

// left sees a line that a reload gives back. The caller holds w.mu.
func (o *out) left() {
	if c := o.next; c != nil && !o.w.proc.dead && !o.mayRest(c.was, c.timed, c.bar) {
		o.w.fault("%s: it was %v, and a reload left it %v; stop is %s", o.name, c.was, o.value, o.cfg.Stop)
	}
}

// renew goes on with the config of a reload.
func (o *out) renew() {
	c := o.next
	if c != nil {
		o.pended = o.mayBoot && o.mustBoot && !o.on
		o.unsure, o.loose = o.unsure || o.loose, false
		o.cfg, o.next, o.begun, o.mayBoot = c.cfg, nil, false, false
	}
	o.asked, o.moved = nil, o.parked && !o.parks()
}

// altered is another config for an output, often the same.
func (s *stream) altered(o *out) gpio.DigitalOut {
	c, n := o.cfg, s.config(o.cfg.Pin)
	switch s.IntN(6) {
	case 0:
		c.MaxOn = n.MaxOn
		if c.Offline.Set == gpio.RestOn {
			c.MaxOn = 0
		}
	case 1:
		c.MinCycle, c.Remote = n.MinCycle, n.Remote
	case 2:
		if c.Interlock == "" {
			c.Boot, c.Stop = n.Boot, n.Stop
		}
	case 3:
		n.ActiveLow = c.ActiveLow // another polarity is another line
		return n
	}
	return c
}

// reload puts other configs in force: who is the same or changed in words alone sees no
// edge, but where its time is over by now; the others are left as stop says and begin as
// boot does.
func (s *stream) reload() {
	p := s.w.proc
	s.w.mu.Lock()
	calm := !s.w.full && !p.dead
	for _, o := range s.w.outs {
		calm = calm && o.held && o.fails <= 0
	}
	if !calm {
		s.w.mu.Unlock()
		return
	}
	s.w.say("reload")
	s.w.askAnew()
	p.swapping = true
	var specs []gpio.Spec
	edges, taken, boots := map[*out]int{}, map[*out]int{}, map[*out]bool{}
	for _, o := range s.w.outs {
		c := s.altered(o)
		edges[o], taken[o], boots[o] = o.seen, o.taken, o.mayBoot
		if same := reflect.DeepEqual(c, o.cfg); !same {
			s.w.say("%s: %+v", o.name, c)
		}
		if o.goesOn(c) {
			o.cfg = c
		} else {
			o.next = &change{c, o.on, o.on && (o.cfg.MaxOn > 0 || o.pulse > 0), o.bar()}
		}
		opts := c
		specs = append(specs, gpio.Spec{Name: o.name, Driver: "digital_out", Options: &opts})
	}
	s.w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	plan, mistakes, busy := p.source.Plan(append(specs, s.w.more...), linkNames)
	if plan == nil {
		s.w.hold(func() { s.w.fault("a reload: %v, %v", mistakes, busy) })
		return
	}
	err := plan.Swap(ctx)
	synctest.Wait()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	p.swapping = false
	if err != nil && !p.dead {
		s.w.fault("a reload: %v", err)
	}
	for _, o := range s.w.outs {
		again := o.taken - taken[o]
		switch {
		case p.dead:
		case o.next != nil || again > 1:
			s.w.fault("%s: a reload took its line %d times", o.name, again)
		case again == 0 && o.seen != edges[o] && len(s.w.rules) == 0 && !(o.cfg.MaxOn > 0 && !o.on) && !(boots[o] && o.on):
			s.w.fault("%s: a reload moved its line", o.name)
		}
		if o.next != nil { // its file has it
			o.cfg, o.next = o.next.cfg, nil
		}
	}
}

// reloadTo puts other outputs in force, as they stand in a file, which must work.
func (s *stream) reloadTo(t *testing.T, configs ...string) {
	t.Helper()
	var specs []gpio.Spec
	s.w.mu.Lock()
	s.w.proc.swapping = true
	for _, c := range configs {
		sp := spec(t, "digital_out", c)
		o, cfg := s.w.byName[sp.Name], *sp.Options.(*gpio.DigitalOut)
		if o.goesOn(cfg) {
			o.cfg = cfg
		} else {
			o.next = &change{cfg, o.on, o.on && (o.cfg.MaxOn > 0 || o.pulse > 0), o.bar()}
		}
		specs = append(specs, sp)
	}
	s.w.mu.Unlock()
	plan, mistakes, busy := s.w.proc.source.Plan(specs, linkNames)
	if plan == nil {
		t.Fatal(mistakes, busy)
	}
	if err := plan.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	s.w.hold(func() { s.w.proc.swapping = false })
	s.after()
}

// A pulse that max_on would have cut short has its own end again where a reload takes
// that limit away or puts it off: it had none, and a pump ran on.
func TestPulseOutlivesMaxOn(t *testing.T) {
	for _, more := range []string{"", ", max_on: 1h"} {
		synctest.Test(t, func(t *testing.T) {
			s := worldOf(t, "pump: {digital_out: GPIO27, boot: last, max_on: 10m}")
			s.w.start("", 0, false)
			s.do(t, "pump", "on", "")
			pass(6 * time.Minute)
			s.do(t, "pump", "pulse", `"5m"`)
			pass(time.Minute)
			s.reloadTo(t, "pump: {digital_out: GPIO27, boot: last"+more+"}")
			pass(4*time.Minute - time.Millisecond)
			s.is(t, "pump", true)
			pass(time.Millisecond)
			s.is(t, "pump", false)
			s.stop()
		})
	}
}

// An output that comes into a group, or gets another boot, from a config that parked its
// line begins like any other: it stayed on beside the one of the group that was on.
func TestParkedOutputOfAnotherConfig(t *testing.T) {
	for _, kill := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			up := "up: {digital_out: GPIO17, interlock: blind}"
			s := worldOf(t, up, "down: {digital_out: GPIO27, stop: hold}", "lamp: {digital_out: GPIO22, stop: hold}")
			s.w.start("", 0, false)
			for _, name := range []string{"up", "down", "lamp"} {
				s.do(t, name, "on", "")
			}
			down, lamp := "down: {digital_out: GPIO27, interlock: blind}", "lamp: {digital_out: GPIO22, max_on: 1h}"
			if kill {
				s.w.hold(func() {
					for _, o := range s.w.outs[1:] {
						o.cfg.Stop = gpio.RestOff
					}
					s.w.outs[1].cfg.Interlock, s.w.outs[2].cfg.MaxOn = "blind", edge.Duration(time.Hour)
				})
				s.kill(time.Second)
			} else {
				s.reloadTo(t, up, down, lamp)
			}
			s.is(t, "up", !kill)
			s.is(t, "down", false)
			s.is(t, "lamp", false)
			s.stop()
		})
	}
}

// What boot asks for waits no longer than the min_cycle that a reload made shorter.
func TestReloadShortensMinCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := worldOf(t, "fridge: {digital_out: GPIO17, min_cycle: 5m, boot: on}")
		s.w.start("", 0, false)
		s.is(t, "fridge", false)
		pass(time.Minute)
		s.reloadTo(t, "fridge: {digital_out: GPIO17, min_cycle: 2m, boot: on}")
		pass(time.Minute - time.Millisecond)
		s.is(t, "fridge", false)
		pass(time.Millisecond)
		s.is(t, "fridge", true)
		s.stop()
	})
}
