package gpio_test

import (
	"slices"
	"testing/synctest"

	"fieldpost/gpio"
	"fieldpost/queue"
)

// requested sees a line that was taken at the level was. The caller holds w.mu.
func (w *world) requested(o *out, was bool) {
	level := w.physical(o)
	if n := len(w.board.Trace(o.cfg.Pin)) - o.seen; n > 1 || n == 1 && level == was {
		w.fault("%s: its request took the line through another level", o.name)
	}
	o.seen = len(w.board.Trace(o.cfg.Pin))
	o.renew()
	may := o.bootLevels(was)
	if !slices.Contains(may, level) {
		w.fault("%s: it began %v, and may begin %v (line %v, wants %v, unsure %v)", o.name, level, may, was, o.want, o.unsure)
	}
	w.say("%s: taken, line %v to %v", o.name, was, level)
	shelf := o.parked
	if o.may = nil; shelf && o.moved {
		o.parked, o.may = false, nil
		o.may = o.bootLevels(was)
	}
	now := w.clock.Stamp()
	o.bootAt, o.free, o.last = now, now, queue.Stamp{}
	if level != was {
		o.last = now
	}
	begins := level
	if len(o.may) > 0 {
		begins = o.may[0] // where it goes from what another config left
	}
	o.mustBoot = !begins && o.bootOn() && !o.overdue()
	parked := o.parked && o.cfg.MinCycle > 0 && (o.cfg.Boot == gpio.RestOn || o.cfg.Boot == gpio.RestLast)
	perhaps := o.begun && o.want && o.maybeOffline()
	o.mayBoot = !begins && (o.unsure || parked || perhaps) || o.mustBoot || len(o.may) > 1
	o.took(level, now)
	if want := begins || o.mustBoot || perhaps; !w.proc.safe {
		o.loose = o.loose || want != o.want && (w.full || w.proc.fuse > 0)
		o.want = want
	}
	o.on, o.held, o.begun, o.ran, o.sick = level, true, true, true, 0
	o.taken++
	o.safe = w.proc.safe
	o.parked, o.untold = false, true
	o.outlive()
	if !shelf { // what was parked has its level until it is taken over
		w.checkLocks(o)
	}
}

// took notes the level that a line begins with.
func (o *out) took(level bool, now queue.Stamp) {
	if !o.ran || o.value != level || o.unsure {
		o.since, o.pulse = now, 0
	}
	o.value = level
}

// wishes are the levels that boot, or in a safe start stop, may have it at, without what
// keeps it from that.
func (o *out) wishes(was bool) []bool {
	timed := o.value && (o.cfg.MaxOn > 0 || o.pulse > 0)
	keeps := []bool{was}
	p := o.w.proc
	if o.unsure && (p.safe || o.begun || o.parked || o.cfg.Boot != gpio.RestOff) {
		return []bool{true, false} // it may be overdue, or have to rest
	}
	switch {
	case p.safe && o.cfg.Stop == gpio.RestOff || p.safe && timed:
		return []bool{false}
	case p.safe && o.cfg.Stop == gpio.RestOn:
		return []bool{true}
	case p.safe || o.parked:
		return keeps
	}
	boot := o.cfg.Boot
	if o.begun {
		boot = gpio.RestLast
	}
	switch {
	case o.overdue():
		return []bool{false}
	case boot == gpio.RestHold:
		return keeps
	case boot == gpio.RestOn:
		return []bool{true}
	case boot == gpio.RestLast:
		return []bool{o.ran && o.want}
	}
	return []bool{false}
}

// bootOn reports whether it is to go on by itself as soon as nothing keeps it from that.
func (o *out) bootOn() bool {
	switch boot := o.cfg.Boot; {
	case o.unsure:
		return false
	case o.parked:
		return o.pended && !o.w.proc.safe
	case o.w.proc.safe:
		return o.cfg.Stop == gpio.RestOn && !(o.value && (o.cfg.MaxOn > 0 || o.pulse > 0))
	case o.begun && o.maybeOffline():
		return false // it went there for good
	case o.begun || boot == gpio.RestLast:
		return o.ran && o.want
	default:
		return boot == gpio.RestOn
	}
}

// bootLevels are the levels that its line may be requested at.
func (o *out) bootLevels(was bool) []bool {
	if o.parked { // the kernel keeps it; what is due follows
		return []bool{was}
	}
	wish := o.wishes(was)
	if o.surelyOffline() {
		if o.cfg.Offline.Set == gpio.RestOff {
			return []bool{false}
		}
		wish = []bool{true}
	} else if o.maybeOffline() {
		wish = append(slices.Clone(wish), o.cfg.Offline.Set == gpio.RestOn)
	}
	if o.cfg.Interlock != "" {
		return []bool{false}
	}
	if o.cfg.MinCycle > 0 && slices.Contains(wish, true) {
		switch {
		case o.unsure:
			return append(slices.Clone(wish), false, was)
		case !o.ran || !o.value && o.resting() > 0:
			wish = append(slices.DeleteFunc(slices.Clone(wish), func(v bool) bool { return v }), false)
			if o.cfg.Boot == gpio.RestHold && !o.begun || o.w.proc.safe {
				wish = append(wish, was) // it stays as it is
			}
		case o.value:
			return []bool{was, was && !slices.Contains(wish, false)}
		}
	}
	return wish
}

// resume ends a safe start.
func (s *stream) resume() {
	p := s.w.proc
	if !p.safe {
		return
	}
	s.w.mu.Lock()
	s.w.say("the safe start is over")
	may, vague := map[*out][]bool{}, map[*out]bool{}
	p.safe, p.over = false, s.w.clock.Stamp()
	for _, o := range s.w.outs {
		begun := o.begun
		o.begun = false
		wish := o.wishes(o.on)
		o.begun = begun
		o.mayBoot, o.mustBoot, o.safe = false, false, false
		switch {
		case !o.held || o.fails > 0:
			o.begun = false
			continue
		case o.cfg.Stop == gpio.RestHold && o.cfg.MaxOn == 0 && o.cfg.Offline.After == 0:
			wish = []bool{o.on}
		case o.surelyOffline() || o.maybeOffline() || o.unsure:
			o.mayBoot, vague[o] = wish[0], true
			wish = []bool{true, false}
		case wish[0] && !o.on && (o.cfg.Interlock != "" || o.bar() != ""):
			wish = []bool{false}
			o.mayBoot = true
		}
		may[o] = wish
	}
	s.w.mu.Unlock()
	p.source.Resume()
	synctest.Wait()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, o := range s.w.outs {
		o.unsure = o.unsure || p.dead || o.fails > 0 || !o.held || vague[o] && o.mayBoot && !o.on
		want := o.on || o.mayBoot
		o.loose = o.loose || want != o.want
		o.want = want
	}
	for o, wish := range may {
		ok := false
		for _, level := range wish {
			ok = ok || level == o.on
		}
		if !ok && !p.dead && len(s.w.rules) == 0 {
			s.w.fault("%s: after a safe start it is %v, not %v", o.name, o.on, wish)
		}
	}
}
