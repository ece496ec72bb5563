package gpio_test

import (
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// linkNames are the uplinks of each world.
var linkNames = []string{"cloud", "lab"}

// upstream is an uplink of a world.
type upstream struct {
	name   string
	heard  bool // it acknowledges
	acked  uint64
	early  queue.Stamp // it was heard then, at the earliest
	latest queue.Stamp
}

// starting tells it that a process begins. The caller holds w.mu.
func (u *upstream) starting(p *process) {
	if p.w.rows["heard"][u.name] == nil {
		u.latest, u.early = p.began, p.began
	}
	u.early.Mono -= int64(p.w.slack)
}

// askAnew takes all uplinks for heard just now where no output went by them: nothing is
// known of the time in which nobody asked. The caller holds w.mu.
func (w *world) askAnew() {
	if slices.ContainsFunc(w.outs, func(o *out) bool { return o.cfg.Offline.After > 0 }) {
		return
	}
	for _, u := range w.links {
		u.latest = w.clock.Stamp()
	}
}

// uplinks is how the uplinks are.
func (w *world) uplinks() (all []edge.UplinkStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.proc
	if p == nil || p.dead {
		return nil
	}
	for _, u := range w.links {
		st := edge.UplinkStatus{Name: u.name, State: "up", Backlog: 3}
		if u.heard {
			u.acked++
			if p.polls > 0 { // its first poll may tell a process nothing
				u.early = u.latest
			}
			u.latest = w.clock.Stamp()
			if w.seed%2 == 0 {
				st.Backlog = 0
			}
		}
		st.Acknowledged = u.acked
		all = append(all, st)
	}
	p.polls++
	return all
}

// silent is how long no uplink that an output goes by was heard: at least, and at most.
func (o *out) silent() (least, most time.Duration) {
	least, most = 1<<62, 1<<62
	for _, u := range o.w.links {
		if names := o.cfg.Offline.Uplinks; len(names) == 0 || slices.Contains(names, u.name) {
			least, most = min(least, o.age(u.latest)), min(most, o.age(u.early))
		}
	}
	return least, most
}

// surelyOffline and maybeOffline are whether no uplink was heard for too long, by the
// latest and by the earliest time that it may have been heard.
func (o *out) surelyOffline() bool {
	least, _ := o.silent()
	return o.cfg.Offline.After > 0 && least >= o.cfg.Offline.After.D()
}

func (o *out) maybeOffline() bool {
	_, most := o.silent()
	return o.cfg.Offline.After > 0 && most >= o.cfg.Offline.After.D()
}
