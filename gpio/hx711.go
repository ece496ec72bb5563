package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"fieldpost/edge"
)

// HX711 is the config of an hx711: the converter of a scale's load cell.
type HX711 struct {
	Data     edge.Pin `mapstructure:"hx711"`
	Clock    edge.Pin `mapstructure:"clock"`
	Gain     int      `mapstructure:"gain"`
	Scale    float64  `mapstructure:"scale"`
	Offset   float64  `mapstructure:"offset"`
	Tries    int      `mapstructure:"tries"`
	Unit     string   `mapstructure:"unit"`
	Remote   bool     `mapstructure:"remote"`
	Sampling `mapstructure:",squash"`
}

func hx711Driver() Driver {
	return Driver{
		Name: "hx711",
		Doc: "A scale: an HX711 and its load cell. value = (count - offset) x scale, the median of tries. hx711 is the pin of its data, clock that of its clock. " +
			"The command tare makes the last reading the zero; that is kept over restarts, until the config has another offset. " +
			"To find scale, tare, put a known weight on, and divide it by the value that scale: 1 shows. " +
			"gain: 128 or 64 is channel A, 32 is channel B. " +
			"The agent makes the clock itself and throws a reading away where Linux held it up for over 60 us, which resets the chip: " +
			"the kernel's own driver (Documentation/devicetree/bindings/iio/adc/avia-hx711.yaml) is the better way where the board's device tree can name it: it is iio: hx711 here.",
		Example: "hive: {hx711: GPIO20, clock: GPIO21, gain: 128, scale: 0.0000221, offset: 84000, unit: kg, every: 10s}",
		Config: func() any {
			return &HX711{Gain: 128, Scale: 1, Tries: 3, Unit: "kg", Sampling: sampling(edge.Duration(10 * time.Second))}
		},
		New: newHX711,
	}
}

// hx711 is the device. Its loop and its commands share it.
type hx711 struct {
	env    Env
	cfg    HX711
	pulses int // clock pulses of a reading, which choose the gain of the next

	mu  sync.Mutex // guards the rest, never held over a reading
	out *Outlet    // nil while it is not running
	row hx711Row
	raw *int32 // the last reading; nil where there is none to tare by
}

var _ Commander = (*hx711)(nil)

// hx711Row is an hx711's durable state.
type hx711Row struct {
	Offset float64 `json:"offset"` // the count that is zero
	Config float64 `json:"config"` // what the config said when it was tared
}

func newHX711(env Env, v any) (Device, error) {
	cfg, err := options[HX711](v)
	if err != nil {
		return nil, err
	}
	// Data sheet, table "Input Channel and Gain Selection".
	pulses, ok := map[int]int{128: 25, 32: 26, 64: 27}[cfg.Gain]
	switch {
	case cfg.Clock == "":
		return nil, errors.New("clock is missing: it is the pin of the converter's clock, PD_SCK")
	case !ok:
		return nil, fmt.Errorf("gain is %d: it is 128, 64 or 32", cfg.Gain)
	case cfg.Scale == 0 || math.IsNaN(cfg.Scale) || math.IsInf(cfg.Scale, 0):
		return nil, fmt.Errorf("scale is %v: it is what one count is worth", cfg.Scale)
	case math.IsNaN(cfg.Offset) || math.IsInf(cfg.Offset, 0):
		return nil, fmt.Errorf("offset is %v: it is the count that is zero", cfg.Offset)
	case cfg.Tries < 1 || cfg.Tries > 15:
		return nil, fmt.Errorf("tries is %d: it is 1 to 15", cfg.Tries)
	}
	return &hx711{env: env, cfg: *cfg, pulses: pulses}, cfg.Sampling.check()
}

// Pins are the two lines.
func (d *hx711) Pins() []edge.Pin { return []edge.Pin{d.cfg.Data, d.cfg.Clock} }

// Verbs is tare.
func (d *hx711) Verbs() []string { return []string{"tare"} }

// Remote reports whether upstream may command it.
func (d *hx711) Remote() bool { return d.cfg.Remote }

// Run weighs until ctx is done, then releases the lines.
func (d *hx711) Run(ctx context.Context, out *Outlet) (err error) {
	data, err := d.env.Line(d.cfg.Data, LineConfig{Bias: BiasUp}) // a part that is missing is never ready
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	sck, err := d.env.Line(d.cfg.Clock, LineConfig{Output: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sck.Close()) }()
	for i, l := range []Line{data, sck} {
		if !l.Kernel() {
			return fmt.Errorf("clock %s: a pulse lasts at most 60 us, and this line is not the board's own", d.Pins()[i])
		}
	}
	c := converter{clock: d.env.Clock, data: data, sck: sck, pulses: d.pulses, pin: d.cfg.Data}
	d.begin(out)
	defer d.end()
	if err := c.reset(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: func(ctx context.Context) (reading, error) { return d.read(ctx, &c) }}
	return s.run(ctx, out)
}

// begin takes the zero from the row, unless the config has another since.
func (d *hx711) begin(out *Outlet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !out.Stored(&d.row) || d.row.Config != d.cfg.Offset {
		d.row = hx711Row{d.cfg.Offset, d.cfg.Offset}
	}
	d.out = out
}

// end lets commands know that nobody weighs.
func (d *hx711) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out, d.raw = nil, nil
}

// read takes the median of the tries.
func (d *hx711) read(ctx context.Context, c *converter) (reading, error) {
	counts := make([]int32, 0, d.cfg.Tries)
	for range d.cfg.Tries {
		n, err := c.sample(ctx)
		if err != nil {
			return reading{}, err
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	raw := counts[len(counts)/2]
	d.mu.Lock()
	defer d.mu.Unlock()
	if raw >= countMax || raw <= countMin {
		d.raw = nil
		return reading{why: "saturated: the load cell gives more than the converter takes, or is not connected"}, nil
	}
	d.raw = &raw
	return reading{value: d.value(), more: d.count()}, nil
}

// value is the last reading in the user's unit. The caller holds d.mu.
func (d *hx711) value() float64 { return tidy((float64(*d.raw) - d.row.Offset) * d.cfg.Scale) }

// count is the last reading as the converter gave it. The caller holds d.mu.
func (d *hx711) count() []Field {
	return []Field{{"count", strconv.AppendInt(nil, int64(*d.raw), 10)}}
}

// Do makes the last reading the zero. It waits for no other.
func (d *hx711) Do(a Action) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(a.Value) > 0 && string(a.Value) != "null":
		return Result{}, fmt.Errorf("%w: tare takes no value, not %s", edge.ErrBadValue, clip(a.Value))
	case d.out == nil:
		return Result{}, fmt.Errorf("%w: the scale does not run now", edge.ErrAbsent)
	case d.raw == nil:
		return Result{}, fmt.Errorf("%w: there is no reading to make the zero", edge.ErrRefused)
	}
	if a.If != nil && string(a.If) != "null" {
		var want float64
		if json.Unmarshal(a.If, &want) != nil || want != d.value() {
			return Result{}, fmt.Errorf("%w: it is %s, not %s", edge.ErrRefused, number(d.value()), clip(a.If))
		}
	}
	d.row = hx711Row{Offset: float64(*d.raw), Config: d.cfg.Offset}
	res := Result{Value: number(0)}
	rep := a.Tell(res)
	rep.Store = d.row
	res.Told = d.out.Queue(rep)
	d.out.Queue(Report{Kind: edge.Sample, Value: number(0), Unit: d.cfg.Unit, Cause: res.Told, More: d.count()})
	return res, nil
}
