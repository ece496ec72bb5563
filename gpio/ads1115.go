package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"fieldpost/edge"
)

// ADS1115 is the config of an ads1115: one input of the converter.
type ADS1115 struct {
	Address  uint16  `mapstructure:"ads1115"` // 0x48 to 0x4b
	Bus      string  `mapstructure:"bus"`
	Channel  int     `mapstructure:"channel"` // 0 to 3, against ground
	Pair     Pair    `mapstructure:"pair"`    // or one input against another: 0-1, 0-3, 1-3 or 2-3
	Gain     float64 `mapstructure:"gain"`    // 0.667, 1, 2, 4, 8 or 16
	Rate     int     `mapstructure:"rate"`    // samples a second: what one conversion takes
	Scale    float64 `mapstructure:"scale"`   // what one volt is worth
	Unit     string  `mapstructure:"unit"`
	Sampling `mapstructure:",squash"`
}

// Pair is two inputs of an ADS1115, the first against the second. "" is none.
type Pair string

// MarshalText gives the config's word.
func (p Pair) MarshalText() ([]byte, error) { return []byte(p), nil }

// UnmarshalText reads the config's word.
func (p *Pair) UnmarshalText(b []byte) error {
	v := Pair(strings.ReplaceAll(string(b), " ", ""))
	if _, ok := adsPairs[v]; !ok && v != "" {
		return fmt.Errorf("pair %q: it is 0-1, 0-3, 1-3 or 2-3", b)
	}
	*p = v
	return nil
}

// The registers, of 16 bits, and the bits of the config (TI SBAS444D, section 9.6).
const (
	adsConversion = 0
	adsConfig     = 1

	adsReady  = 1 << 15 // written: convert; read: it does not convert now
	adsSingle = 1 << 8  // one conversion, then sleep
	adsQuiet  = 3       // no comparator
)

// adsPairs are the multiplexer's settings for two inputs; 4 to 7 are one input against
// ground.
var adsPairs = map[Pair]uint16{"0-1": 0, "0-3": 1, "1-3": 2, "2-3": 3}

// adsGains are the amplifier's settings: what is full scale, in volts.
var adsGains = []struct{ gain, volts float64 }{{0.667, 6.144}, {1, 4.096}, {2, 2.048}, {4, 1.024}, {8, 0.512}, {16, 0.256}}

// adsRates are the samples a second, by their setting.
var adsRates = []int{8, 16, 32, 64, 128, 250, 475, 860}

func ads1115Driver() Driver {
	return Driver{
		Name: "ads1115",
		Doc: "One input of TI's ADS1115, a converter of 16 bits on I2C at 0x48 to 0x4b: value = volts x scale, with volts beside it where scale is not 1. " +
			"channel: 0 to 3, against ground; or pair: 0-1, 0-3, 1-3 or 2-3. gain: 0.667, 1, 2, 4, 8 or 16 for at most 6.144, 4.096, 2.048, 1.024, 0.512 or 0.256 V. " +
			"rate: 8, 16, 32, 64, 128, 250, 475 or 860 samples a second; a slower one has less noise. clipped is there where the input was over the range. " +
			"Several devices may share one part.",
		Example: "battery: {ads1115: 0x48, bus: I2C1, channel: 0, gain: 1, rate: 128, scale: 4, unit: V, every: 10s}",
		Config: func() any {
			return &ADS1115{Address: 0x48, Bus: "I2C1", Gain: 1, Rate: 128, Scale: 1, Unit: "V", Sampling: sampling(edge.Duration(10 * time.Second))}
		},
		New: newADS1115,
	}
}

// ads1115 is the device.
type ads1115 struct {
	env    Env
	cfg    ADS1115
	config uint16        // what asks for a conversion
	volts  float64       // full scale
	takes  time.Duration // a conversion, by the part's own clock
}

var _ Device = (*ads1115)(nil)

