package gpio

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// DigitalOut is the config of a digital_out: a relay, a pump, a lamp.
type DigitalOut struct {
	Pin       edge.Pin      `mapstructure:"digital_out"`
	ActiveLow bool          `mapstructure:"active_low"`
	Boot      Rest          `mapstructure:"boot"`
	Stop      Rest          `mapstructure:"stop"`
	MaxOn     edge.Duration `mapstructure:"max_on"`
	MinCycle  edge.Duration `mapstructure:"min_cycle"`
	Interlock string        `mapstructure:"interlock"` // the name of its group
	Offline   Offline       `mapstructure:"offline"`
	States    States        `mapstructure:"states"`
	Remote    bool          `mapstructure:"remote"`
}

// askEvery is how often a line that tells nothing by itself is asked whether it
// is still there.
const askEvery = 10 * time.Second

func digitalOutDriver() Driver {
	return Driver{
		Name: "digital_out",
		Doc: "A line that is switched: a relay, a pump, a lamp. Commands: on, off, toggle, pulse with a time, set with true or false. " +
			"boot and stop say what it does when the agent starts and ends: off, on, hold (the line stays as it is) or last (what was commanded last); after three crashes within five minutes, cuts of the power among them, it does what stop says and takes no command. " +
			"max_on: it goes off by itself after so long, and when the agent ends; a repeated on does not prolong it. " +
			"min_cycle: once off, it stays off for so long; an on before that is refused, and what boot asks for waits. " +
			"interlock: of the outputs that name the same group one is on at most; an on is refused while another is on, or its line is not held. " +
			"offline: it goes to what set says, and stays there, once no uplink, or none of those in uplinks, has acknowledged anything for after. " +
			"active_low: on means a low voltage. " +
			"remote: commands from upstream are allowed.",
		Example: "pump: {digital_out: GPIO27, boot: off, stop: off, max_on: 10m, remote: true}",
		Config: func() any {
			return &DigitalOut{Boot: RestOff, Stop: RestOff, Offline: Offline{Set: RestOff}, States: States{On: "on", Off: "off"}}
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[DigitalOut](v)
			if err != nil {
				return nil, err
			}
			if err := cfg.check(); err != nil {
				return nil, err
			}
			d := &output{env: env, cfg: *cfg, wake: make(chan struct{}, 1)}
			d.remote.Store(cfg.Remote)
			return d, nil
		},
	}
}

// output is the device. Its loop and its commands share it.
type output struct {
	env  Env
	wake chan struct{} // a token: the deadline is another

	remote atomic.Bool // as the config says

	cfg DigitalOut // but for the line and its polarity mu guards it

	mu      sync.Mutex // guards the rest; held over an ioctl, never over Flush
	out     *Outlet
	line    Line // nil while it is not running
	row     outputRow
	ends    int64 // when it goes off by itself, on CLOCK_MONOTONIC; 0: never
	told    *Told // the change that turned it on
	started bool  // it ran before in this process
	broken  error // what a command found wrong with the line: Run gives up on it
	pend    bool  // boot has it on, and something keeps it from that
	begins  int64 // then not before, on CLOCK_MONOTONIC

	at peerLevel // what its group knows; guarded by interlocks.mu
}

var _ Commander = (*output)(nil)

// outputRow is a digital_out's durable state.
type outputRow struct {
	Value bool          `json:"value"` // the level that was told last
	Want  bool          `json:"want"`  // what was commanded last, for boot: last
	Since queue.Stamp   `json:"since"` // when it went on
	For   time.Duration `json:"for"`   // how long after Since it goes off by itself; 0: never
	Why   string        `json:"why,omitempty"`
	Pulse time.Duration `json:"pulse,omitempty"` // how long after Since a pulse ends, also one that max_on comes before; 0: there is none
	Pend  bool          `json:"pend,omitempty"`  // boot has it on, and something kept it from that
	Line  string        `json:"line,omitempty"`  // the id of the request, where it may be parked
}

// Pins is the one line.
func (d *output) Pins() []edge.Pin { return []edge.Pin{d.cfg.Pin} }

