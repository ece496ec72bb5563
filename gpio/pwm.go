package gpio

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"fieldpost/edge"
)

// PWM is the config of a pwm: a fan, a dimmed lamp, on one of the board's hardware
// PWM channels.
type PWM struct {
	Pin       edge.Pin  `mapstructure:"pwm"` // GPIO18, or DEVICE/CHANNEL: fe20c000.pwm/0
	Frequency Frequency `mapstructure:"frequency"`
	Boot      Rest      `mapstructure:"boot"`
	Stop      Rest      `mapstructure:"stop"`
	Remote    bool      `mapstructure:"remote"`
}

// The frequencies that are taken: a kernel before 4.9 has the period as 32 bits of ns,
// and above the highest a Pi's clock leaves no steps.
const (
	pwmLowest  = 1
	pwmHighest = 10e6
)

func pwmDriver() Driver {
	return Driver{
		Name: "pwm",
		Doc: "An output with a duty cycle: a fan, a dimmed lamp, a servo, on the board's hardware PWM, which config.txt turns on: dtoverlay=pwm,pin=18,func=2 for GPIO18 or GPIO19, func=4 for GPIO12 or GPIO13, pwm-2chan for two. " +
			"value is the duty cycle in %. Commands: on is 100 %, off is 0, set takes a number from 0 to 100. " +
			"frequency: 25kHz suits a fan with four wires, 50Hz a servo. " +
			"boot and stop say what it does when the agent starts and ends: off, on, hold (it stays as it is) or last (what was commanded last); it goes on while an agent that was killed is started again. " +
			"remote: commands from upstream are allowed. Another board's channel is named by its device: pwm: fe20c000.pwm/0.",
		Example: "fan: {pwm: GPIO18, frequency: 25kHz, boot: off, stop: off}",
		Config:  func() any { return &PWM{Frequency: 1000, Boot: RestOff, Stop: RestOff} },
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[PWM](v)
			if err != nil {
				return nil, err
			}
			if !(cfg.Frequency >= pwmLowest && cfg.Frequency <= pwmHighest) {
				return nil, fmt.Errorf("frequency is %s: it can be %s to %s", cfg.Frequency, Frequency(pwmLowest), Frequency(pwmHighest))
			}
			if err := checkPWMPin(cfg.Pin); err != nil {
				return nil, err
			}
			period := int64(math.Round(1e9 / float64(cfg.Frequency)))
			return &pwm{env: env, cfg: *cfg, period: period, wake: make(chan struct{}, 1)}, nil
		},
	}
}

// pwm is the device. Its loop and its commands share it.
type pwm struct {
	env    Env
	cfg    PWM
	period int64         // ns
	wake   chan struct{} // a token: a command found it broken
	loose  bool          // the channel may run as this process set it; Run's and leave's alone

	// mu guards the rest, but while channel is nil, when commands touch nothing. It is
	// held over a command's write and the last one, never over Flush.
	mu      sync.Mutex
	out     *Outlet
	channel *pwmChannel // nil while it is not running
	row     pwmRow
	started bool // it ran before in this process
	broken  error
}

var (
	_ Commander = (*pwm)(nil)
	_ leaver    = (*pwm)(nil)
)

// pwmRow is a pwm's durable state.
type pwmRow struct {
	Value float64 `json:"value"` // the duty cycle that was told last, in %
	Want  float64 `json:"want"`  // what was commanded last, for boot: last
}

// pwmWithin bounds a command: a channel of the board is set in microseconds, one of a
// chip on a bus may take longer. Run stops within a second, though it waits for a
// command first and then sets the channel itself.
const pwmWithin = 400 * time.Millisecond

// Pins is the line, where the config names one: the kernel's overlay holds it.
func (d *pwm) Pins() []edge.Pin {
	if _, ok := d.cfg.Pin.Number(); ok {
		return []edge.Pin{d.cfg.Pin}
	}
	return nil
}

// Verbs are its commands.
func (d *pwm) Verbs() []string { return []string{"on", "off", "set"} }

// Remote reports whether upstream may command it.
func (d *pwm) Remote() bool { return d.cfg.Remote }

// Run holds the channel until ctx is done, and at the end leaves it as stop says.
func (d *pwm) Run(ctx context.Context, out *Outlet) error {
	d.out = out
	ch, err := d.open(ctx)
	if err == nil {
		defer ch.files.Release()
		err = d.begin(ctx, ch)
	}
	if err != nil && ctx.Err() != nil {
		return d.leave()
	}
	if err != nil {
		return err
	}
	out.Flush()
	out.Ready()
	err = d.watch(ctx, ch)
	d.mu.Lock()
	d.channel = nil
	if err == nil || ctx.Err() != nil {
		within, cancel := context.WithTimeout(context.Background(), pwmWithin)
		defer cancel()
		err = d.rest(within, ch)
	}
	d.mu.Unlock()
	out.Flush()
	return err
}

// leave sets the channel up once more, for what stop says: without a word it would go on
// with what it had when Run failed. It takes pwmWithin at most.
func (d *pwm) leave() error {
	if !d.loose || d.cfg.Stop == RestHold || d.cfg.Stop == RestLast && !d.started {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pwmWithin)
	defer cancel()
	ch, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer ch.files.Release()
	if _, err := ch.setUp(ctx, d.period); err != nil {
		return err
	}
	d.mu.Lock()
	err = d.rest(ctx, ch)
	d.mu.Unlock()
	d.out.Flush()
	return err
}

