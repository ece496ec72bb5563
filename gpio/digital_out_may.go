package gpio

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// bootWait is how long an interlocked output stays off after its line was taken, where
// boot has it on: by then the lines of its group are held, or known to be missing.
const bootWait = time.Second

// hold is why an output may not go to a level now.
type hold struct {
	why   string
	lasts time.Duration // how long that lasts; 0: nobody knows
	dies  bool          // what boot wanted is given up: another of its group is on
}

// refusal is what a command is told.
func (h *hold) refusal() error { return fmt.Errorf("%w: %s", edge.ErrRefused, h.why) }

// check refuses a config that contradicts itself.
func (c *DigitalOut) check() error {
	switch o := &c.Offline; {
	case c.MaxOn < 0:
		return fmt.Errorf("max_on is %s: it must not be negative", c.MaxOn)
	case c.MinCycle < 0:
		return fmt.Errorf("min_cycle is %s: it must not be negative", c.MinCycle)
	case o.After < 0 || o.After == 0 && len(o.Uplinks) > 0:
		return fmt.Errorf("offline: after is %s: it must be a time like 5m", o.After)
	case o.After > 0 && o.Set != RestOff && o.Set != RestOn:
		return fmt.Errorf("offline: set is %s: it is off or on", o.Set)
	case o.After > 0 && o.Set == RestOn && (c.MaxOn > 0 || c.Interlock != ""):
		return errors.New("offline: set: on can't be promised with max_on or interlock, which turn it off")
	case c.Interlock != "" && (c.Boot == RestHold || c.Stop == RestHold || c.Stop == RestOn):
		return errors.New("interlock: boot is off, on or last and stop is off or last: what is on without us can't be kept from its group")
	}
	return nil
}

// mayBe says what keeps it from a level now, and for an interlocked one that may go on
// takes the group's turn. The caller holds d.mu and goes there, or calls yieldTurn.
func (d *output) mayBe(level bool) *hold {
	if set := d.cfg.Offline.Set == RestOn; d.offline() && level != set {
		return &hold{why: fmt.Sprintf("no uplink has acknowledged anything for %s: it stays %s until one does", d.cfg.Offline.After, d.cfg.Offline.Set)}
	}
	if !level || d.row.Value {
		return nil
	}
	if left := d.resting(); left > 0 {
		return &hold{why: fmt.Sprintf("it went off less than min_cycle, %s, ago: it can go on in %s", d.cfg.MinCycle, edge.Duration(left.Round(time.Millisecond))), lasts: left}
	}
	if d.cfg.Interlock == "" {
		return nil
	}
	return d.env.locks.take(d)
}

// resting is how long it has to stay off still.
func (d *output) resting() time.Duration {
	if d.cfg.MinCycle == 0 || d.row.Value {
		return 0
	}
	return max(0, d.cfg.MinCycle.D()-d.env.Clock.Age(d.row.Since))
}

// offline reports whether no uplink of its config has been heard for too long.
func (d *output) offline() bool { return d.offlineIn() <= 0 }

// offlineIn is when that will be so, as it looks now; far away where the config asks
// for nothing.
func (d *output) offlineIn() time.Duration {
	if d.cfg.Offline.After == 0 {
		return never
	}
	return d.cfg.Offline.After.D() - d.env.heard.age(d.cfg.Offline.Uplinks)
}

// never is longer than any deadline.
const never = time.Duration(1) << 62

// set sets the line, and tells its group where it is then. The caller holds d.mu.
func (d *output) set(level bool) (mono int64, err error) {
	mono, err = d.line.Set(level)
	at := peerAt(level)
	if err != nil { // the kernel tells what it did
		now, lerr := d.line.Level()
		if at = peerAt(now); lerr != nil {
			at = peerUnknown
		}
	}
	d.known(at)
	return mono, err
}

// went notes and tells where the line went by itself, and what boot: last goes by. The caller holds d.mu.
func (d *output) went(level, want bool, mono int64, cause *Told, why string) {
	now := d.env.Clock.Stamp()
	d.row.Value, d.row.Want, d.pend = level, want, false
	d.clear(now)
	d.limit()
	d.arm(now)
	d.told = d.tell(mono, cause, why)
}

// goOffline takes it to what offline says. The caller holds d.mu.
func (d *output) goOffline() error {
	level := d.cfg.Offline.Set == RestOn
	if !d.offline() || d.row.Value == level || d.mayBe(level) != nil {
		return nil
	}
	mono, err := d.set(level)
	if err == nil {
		d.went(level, level, mono, nil, "offline")
	}
	return err
}

// delay sets when boot's wish may be met. The caller holds d.mu.
func (d *output) delay(now queue.Stamp) {
	wait := d.resting()
	if d.cfg.Interlock != "" {
		wait = max(wait, bootWait)
	}
	d.begins = now.Mono + int64(wait)
}

// goOn meets boot's wish, once it may be. The caller holds d.mu.
func (d *output) goOn() error {
	now := d.env.Clock.Stamp()
	if !d.pend || now.Mono < d.begins {
		return nil
	}
	if h := d.mayBe(true); h != nil {
		d.pend = !h.dies
		d.begins = now.Mono + int64(max(h.lasts, bootWait))
		return nil
	}
	mono, err := d.set(true)
	if err != nil {
		return err
	}
	d.went(true, d.row.Want || !d.env.Safe(), mono, nil, "boot")
	return nil
}

// parked notes the request that may be parked. One that was taken over is at its level;
// it goes on to boot's only where it was to do so before. pended is whether it was, first
// what the line was asked for, level what it is.
func (d *output) parked(id string, had, pended bool, first Initial, level bool) {
	if d.park() == "" {
		d.row.Line = ""
		return
	}
	if had && d.row.Line == id {
		d.pend = pended && !d.env.Safe()
		return
	}
	d.row.Line = id
	if had && d.cfg.MinCycle > 0 {
		d.pend = d.pend || first == High && !level // it was taken over, and its row was lost
		d.row.Pend = d.pend
		_ = d.out.Keep(d.row) // else it goes with the next report
	}
}

// known notes where the line is for its group. unknown is a line that nobody holds.
func (d *output) known(at peerLevel) {
	if d.cfg.Interlock != "" {
		d.env.locks.set(d, at)
	}
}

// peerLevel is what a group knows of one of its outputs.
type peerLevel int

// Only what is known to be off lets another go on.
const (
	peerUnknown peerLevel = iota
	peerOff
	peerOn
)

func peerAt(level bool) peerLevel {
	if level {
		return peerOn
	}
	return peerOff
}

// interlocks sees to it that of the outputs of one group one is on at most.
type interlocks struct {
	outputs func(group string) []*output // all of a group

	mu sync.Mutex // guards at of every output; nothing else is taken under it
}

// take lets an output go on where all others of its group are off.
func (l *interlocks) take(d *output) *hold {
	others := l.outputs(d.cfg.Interlock)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range others {
		switch {
		case o == d || o.at == peerOff:
		case o.at == peerOn:
			return &hold{why: fmt.Sprintf("interlock %s: %s is on", d.cfg.Interlock, o.env.Name), dies: true}
		default:
			return &hold{why: fmt.Sprintf("interlock %s: %s is not held now, and may be on", d.cfg.Interlock, o.env.Name)}
		}
	}
	d.at = peerOn
	return nil
}

func (l *interlocks) set(d *output, at peerLevel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.at = at
}

// group gives the outputs of an interlock.
func (s *Source) group(name string) (all []*output) {
	for _, r := range s.now().all {
		if d, ok := r.dev.(*output); ok && d.cfg.Interlock == name {
			all = append(all, d)
		}
	}
	return all
}