// Verbs are its commands.
func (d *output) Verbs() []string {
	return slices.Clone([]string{"on", "off", "toggle", "pulse", "set"})
}

// Remote reports whether upstream may command it.
func (d *output) Remote() bool { return d.remote.Load() }

// Run holds the line until ctx is done, turns it off at its deadline, and at the
// end leaves it as stop says.
func (d *output) Run(ctx context.Context, out *Outlet) error {
	if err := d.begin(out); err != nil {
		return err
	}
	out.Flush()
	out.Ready()
	err := d.watch(ctx)
	d.mu.Lock()
	if serr := d.rest(err == nil); err == nil {
		err = serr
	}
	d.mu.Unlock()
	out.Flush()
	return err
}

// begin requests the line at the level that it is to have. A deadline from
// before comes first.
func (d *output) begin(out *Outlet) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	had := d.started || out.Stored(&d.row) // this process's own row is the newer one
	d.limit()                              // the config may have another max_on than the run before
	d.out = out
	pended, first := d.row.Pend, d.initial(had)
	line, err := d.env.Line(d.cfg.Pin, LineConfig{Output: true, ActiveLow: d.cfg.ActiveLow, Initial: first, Park: d.park()})
	if err != nil {
		return err
	}
	// A parked line keeps its level, whatever was asked for.
	level, err := line.Level()
	want := level && !d.overdue()
	if d.env.Safe() {
		want = level && d.rested(level)
	}
	if d.park() == "" && first != Keep {
		want = first == High // another config parked it: this one begins like any other
	}
	if d.offline() {
		want = level && d.cfg.Offline.Set == RestOn
	}
	if err == nil && level != want {
		level = want
		_, err = line.Set(want)
	}
	if err != nil {
		return errors.Join(err, line.Close())
	}
	d.line, d.started, d.broken = line, true, nil
	d.parked(line.ID(), had, pended, first, level)
	d.known(peerAt(level))
	d.settle(level, had)
	return nil
}

// settle takes over the level that the line has now, and tells it where it is
// news. What was on before and still is keeps its deadline. The caller holds d.mu.
func (d *output) settle(level, had bool) {
	now, why := d.env.Clock.Stamp(), ""
	if d.overdue() {
		why = d.row.Why
	}
	same, wanted := had && d.row.Value == level, d.row.Want
	d.row.Value = level
	d.pend = d.pend && !level
	if d.env.Safe() {
		why = "safe start" // what was commanded last counts again after it
	} else {
		d.row.Want = level || d.pend
	}
	if !same {
		d.clear(now)
		d.limit()
	}
	d.arm(now)
	d.delay(now)
	if !same {
		d.told = d.tell(now.Mono, nil, why)
		return
	}
	if d.row.Want != wanted {
		d.row.Pend = d.pend
		_ = d.out.Keep(d.row) // else it goes with the next report
	}
	d.out.Show(boolean(level), d.cfg.States.of(level), "")
}

// initial is the level to request. Where it is to be on and may not be yet, it is off
// and d.pend.
func (d *output) initial(had bool) Initial {
	d.pend = false
	want := d.wish(had)
	boots := want == High // else what offline wants, for as long as it does
	if d.offline() {
		if d.cfg.Offline.Set == RestOff {
			d.pend = boots && !d.started
			return Low
		}
		want = High
	}
	switch {
	case d.cfg.Interlock != "": // nobody may be on before the lines of its group are known
		d.pend = boots
		return Low
	case want != High || d.cfg.MinCycle == 0:
		return want
	case had && d.row.Value: // it may be on still: then this is no cycle
		d.pend = boots
		return Keep
	case had && d.resting() == 0:
		return High
	}
	d.pend = boots
	return Low
}

// wish is what boot, or in a safe start stop, has it at.
func (d *output) wish(had bool) Initial {
	if d.env.Safe() {
		return d.safeInitial()
	}
	boot := d.cfg.Boot
	if d.started {
		boot = RestLast // the agent runs on: this is no boot
	}
	switch {
	case d.overdue():
		return Low
	case boot == RestHold:
		return Keep
	case boot == RestOn || boot == RestLast && had && d.row.Want:
		return High
	}
	return Low
}