// begin gives the channel the duty cycle that it is to have, and tells it where it is
// news. It may take long, and no command waits for it.
func (d *pwm) begin(ctx context.Context, ch *pwmChannel) error {
	safe := d.env.Safe()
	d.mu.Lock()
	had := d.started || d.out.Stored(&d.row) // this process's own row is the newer one
	d.mu.Unlock()
	now, err := ch.setUp(ctx, d.period)
	if err != nil {
		return err
	}
	d.mu.Lock()
	want := d.made(d.initial(had, now))
	d.mu.Unlock()
	d.loose = true
	if err := ch.set(ctx, want); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.env.Safe() != safe { // what it was set to was for the other start
		return fmt.Errorf("begin with %s: a safe start ended meanwhile", d.cfg.Pin)
	}
	d.channel, d.started, d.broken = ch, true, nil
	same, why := had && d.row.Value == want, ""
	d.row.Value = want
	if d.env.Safe() {
		why = "safe start" // what was commanded last counts again after it
	} else {
		d.row.Want = want
	}
	if same {
		d.out.Show(number(want), d.state(), "%")
		return nil
	}
	d.tell(nil, why)
	return nil
}

// initial is the duty cycle to begin with.
func (d *pwm) initial(had bool, now float64) float64 {
	if d.env.Safe() {
		return d.rested(now)
	}
	boot := d.cfg.Boot
	if d.started {
		boot = RestLast // the agent runs on: this is no boot
	}
	switch {
	case boot == RestHold:
		return now
	case boot == RestOn:
		return 100
	case boot == RestLast && had:
		return min(100, max(0, d.row.Want))
	}
	return 0
}

// watch waits until ctx is done. Now and then it asks whether the channel is still
// there.
func (d *pwm) watch(ctx context.Context, ch *pwmChannel) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-tick.C:
			if _, err := ch.files.Number(ctx, ch.file("duty_cycle")); err != nil && ctx.Err() == nil {
				return err
			}
		}
		d.mu.Lock()
		err := d.broken
		d.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// rest leaves the channel as stop says. The caller holds d.mu.
func (d *pwm) rest(ctx context.Context, ch *pwmChannel) error {
	value := d.rested(d.row.Value)
	if err := ch.set(ctx, value); err != nil {
		return err
	}
	d.loose = false
	if value != d.row.Value {
		d.row.Value = value
		d.tell(nil, "stop")
	}
	if d.cfg.Stop == RestOff {
		return ch.giveBack(ctx)
	}
	return nil // a channel that is given back may stop
}

// Do sets the duty cycle. It is set before anything is reported.
func (d *pwm) Do(a Action) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channel == nil || d.broken != nil {
		return Result{}, fmt.Errorf("%w: the PWM of %s is not held now", edge.ErrAbsent, d.cfg.Pin)
	}
	if a.If != nil && string(a.If) != "null" && !d.is(a.If) {
		return Result{}, fmt.Errorf("%w: it is %v %%, not %s", edge.ErrRefused, d.row.Value, clip(a.If))
	}
	value, err := pwmWanted(a)
	if err != nil {
		return Result{}, err
	}
	value = d.made(value)
	ctx, cancel := context.WithTimeout(context.Background(), pwmWithin)
	defer cancel()
	if err := d.channel.set(ctx, value); err != nil {
		d.broken = err // nobody knows what it does now: it is set up anew
		select {
		case d.wake <- struct{}{}:
		default:
		}
		return Result{}, err
	}
	changed := value != d.row.Value
	d.row = pwmRow{value, value}
	res := Result{Value: number(value), State: d.state()}
	rep := a.Tell(res)
	if !changed {
		rep.Store = d.row
	}
	res.Told = d.out.Queue(rep)
	if changed {
		d.tell(res.Told, "")
	}
	return res, nil
}

// made is the duty cycle that comes of one: 0 where it rounds to no time at all.
func (d *pwm) made(percent float64) float64 {
	if dutyOf(d.period, percent) == 0 {
		return 0
	}
	return percent
}

// is reports whether the device is at what a condition names: its number, or on, which
// is anything but 0, or off.
func (d *pwm) is(v json.RawMessage) bool {
	want, err := percent(v)
	switch strings.ToLower(strings.Trim(string(v), `"`)) {
	case "on", "true":
		return d.row.Value > 0
	}
	return err == nil && want == d.row.Value
}

// pwmWanted is the duty cycle that a command asks for.
func pwmWanted(a Action) (float64, error) {
	switch a.Verb {
	case "on":
		return 100, nil
	case "off":
		return 0, nil
	case "set":
		return percent(a.Value)
	}
	return 0, fmt.Errorf("%w: there is no %q", edge.ErrBadValue, a.Verb)
}

// percent reads a duty cycle: a number from 0 to 100, also as text and with its %, or
// on and off as a digital_out takes them.
func percent(v json.RawMessage) (float64, error) {
	text := strings.TrimSpace(string(v))
	var s string
	if json.Unmarshal(v, &s) == nil {
		text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "%"))
	}
	switch strings.ToLower(text) {
	case "true", "on":
		return 100, nil
	case "false", "off":
		return 0, nil
	}
	p, err := strconv.ParseFloat(text, 64)
	if err != nil || !(p >= 0 && p <= 100) {
		return 0, fmt.Errorf("%w: set takes a number of %% from 0 to 100, not %s", edge.ErrBadValue, clip(v))
	}
	return p + 0, nil // -0 is 0
}

func (d *pwm) state() string {
	if d.row.Value > 0 {
		return "on"
	}
	return "off"
}

// tell queues the duty cycle. The caller holds d.mu.
func (d *pwm) tell(cause *Told, why string) {
	r := Report{Value: number(d.row.Value), State: d.state(), Unit: "%", Cause: cause, Store: d.row}
	if why != "" {
		r.More = []Field{{"why", quote(why)}}
	}
	d.out.Queue(r)
}
