package gpio_test

import (
	"encoding/json"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/queue"
)

// out is an output and what the rules know of it: its config, its line's levels, what
// it was asked and what it answered, and nothing of what the driver keeps.
type out struct {
	name string
	cfg  gpio.DigitalOut
	w    *world

	held   bool // by a process that runs
	begun  bool // it was held before in this process
	ran    bool // and in any
	taken  int  // so often
	parked bool
	on     bool // the line's logical level
	seen   int  // of the board's trace

	value bool          // the level when it was held last
	since queue.Stamp   // of value
	want  bool          // what boot: last goes by
	pulse time.Duration // after since; 0: none
	// unsure: a kill took what was not stored. What a restart goes by is not known until
	// the next change.
	unsure  bool
	loose   bool // want changed with no event, and may not be stored
	tickets []*edge.Ticket

	bootAt   queue.Stamp // the line was requested then
	mayBoot  bool        // boot has it on
	mustBoot bool
	pended   bool        // it was to, when its process ended
	next     *change     // what a reload is about to make of it
	moved    bool        // its config parks its line no more
	may      []bool      // then it is at one of these
	safe     bool        // it began in a safe start that was not over
	untold   bool        // its line was taken, and what was found is not told yet
	free     queue.Stamp // nothing has kept it from that since then
	moves    []move      // that no event told yet
	last     queue.Stamp
	jumped   queue.Stamp // it moved then since a command began,
	jump     bool        // to there
	asked    *tale       // the event before, where it tells a command that was done
	acted    []*tale     // commands that were told, and that no call claimed yet
	calls    []call
	fails    int           // Sets that will fail
	away     queue.Stamp   // it is not held since
	sick     time.Duration // how long that may last: its line failed
}

// move is a change of a held line's level.
type move struct {
	level bool
	at    queue.Stamp
	stays time.Duration // at the level before
	again bool          // it had moved at this instant
}

// call is an answer that must have its event.
type call struct {
	id, from string
	done     bool
	silent   bool // an event is not needed
	cause    *edge.Ticket
}

func (o *out) age(st queue.Stamp) time.Duration { return o.w.clock.Age(st) }

// overdue reports whether it is to be off by now.
func (o *out) overdue() bool {
	if !o.value || o.unsure {
		return false
	}
	age := o.age(o.since)
	return o.cfg.MaxOn > 0 && age >= o.cfg.MaxOn.D() || o.pulse > 0 && age >= o.pulse
}

// outlive forgets a pulse that was over while offline had the output on.
func (o *out) outlive() {
	if o.pulse > 0 && o.age(o.since) >= o.pulse && o.on && o.maybeOffline() && o.cfg.Offline.Set == gpio.RestOn {
		o.pulse, o.unsure = 0, true
	}
}

// resting is how long min_cycle keeps it off still.
func (o *out) resting() time.Duration {
	if o.cfg.MinCycle == 0 || o.value {
		return 0
	}
	return max(0, o.cfg.MinCycle.D()-o.age(o.since))
}

// moved sees a Set. The caller holds w.mu.
func (w *world) moved(o *out, err error) {
	level, trace := w.physical(o), w.board.Trace(o.cfg.Pin)
	n := len(trace) - o.seen
	o.seen = len(trace)
	switch {
	case err != nil && n > 0:
		w.fault("%s: a Set that failed moved the line", o.name)
	case err != nil:
		o.fails--
		o.sick = 3 * time.Minute
	case n > 1:
		w.fault("%s: the line moved %d times in one step", o.name, n)
	}
	if level == o.on {
		return
	}
	now := w.clock.Stamp()
	w.say("%s: line %v", o.name, level)
	if level && !o.unsure && !w.proc.swapping && o.resting() > 0 { // a rule may be quicker than the reload
		w.fault("%s: it went on with %s of min_cycle left", o.name, o.resting())
	}
	if level && o.cfg.Offline.Set == gpio.RestOff && o.surelyOffline() {
		w.fault("%s: it went on, and no uplink was heard for too long", o.name)
	}
	o.moves = append(o.moves, move{level: level, at: now, stays: o.age(o.since), again: o.last == now})
	o.on, o.value, o.since, o.last = level, level, now, now
	if o.jumped == (queue.Stamp{}) {
		o.jumped, o.jump = now, level
	}
	w.checkLocks(o)
}

// let sees a line that its process let go of, at the level that the kernel leaves.
func (w *world) let(o *out) {
	o.left()
	o.on, o.held, o.away = w.physical(o), false, w.clock.Stamp()
	o.seen = len(w.board.Trace(o.cfg.Pin))
}