func newADS1115(env Env, v any) (Device, error) {
	cfg, err := options[ADS1115](v)
	if err != nil {
		return nil, err
	}
	d := &ads1115{env: env, cfg: *cfg, config: adsReady | adsSingle | adsQuiet}
	mux, pair := adsPairs[cfg.Pair]
	switch {
	case cfg.Channel < 0 || cfg.Channel > 3:
		err = fmt.Errorf("channel %d: it is 0 to 3", cfg.Channel)
	case cfg.Pair != "" && !pair:
		err = fmt.Errorf("pair %q: it is 0-1, 0-3, 1-3 or 2-3", cfg.Pair)
	case pair && cfg.Channel != 0:
		err = fmt.Errorf("channel %d and pair %s: keep one of them", cfg.Channel, cfg.Pair)
	case !pair:
		mux = 4 + uint16(cfg.Channel)
	}
	d.config |= mux << 12
	gain, rate := -1, -1
	for i, g := range adsGains {
		if math.Abs(g.gain-cfg.Gain) < 0.01 {
			gain, d.volts = i, g.volts
		}
	}
	for i, r := range adsRates {
		if r == cfg.Rate {
			rate, d.takes = i, time.Second/time.Duration(r)
		}
	}
	if gain < 0 {
		err = errors.Join(err, fmt.Errorf("gain %v: it is 0.667, 1, 2, 4, 8 or 16", cfg.Gain))
	}
	if rate < 0 {
		err = errors.Join(err, fmt.Errorf("rate %d: it is 8, 16, 32, 64, 128, 250, 475 or 860 samples a second", cfg.Rate))
	}
	d.config |= uint16(max(gain, 0))<<9 | uint16(max(rate, 0))<<5
	return d, errors.Join(err, i2cAddress("ADS1115", cfg.Address, 0x48, 0x4b), scaleCheck(cfg.Scale), cfg.Sampling.check())
}

// scaleCheck refuses a scale that makes nothing of a reading.
func scaleCheck(scale float64) error {
	if scale == 0 || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return fmt.Errorf("scale is %v: it is what one volt is worth", scale)
	}
	return nil
}

// Run converts until ctx is done. Between conversions the part is asleep.
func (d *ads1115) Run(ctx context.Context, out *Outlet) error {
	bus, err := d.env.I2C(d.cfg.Bus)
	if err != nil {
		return err
	}
	defer bus.Close()
	part := i2cPart{bus, d.cfg.Address}
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: func(ctx context.Context) (reading, error) { return d.read(ctx, part) }}
	return s.run(ctx, out)
}

// read converts once, and where that fails a few times more. The part is this
// device's for that long: another channel has another config.
func (d *ads1115) read(ctx context.Context, part i2cPart) (reading, error) {
	release, err := part.bus.Hold(ctx, part.addr)
	if err != nil {
		return reading{}, err
	}
	defer release()
	var code int16
	if err := again(ctx, func() error { code, err = d.convert(ctx, part); return err }); err != nil {
		return reading{}, err
	}
	volts := float64(code) * d.volts / 32768
	r := reading{value: significant(volts * d.cfg.Scale)}
	if d.cfg.Scale != 1 {
		r.more = append(r.more, Field{"volts", number(significant(volts))})
	}
	if code == math.MaxInt16 || code == math.MinInt16 {
		r.more = append(r.more, Field{"clipped", boolean(true)})
	}
	return r, nil
}

// convert asks for a conversion and waits until the part says that it is done: its
// clock is off by up to 10 %, and too early one reads the conversion before (FACTS.md 1.4).
func (d *ads1115) convert(ctx context.Context, part i2cPart) (int16, error) {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], d.config)
	if err := part.write(ctx, adsConfig, b[:]...); err != nil {
		return 0, err
	}
	pause(ctx, d.takes)
	ask := max(d.takes/8, time.Millisecond)
	for range 12 { // so half as long again, and more
		if err := part.read(ctx, adsConfig, b[:]); err != nil {
			return 0, err
		}
		config := binary.BigEndian.Uint16(b[:])
		if config&^adsReady != d.config&^adsReady {
			return 0, fmt.Errorf("find an ADS1115 at 0x%02x: its config is 0x%04x, not 0x%04x as was written: another part, or another program uses it", part.addr, config, d.config)
		}
		if config&adsReady != 0 {
			err := part.read(ctx, adsConversion, b[:])
			return int16(binary.BigEndian.Uint16(b[:])), err
		}
		pause(ctx, ask)
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("wait for the ADS1115 at 0x%02x: it still converts after %s", part.addr, d.takes+12*ask)
}

// significant is a reading to six digits: more than a converter of 16 bits has.
func significant(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64) // it fails on what is over the range, and gives Inf
	return v
}
