package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"fieldpost/edge"
)

// HCSR04 is the config of an hc_sr04: an ultrasonic distance sensor.
type HCSR04 struct {
	Trigger     edge.Pin `mapstructure:"hc_sr04"`
	Echo        edge.Pin `mapstructure:"echo"`
	Temperature float64  `mapstructure:"temperature"` // of the air, °C
	Tries       int      `mapstructure:"tries"`
	Unit        string   `mapstructure:"unit"`
	Sampling    `mapstructure:",squash"`
}

// What the data sheet says (Elecfreaks, "Ultrasonic Ranging Module HC-SR04"):
// 10 us of trigger, over 60 ms from one measurement to the next, 2 cm to 4 m. The
// echo of nothing is a pulse of 38 ms, with some makers 36 ms, up to 200 ms with
// others; one from 4 m takes 26 ms in the coldest air.
const (
	pingTrigger = 10 * time.Microsecond
	pingPause   = 60 * time.Millisecond
	pingRise    = 100 * time.Millisecond // it answers within 1 ms; the interrupt may be late
	pingNothing = 30 * time.Millisecond
	pingFall    = 400 * time.Millisecond
	pingNear    = 0.02
	pingFar     = 4.0
)

// lengths says how many of a unit a metre has.
func lengths(unit string) (perMetre float64, ok bool) {
	switch unit {
	case "m":
		return 1, true
	case "cm":
		return 100, true
	case "mm":
		return 1000, true
	}
	return 0, false
}

func hcsr04Driver() Driver {
	return Driver{
		Name: "hc_sr04",
		Doc: "An ultrasonic distance sensor, HC-SR04 or alike: value is the distance in m, or cm or mm with unit. " +
			"hc_sr04 is the pin of its trigger, echo that of its echo, which is 5 V and needs a divider to 3.3 V. " +
			"It takes the median of tries, 60 ms apart, and times them by the kernel's stamps, so pins of an expander will not do. " +
			"temperature is that of the air in °C, for the speed of sound: 10 °C make 1.7 %. " +
			"Where nothing is in reach, and outside of accept, 2 cm to 4 m as the maker says, a reading is told as implausible and without a value.",
		Example: "tank: {hc_sr04: GPIO19, echo: GPIO26, every: 10s}",
		Config: func() any {
			return &HCSR04{Temperature: 20, Tries: 3, Unit: "m", Sampling: sampling(edge.Duration(10 * time.Second))}
		},
		New: newHCSR04,
	}
}

// hcsr04 is the device.
type hcsr04 struct {
	env  Env
	cfg  HCSR04
	unit float64 // units in a metre
}

var _ Device = (*hcsr04)(nil)

func newHCSR04(env Env, v any) (Device, error) {
	cfg, err := options[HCSR04](v)
	if err != nil {
		return nil, err
	}
	unit, ok := lengths(cfg.Unit)
	switch least := time.Duration(cfg.Tries) * pingPause; {
	case cfg.Echo == "":
		return nil, errors.New("echo is missing: it is the pin of the sensor's echo")
	case !ok:
		return nil, fmt.Errorf("unit %q: it is m, cm or mm", cfg.Unit)
	case !(cfg.Temperature >= -40 && cfg.Temperature <= 85):
		return nil, fmt.Errorf("temperature is %v: it is that of the air in °C, -40 to 85", cfg.Temperature)
	case cfg.Tries < 1 || cfg.Tries > 15:
		return nil, fmt.Errorf("tries is %d: it is 1 to 15", cfg.Tries)
	case cfg.Every > 0 && cfg.Every.D() < least:
		return nil, fmt.Errorf("every is %s: %d tries 60 ms apart take %s", cfg.Every, cfg.Tries, least)
	}
	d := &hcsr04{env: env, cfg: *cfg, unit: unit}
	if math.IsInf(d.cfg.Accept.Min, -1) {
		d.cfg.Accept.Min = pingNear * unit
	}
	if math.IsInf(d.cfg.Accept.Max, 1) {
		d.cfg.Accept.Max = pingFar * unit
	}
	return d, d.cfg.Sampling.check()
}

// soundSpeed is that of dry air in m/s, which is an ideal gas here: 331.3 m/s at
// 0 °C, and it goes with the root of the absolute temperature.
func soundSpeed(celsius float64) float64 { return 331.3 * math.Sqrt(1+celsius/273.15) }