// checkLocks: of a group one is on at most.
func (w *world) checkLocks(o *out) {
	for _, other := range w.outs {
		if o.on && o.cfg.Interlock != "" && other.cfg.Interlock == o.cfg.Interlock {
			other.mustBoot = false // given up
		}
		if o.on && other.on && other != o && o.held && other.held && o.cfg.Interlock != "" && o.cfg.Interlock == other.cfg.Interlock {
			w.fault("%s and %s of interlock %s are both on", o.name, other.name, o.cfg.Interlock)
		}
	}
}

// bar reports what keeps an output from going on, as far as is known: "" nothing, "?"
// perhaps something.
func (o *out) bar() string {
	switch {
	case o.cfg.Offline.Set == gpio.RestOff && o.surelyOffline():
		return "uplink"
	case o.resting() > 0 && !o.unsure:
		return "min_cycle"
	case o.unsure && o.cfg.MinCycle > 0, o.cfg.Offline.Set == gpio.RestOff && o.maybeOffline():
		return "?"
	}
	for _, other := range o.w.outs {
		if other != o && o.cfg.Interlock != "" && other.cfg.Interlock == o.cfg.Interlock && (!other.held || other.on) {
			return "interlock"
		}
	}
	return ""
}

// check looks at what must hold now, with nothing in progress. The caller holds w.mu.
func (o *out) check() {
	w, now := o.w, o.w.clock.Stamp()
	if !o.held {
		if o.age(o.away) > 3*time.Minute+o.sick {
			w.fault("%s: nothing is wrong with its line, and it is not held", o.name)
			o.away = now
		}
		return
	}
	w.checkLocks(o)
	if o.may != nil && len(w.rules) == 0 && o.since == o.bootAt && !slices.Contains(o.may, o.on) {
		w.fault("%s: it was parked by another config and is %v now, not %v", o.name, o.on, o.may)
	}
	o.may = nil
	age := o.age(o.since)
	silent, _ := o.silent()
	o.outlive()
	switch calm := o.fails <= 0; {
	case calm && o.on && o.cfg.MaxOn > 0 && age > o.cfg.MaxOn.D():
		w.fault("%s: on for %s, max_on is %s", o.name, age, o.cfg.MaxOn)
	case calm && o.on && o.pulse > 0 && age > o.pulse:
		w.fault("%s: on for %s, its pulse is %s", o.name, age, o.pulse)
	case calm && o.cfg.Offline.After > 0 && silent > o.cfg.Offline.After.D()+2*time.Second && o.on != (o.cfg.Offline.Set == gpio.RestOn) && o.resting() == 0 && o.age(o.since) > 2*time.Second:
		w.fault("%s: it is %v, and no uplink was heard for %s", o.name, o.on, silent)
	}
	if o.bar() != "" || o.maybeOffline() || o.on || o.fails > 0 {
		o.free = now
	}
	free := min(o.age(o.free), age-o.cfg.MinCycle.D())
	for _, other := range w.outs {
		free = min(free, o.age(other.bootAt))
	}
	if o.mayBoot && o.mustBoot && !o.on && !o.unsure && free > 15*time.Second {
		w.fault("%s: boot has it on, nothing keeps it from that, and it is off", o.name)
		o.mayBoot = false
	}
}

// reconcile looks at what was told against what moved. The caller holds w.mu.
func (w *world) reconcile(alive bool) {
	for _, o := range w.outs {
		if alive && len(o.moves) > 0 {
			w.fault("%s: the line went %v and nothing tells it", o.name, o.moves[0].level)
		}
		o.unsure = o.unsure || len(o.moves) > 0 || !alive && o.untold
		o.untold = false
		o.moves = nil
		o.claim(alive)
		if alive {
			o.check()
		}
	}
}

// claim gives each answer its event, and each event its answer.
func (o *out) claim(alive bool) {
	for _, t := range o.acted {
		i := slices.IndexFunc(o.calls, func(c call) bool { return c.id == t.data.ID })
		if i < 0 {
			if alive {
				o.w.fault("%s: nobody gave the command %s", o.name, t.ev.Data)
			}
			continue
		}
		if c := o.calls[i]; c.from != t.ev.From || c.done != *t.data.Done {
			o.w.fault("%s: the command of %s is told as %s, %s", o.name, c.from, t.ev.From, t.ev.Data)
		}
		o.w.owe(t, o.calls[i].cause)
		o.calls = slices.Delete(o.calls, i, i+1)
	}
	for _, c := range o.calls {
		if alive && !c.silent {
			o.w.fault("%s: no event tells the command %q", o.name, c.id)
		}
	}
	o.acted, o.calls = nil, nil
}