// park names the request where it may outlive the process.
func (d *output) park() string {
	if d.cfg.Stop == RestHold && d.cfg.MaxOn == 0 && d.cfg.Offline.After == 0 {
		return d.env.Name
	}
	return ""
}

// overdue reports whether it was to be off by now, as far as can be proven.
func (d *output) overdue() bool {
	return d.row.Value && d.row.For > 0 && d.env.Clock.Age(d.row.Since) >= d.row.For
}

// clear forgets the deadline and when it went on.
func (d *output) clear(now queue.Stamp) {
	d.row.Since, d.row.For, d.row.Why, d.row.Pulse = now, 0, "", 0
}

// arm sets the deadline from the row.
func (d *output) arm(now queue.Stamp) {
	d.ends = 0
	if d.row.Value && d.row.For > 0 {
		d.ends = now.Mono + int64(d.row.For-d.env.Clock.Age(d.row.Since))
		d.ends = max(d.ends, 1)
	}
	d.rouse()
}

// rouse makes watch look.
func (d *output) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// watch waits for deadlines until ctx is done. Now and then it asks the line, so
// that a chip that went away is noticed before the next command. A line that can tell
// its end wakes it.
func (d *output) watch(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	var gone <-chan struct{}
	if g, ok := d.line.(interface{ gone() <-chan struct{} }); ok {
		gone = g.gone()
	}
	for {
		left, err := d.look()
		if err != nil {
			return err
		}
		d.out.Flush()
		t.Reset(left)
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-gone: // look fails by Level
		case <-t.C:
		}
	}
}

// look does what is due, and gives the time until it is to look again.
func (d *output) look() (time.Duration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return 0, d.broken
	}
	if _, err := d.line.Level(); err != nil {
		return 0, err
	}
	for _, do := range []func() error{d.deadline, d.goOffline, d.goOn} {
		if err := do(); err != nil {
			return 0, err
		}
	}
	now, left := d.env.Clock.Stamp().Mono, askEvery
	if d.ends != 0 {
		left = min(left, time.Duration(d.ends-now))
	}
	if d.pend {
		left = min(left, time.Duration(d.begins-now))
	}
	for _, in := range []time.Duration{d.offlineIn(), d.resting()} {
		if in > 0 {
			left = min(left, in)
		}
	}
	return max(0, left), nil
}

// deadline turns it off where its time is over. The caller holds d.mu.
func (d *output) deadline() error {
	now := d.env.Clock.Stamp()
	if d.ends == 0 || now.Mono < d.ends {
		return nil
	}
	if d.cfg.Offline.Set == RestOn && d.offline() { // a pulse that is over: it is to stay on now
		d.row.Pulse = 0
		d.limit()
		d.arm(now)
		return nil
	}
	mono, err := d.set(false)
	if err != nil {
		return err
	}
	d.went(false, false, mono, d.told, d.row.Why)
	return nil
}

// rest leaves the line as stop says, unless it may not be on; what ends by itself later
// must end now.
// The caller holds d.mu.
func (d *output) rest(clean bool) error {
	line := d.line
	d.line, d.pend = nil, false
	defer d.known(peerUnknown)
	if !clean {
		d.ends = 0
		return line.Close()
	}
	level := d.rested(d.row.Value)
	if level != d.row.Value && (!level || d.mayBe(true) == nil) {
		mono, err := line.Set(level)
		if err != nil {
			return errors.Join(err, line.Close())
		}
		d.row.Value = level
		if d.row.Why == "pulse" || d.park() != "" {
			d.row.Want = level // a pulse is over for good; and where the line is parked no boot goes by what was before
		}
		d.clear(d.env.Clock.Stamp())
		d.tell(mono, nil, "stop")
	}
	d.ends = 0
	return line.Park()
}

// tell queues the level. The caller holds d.mu.
func (d *output) tell(mono int64, cause *Told, why string) *Told {
	d.row.Pend = d.pend
	r := Report{Mono: mono, Value: boolean(d.row.Value), State: d.cfg.States.of(d.row.Value), Cause: cause, Store: d.row}
	if why != "" {
		r.More = []Field{{"why", quote(why)}}
	}
	return d.out.Queue(r)
}
