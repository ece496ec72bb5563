package gpio_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
)

var (
	streamSeed = flag.Uint64("seed", 0, "run this one stream of TestOutputStreams")
	streamMany = flag.Int("streams", 0, "run so many streams of TestOutputStreams; 0: 10,000, or 1,000 with -short")
)

// TestOutputStreams gives random outputs random commands, rules, kills, cuts of the
// power, faults and clocks, and holds what their lines did against the contract
// (DESIGN.md 5, "Outputs"). A stream that breaks it is told with its seed:
// go test ./gpio -run OutputStreams -seed N.
func TestOutputStreams(t *testing.T) {
	if *streamSeed != 0 {
		runStream(t, *streamSeed, true)
		return
	}
	n := *streamMany
	if n == 0 {
		n = 10_000
	}
	if testing.Short() && *streamMany == 0 {
		n = 1_000
	}
	var next, bad atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1); seed <= int64(n) && bad.Load() < 5; seed = next.Add(1) {
				if !runStream(t, uint64(seed), false) {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
}

// runStream runs one stream, and reports whether it kept the rules.
func runStream(t *testing.T, seed uint64, loud bool) (ok bool) {
	t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newStream(t, seed)
			s.run()
			if len(s.w.faults) > 0 {
				t.Errorf("seed %d: %d faults\n%s", seed, len(s.w.faults), strings.Join(s.w.script, "\n"))
			} else if loud {
				t.Log("\n" + strings.Join(s.w.script, "\n"))
			}
			ok = len(s.w.faults) == 0
		})
	})
	return ok
}

// stream is a random script against a world.
type stream struct {
	*rand.Rand
	w   *world
	ids map[string]*record
	ok  bool // the clock is synchronised
}

// record is what is known of a command id.
type record struct {
	cmd   edge.Command
	first edge.Outcome // what it was answered, where it acted; "" ID: nothing yet
	moved bool         // a line moved for it
	kept  bool         // the answer came from a process that runs still, or was stored
	lost  bool         // its process was killed in the middle
}

// one gives one of some.
func one[T any](s *stream, of ...T) T { return of[s.IntN(len(of))] }

// chance is true once in n times.
func (s *stream) chance(n int) bool { return s.IntN(n) == 0 }

func newStream(t *testing.T, seed uint64) *stream {
	s := &stream{Rand: rand.New(rand.NewPCG(seed, 0)), w: newWorld(t, seed), ids: map[string]*record{}, ok: true}
	s.w.keeps = s.chance(2)
	pins := []edge.Pin{"GPIO4", "GPIO17", "GPIO27", "GPIO22", "GPIO5", "GPIO13"}
	for i := range 1 + s.IntN(4) {
		o := &out{name: fmt.Sprintf("o%d", i), w: s.w, cfg: s.config(pins[i])}
		o.on = s.w.physical(o)
		s.w.outs = append(s.w.outs, o)
		s.w.byName[o.name] = o
		s.w.say("%s: %+v", o.name, o.cfg)
	}
	s.w.say("the kernel leaves levels: %v", s.w.keeps)
	if len(s.w.outs) > 1 && s.chance(2) {
		s.rule(s.w.outs[0], s.w.outs[1])
	}
	return s
}

// config is a random one that the driver takes.
func (s *stream) config(pin edge.Pin) gpio.DigitalOut {
	c := gpio.DigitalOut{Pin: pin, ActiveLow: s.chance(3), Remote: s.chance(2), States: gpio.States{On: "on", Off: "off"},
		Boot: one(s, gpio.RestOff, gpio.RestOff, gpio.RestOn, gpio.RestHold, gpio.RestLast),
		Stop: one(s, gpio.RestOff, gpio.RestOff, gpio.RestOn, gpio.RestHold, gpio.RestLast), Offline: gpio.Offline{Set: gpio.RestOff}}
	if s.chance(2) {
		c.MaxOn = edge.Duration(one(s, 5, 60, 600)) * edge.Duration(time.Second)
	}
	if s.chance(3) {
		c.MinCycle = edge.Duration(one(s, 2, 30, 300)) * edge.Duration(time.Second)
	}
	if s.chance(4) {
		c.Interlock = "motor"
		c.Boot, c.Stop = one(s, gpio.RestOff, gpio.RestOn, gpio.RestLast), one(s, gpio.RestOff, gpio.RestLast)
	}
	if s.chance(4) {
		c.Offline.After = edge.Duration(one(s, 20, 120)) * edge.Duration(time.Second)
		c.Offline.Uplinks = one(s, nil, nil, linkNames[:1], linkNames[1:], linkNames)
		if c.MaxOn == 0 && c.Interlock == "" {
			c.Offline.Set = one(s, gpio.RestOff, gpio.RestOn)
		}
	}
	return c
}

// rule makes a rule: what one output does moves another.
func (s *stream) rule(when, then *out) {
	verb := one(s, "on", "off", "toggle")
	s.w.say("rule: %s changes, %s %s", when.name, verb, then.name)
	s.w.rules[when.name] = func(p *process, t *tale) {
		if t.ev.Kind != edge.Change {
			return
		}
		cmd := edge.Command{Device: then.name, Verb: verb, From: "rule:r"}
		res, err := p.source.React(cmd, t.ticket)
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		if p.dead {
			return
		}
		s.w.say("  rule: %s %s: %v %v", verb, then.name, res.Done, err)
		s.answered(then, cmd, res, err, t.ticket)
	}
}

// run runs the script.
func (s *stream) run() {
	s.start()
	for range 20 + s.IntN(40) {
		if s.w.proc == nil {
			s.between()
			continue
		}
		s.step()
		synctest.Wait()
		s.after()
	}
	if s.w.proc != nil {
		s.stop()
	}
	s.w.settle()
}