// told sees an event, before anything else may follow from it. The caller holds w.mu.
func (o *out) told(t *tale) {
	o.tickets = append(o.tickets, t.ticket)
	switch t.ev.Kind {
	case edge.Acted:
		o.asked = nil
		if t.data.Done == nil || !*t.data.Done && t.data.Why == "" {
			o.w.fault("%s: a command without done, or refused without why: %s", o.name, t.ev.Data)
			return
		}
		if o.acted = append(o.acted, t); *t.data.Done {
			o.asked = t
			o.accept(t)
		}
	case edge.Change:
		o.untold = false
		o.heardChange(t)
	default:
		o.w.fault("%s: a %s", o.name, t.ev.Kind)
	}
}

// heardChange sees the event of a change.
func (o *out) heardChange(t *tale) {
	w, level := o.w, string(t.data.Value) == "true"
	asked := o.asked
	o.asked = nil
	if t.ev.From != "device:"+o.name {
		w.fault("%s: its change is from %s", o.name, t.ev.From)
	}
	if len(o.moves) == 0 || o.moves[0].level != level || o.moves[0].at.Mono != t.ev.Mono {
		if o.bootAt.Mono != t.ev.Mono {
			w.fault("%s: an event tells %s, and nothing moved", o.name, t.ev.Data)
		}
		return // what a start found
	}
	m := o.moves[0]
	o.moves = o.moves[1:]
	if m.again && asked == nil && !w.proc.swapping && t.data.Why != "stop" && t.data.Why != "safe start over" {
		w.fault("%s: two changes at one instant, the second because of %q", o.name, t.data.Why)
	}
	if o.unsure && o.bootAt != m.at && t.data.Why != "stop" {
		defer func() { o.unsure = false }()
	}
	if !o.justified(m, t.data.Why, asked) {
		w.fault("%s: it went %v after %s because of %q (asked %v; want %v, mayBoot %v, unsure %v, pulse %s)", o.name, level, m.stays, t.data.Why, asked != nil, o.want, o.mayBoot, o.unsure, o.pulse)
	}
	if asked != nil && t.data.Why == "" {
		w.owe(t, asked.ticket)
	}
	if !m.level {
		o.pulse = 0
	}
}

// owe notes that an event must name another as its cause, once both are stored.
func (w *world) owe(t *tale, cause *edge.Ticket) {
	if cause != nil {
		w.debts = append(w.debts, debt{t.ticket, cause})
	}
}

// debt is a cause that is not known to be told yet.
type debt struct{ effect, cause *edge.Ticket }

// settle looks whether events name their causes.
func (w *world) settle() {
	for _, d := range w.debts {
		select {
		case <-d.effect.Done():
		default:
			continue // it died with its process
		}
		if ev, err := d.effect.Event(); err == nil && ev.Cause != d.cause.ID() {
			w.fault("%s: its cause is %q, not %q", ev.Name, ev.Cause, d.cause.ID())
		}
	}
	w.debts = nil
}

// justified reports whether a change has the cause that its event tells.
func (o *out) justified(m move, why string, asked *tale) bool {
	over, boot := o.cfg.MaxOn.D(), o.bootAt == m.at
	switch why {
	case "":
		if asked == nil && boot && o.may != nil { // another config parked it
			return slices.Contains(o.may, m.level)
		}
		return asked != nil && string(asked.data.Value) == string(boolText(m.level)) && asked.ev.Mono == m.at.Mono
	case "max_on":
		o.want = false
		return !m.level && over > 0 && (m.stays >= over || o.unsure)
	case "pulse":
		o.want = false
		return !m.level && (o.pulse > 0 && m.stays >= o.pulse || o.unsure)
	case "offline":
		o.want, o.mayBoot = m.level, false
		return o.maybeOffline() && m.level == (o.cfg.Offline.Set == gpio.RestOn)
	case "boot":
		ok := m.level && (o.mayBoot || o.unsure)
		o.mayBoot = false
		if !o.w.safe() {
			o.want = true
		}
		return ok
	case "stop":
		if o.pulse > 0 && (o.cfg.MaxOn == 0 || o.pulse < o.cfg.MaxOn.D()) || o.parks() {
			o.want = m.level // its pulse is over
		}
		return o.w.proc.ending || o.w.proc.swapping
	case "safe start":
		return o.w.proc.safe && boot
	case "safe start over":
		return o.w.proc.over == m.at
	}
	return false
}

func boolText(v bool) json.RawMessage {
	if v {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

// safe reports whether this is a safe start that goes on.
func (w *world) safe() bool { return w.proc != nil && w.proc.safe }