// Pins are the two lines.
func (d *hcsr04) Pins() []edge.Pin { return []edge.Pin{d.cfg.Trigger, d.cfg.Echo} }

// Run measures until ctx is done, then releases the lines.
func (d *hcsr04) Run(ctx context.Context, out *Outlet) (err error) {
	// The pull decides where no sensor is: no echo at all.
	echo, err := d.env.Line(d.cfg.Echo, LineConfig{Edges: Both, Bias: BiasDown})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, echo.Close()) }()
	if !echo.Kernel() {
		return fmt.Errorf("listen at %s: the distance is in the kernel's time stamps, and this line has none", d.cfg.Echo)
	}
	trigger, err := d.env.Line(d.cfg.Trigger, LineConfig{Output: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trigger.Close()) }()
	p := pinger{cfg: d.cfg, unit: d.unit, trigger: trigger, echo: echo}
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: p.read}
	return s.run(ctx, out)
}

// pinger measures with one sensor.
type pinger struct {
	cfg     HCSR04
	unit    float64 // units in a metre
	trigger Line
	echo    Line
}

// What a try may come to, besides a width.
var (
	errSilent  = errors.New("there was no answer to the trigger")
	errGarbled = errors.New("edges of the echo were lost")
)

// read takes the median of the tries. Those without an answer do not count; an
// echo from nowhere is one from very far.
func (p *pinger) read(ctx context.Context) (reading, error) {
	var widths []time.Duration
	var failed error
	for i := range p.cfg.Tries {
		if i > 0 {
			pause(ctx, pingPause)
		}
		if ctx.Err() != nil {
			return reading{}, ctx.Err()
		}
		width, err := p.ping(ctx)
		switch {
		case err == nil:
			widths = append(widths, width)
		case !errors.Is(err, errSilent) && !errors.Is(err, errGarbled):
			return reading{}, err
		case failed == nil || errors.Is(err, errGarbled):
			failed = err
		}
	}
	if len(widths) == 0 {
		what := fmt.Sprintf("measure with trigger %s and echo %s", p.cfg.Trigger, p.cfg.Echo)
		if errors.Is(failed, errSilent) {
			return reading{}, absentError(what, failed)
		}
		return reading{}, fmt.Errorf("%s: %w", what, failed)
	}
	slices.Sort(widths)
	width := widths[len(widths)/2]
	if width >= pingNothing {
		return reading{why: "no echo: nothing is in reach"}, nil
	}
	metres := width.Seconds() * soundSpeed(p.cfg.Temperature) / 2
	return reading{value: math.Round(metres*10_000) / (10_000 / p.unit)}, nil // to 0.1 mm
}

// ping triggers once and gives the width of the echo, from the kernel's stamps of
// its two edges.
func (p *pinger) ping(ctx context.Context) (time.Duration, error) {
	if err := p.rest(ctx); err != nil {
		return 0, err
	}
	if _, err := p.trigger.Set(true); err != nil {
		return 0, err
	}
	time.Sleep(pingTrigger) // at least that; longer does no harm
	if _, err := p.trigger.Set(false); err != nil {
		return 0, err
	}
	rise, err := within(ctx, p.echo, pingRise)
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, errSilent
	}
	if err == nil && !rise.Rising {
		err = errGarbled
	}
	if err != nil {
		return 0, err
	}
	fall, err := within(ctx, p.echo, pingFall)
	if errors.Is(err, context.DeadlineExceeded) {
		if level, lerr := p.echo.Level(); lerr != nil || !level {
			return 0, errors.Join(lerr, errGarbled)
		}
		return 0, p.stuck()
	}
	if err != nil {
		return 0, err
	}
	if fall.Rising || fall.LineSeqno != rise.LineSeqno+1 {
		return 0, errGarbled
	}
	return time.Duration(fall.Mono - rise.Mono), nil
}

// rest waits until the echo is low, and forgets what the queue has of before.
func (p *pinger) rest(ctx context.Context) error {
	level, err := p.echo.Level()
	if err == nil && level {
		pause(ctx, pingFall)
		if level, err = p.echo.Level(); err == nil && level {
			return p.stuck()
		}
	}
	if err != nil {
		return err
	}
	_, err = drain(p.echo)
	return err
}

// stuck says that the echo never ends: some boards need to be switched off then.
func (p *pinger) stuck() error {
	return fmt.Errorf("wait for the end of the echo: %s stays high for over %s", p.cfg.Echo, pingFall)
}