// after holds the world against the rules, and buries who was killed.
func (s *stream) after() {
	s.w.mu.Lock()
	p := s.w.proc
	if p == nil {
		s.w.mu.Unlock()
		return
	}
	dead := p.dead
	s.w.reconcile(!dead)
	s.w.mu.Unlock()
	if dead {
		s.bury(p)
	}
}

// bury ends what a killed process left running here.
func (s *stream) bury(p *process) {
	p.stops()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.gone(p)
}

// gone notes that no process runs. What it did not store is lost.
func (s *stream) gone(p *process) {
	s.w.slack = 65 * time.Second // a quarter of the longest time, twice, and a poll or two
	if p.filled {
		s.w.slack = time.Hour
	}
	s.w.proc = nil
	for _, r := range s.ids {
		r.kept = r.kept && r.first.Event != ""
	}
}

// between is what happens while no process runs.
func (s *stream) between() {
	switch s.IntN(5) {
	case 0:
		pass(time.Duration(s.IntN(300)) * time.Second)
	case 1: // the power is cut
		s.w.say("power cut")
		s.w.board.Unplug()
		s.w.board.Plug()
		s.w.clock.Reboot()
		for _, o := range s.w.outs {
			_ = s.w.board.Undrive(o.cfg.Pin)
			o.parked = false
			s.w.let(o)
		}
	case 2:
		s.clock()
	default:
		s.start()
	}
}

func (s *stream) start() {
	fuse := 0
	if s.chance(4) {
		fuse = 1 + s.IntN(30)
	}
	safe := ""
	if s.chance(6) {
		safe = "it crashed"
	}
	if s.chance(8) {
		o := one(s, s.w.outs...)
		n := 1 + s.IntN(2)
		s.w.say("%s: %d requests will fail", o.name, n)
		o.sick = 3 * time.Minute
		s.w.board.FailRequests(o.cfg.Pin, n, one[error](s, unix.EIO, unix.EBUSY))
	}
	s.w.say("start, safe %q, killed after %d", safe, fuse)
	s.w.start(safe, fuse, s.chance(2))
	s.after()
}

// stop ends the process in good order.
func (s *stream) stop() {
	p := s.w.proc
	s.w.mu.Lock()
	s.w.say("stop")
	was := map[*out]bool{}
	bar := map[*out]string{}
	timed := map[*out]bool{}
	for _, o := range s.w.outs {
		was[o], bar[o], timed[o] = o.on, o.bar(), o.on && (o.cfg.MaxOn > 0 || o.pulse > 0)
		if !o.held || o.fails > 0 {
			bar[o] = "gone"
		}
	}
	p.ending = true
	s.w.mu.Unlock()
	p.stops()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.reconcile(false)
	for _, o := range s.w.outs {
		if !p.dead && bar[o] != "gone" && !o.mayRest(was[o], timed[o], bar[o]) {
			s.w.fault("%s: it was %v and is left %v; stop is %s", o.name, was[o], o.value, o.cfg.Stop)
		}
	}
	s.gone(p)
}

// mayRest reports whether an output was left as stop says.
func (o *out) mayRest(was, timed bool, bar string) bool {
	switch {
	case o.unsure || len(o.w.rules) > 0:
		return true
	case o.cfg.Stop == gpio.RestOff || timed:
		return !o.value
	case o.cfg.Stop == gpio.RestOn:
		return o.value || bar != ""
	}
	return o.value == was
}

// step does one thing to a process.
func (s *stream) step() {
	o := one(s, s.w.outs...)
	switch n := s.IntN(42); {
	case n < 20:
		s.command(o)
	case n < 27:
		pass(time.Duration(one(s, 1, 100, 1000, 5000, 30_000, 60_000, 300_000, s.IntN(20_000))) * time.Millisecond)
	case n < 29:
		s.stop()
		s.start()
	case n < 31:
		s.w.mu.Lock()
		s.w.proc.die()
		s.w.mu.Unlock()
	case n < 32:
		s.w.mu.Lock()
		s.w.proc.fuse, s.w.proc.after = 1+s.IntN(6), s.chance(2)
		s.w.mu.Unlock()
	case n < 34:
		s.clock()
	case n < 36:
		s.w.mu.Lock()
		s.w.full = !s.w.full
		s.w.proc.filled = true
		s.w.say("disk full: %v", s.w.full)
		s.w.mu.Unlock()
		if !s.w.full {
			pass(3 * time.Second)
		}
	case n < 37:
		s.w.mu.Lock()
		if o.fails <= 0 {
			o.fails = 1 + s.IntN(2)
			s.w.say("%s: %d Sets will fail", o.name, o.fails)
			s.w.board.FailSets(o.cfg.Pin, o.fails, unix.EIO)
		}
		s.w.mu.Unlock()
	case n < 39:
		s.w.mu.Lock()
		for _, u := range one(s, s.w.links[:1], s.w.links[1:], s.w.links, s.w.links) {
			u.heard = !u.heard
			s.w.say("uplink %s acknowledges: %v", u.name, u.heard)
		}
		s.w.mu.Unlock()
	case n < 40:
		s.resume()
	default:
		s.reload()
	}
}

// clock steps the wall clock, or loses or finds its sync.
func (s *stream) clock() {
	if s.chance(2) {
		d := time.Duration(s.IntN(6)-3) * 365 * 24 * time.Hour
		s.w.say("the wall clock steps by %s", d)
		s.w.clock.Step(d)
		return
	}
	s.ok = !s.ok
	s.w.say("synchronised: %v", s.ok)
	s.w.clock.SetState(map[bool]edge.ClockState{true: edge.Synced, false: edge.Unsynced}[s.ok])
}
