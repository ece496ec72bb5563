package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"fieldpost/edge"
)

// BME280 is the config of a bme280: air's temperature, humidity and pressure.
type BME280 struct {
	Address  uint16 `mapstructure:"bme280"` // 0x76 or 0x77
	Bus      string `mapstructure:"bus"`
	Sampling `mapstructure:",squash"`
}

// The registers (Bosch BST-BME280-DS002 rev. 1.6, section 5.3). They count on by
// themselves when read, not when written.
const (
	bmeID       = 0xd0
	bmeReset    = 0xe0
	bmeCtrlHum  = 0xf2
	bmeStatus   = 0xf3
	bmeCtrlMeas = 0xf4
	bmeConfig   = 0xf5
	bmeData     = 0xf7
)

// Their values. The settings are those for weather (section 3.5.1): forced mode, each
// quantity once, no filter.
const (
	bmeIsBME    = 0x60
	bmeIsBMP    = 0x58    // a BMP280: it has no humidity (BST-BMP280-DS001)
	bmeDoReset  = 0xb6    //
	bmeUpdating = 1 << 0  // of the status: the calibration is not there yet
	bmeBusy     = 1 << 3  // of the status: it measures
	bmeOnce     = 0b001   // of humidity
	bmeForce    = 0x25    // temperature and pressure once, in forced mode
	bmeSkipped  = 0x80000 // what it gives where nothing was measured
)

// How long it takes: 2 ms to start (table 1), and at most 9.3 ms to measure each
// quantity once (section 9.1). Then it is asked, a bounded number of times.
const (
	bmeStarts   = 2 * time.Millisecond
	bmeMeasures = 10 * time.Millisecond
	bmeAsk      = 2 * time.Millisecond
	bmeAsks     = 10
)

func bme280Driver() Driver {
	return Driver{
		Name: "bme280",
		Doc: "Bosch's BME280 on I2C, at 0x76 or 0x77: value is the air's temperature in °C, beside it humidity in % and pressure in hPa (as it is, not at sea level). " +
			"A BMP280 works too and has no humidity. It measures once each every and sleeps between, so it does not warm itself. " +
			"accept bounds the temperature; a humidity or pressure that the part can't measure is left out.",
		Example: "climate: {bme280: 0x76, bus: I2C1, every: 30s}",
		Config: func() any {
			s := sampling(edge.Duration(30 * time.Second))
			s.Accept = Accept{Min: -40, Max: 85} // what the part is made for
			return &BME280{Address: 0x76, Bus: "I2C1", Sampling: s}
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[BME280](v)
			if err != nil {
				return nil, err
			}
			return &bme280{env: env, cfg: *cfg}, errors.Join(i2cAddress("BME280", cfg.Address, 0x76, 0x77), cfg.Sampling.check())
		},
	}
}

// bme280 is the device.
type bme280 struct {
	env Env
	cfg BME280
}

var _ Device = (*bme280)(nil)

// Run measures until ctx is done. Whatever happens, the part is asleep after a
// measurement by itself.
func (d *bme280) Run(ctx context.Context, out *Outlet) error {
	bus, err := d.env.I2C(d.cfg.Bus)
	if err != nil {
		return err
	}
	defer bus.Close()
	p := bmePart{i2cPart: i2cPart{bus, d.cfg.Address}, log: d.env.Log}
	if err := again(ctx, func() error { return p.begin(ctx) }); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s := sampler{Sampling: d.cfg.Sampling, unit: "°C", read: p.read}
	return s.run(ctx, out)
}

// bmePart is the part, with its calibration.
type bmePart struct {
	i2cPart
	log     *slog.Logger
	humid   bool // it measures humidity
	cal     bmeCalibration
	dropped bool // a quantity was left out, and that was told
}

// begin finds out which part it is, resets it and reads its calibration.
func (p *bmePart) begin(ctx context.Context) error {
	var id [1]byte
	if err := p.i2cPart.read(ctx, bmeID, id[:]); err != nil {
		return err
	}
	if id[0] != bmeIsBME && id[0] != bmeIsBMP {
		return fmt.Errorf("find a BME280 at 0x%02x: its id is 0x%02x, that of a BME280 is 0x%02x, of a BMP280 0x%02x", p.addr, id[0], bmeIsBME, bmeIsBMP)
	}
	p.humid = id[0] == bmeIsBME
	if err := p.write(ctx, bmeReset, bmeDoReset); err != nil {
		return err
	}
	pause(ctx, bmeStarts)
	if err := p.idle(ctx, bmeUpdating, "load its calibration"); err != nil {
		return err
	}
	if err := p.write(ctx, bmeConfig, 0); err != nil {
		return err
	}
	return p.calibrate(ctx)
}

// calibrate reads the calibration twice: what is wrong in it would be wrong in all
// that is measured from then on.
func (p *bmePart) calibrate(ctx context.Context) error {
	var raw [2]bmeCalibrationBytes
	for i := range raw {
		if err := p.i2cPart.read(ctx, 0x88, raw[i].first[:]); err != nil {
			return err
		}
		if !p.humid {
			continue
		}
		if err := p.i2cPart.read(ctx, 0xe1, raw[i].second[:]); err != nil {
			return err
		}
	}
	if raw[0] != raw[1] {
		return fmt.Errorf("read calibration of the BME280 at 0x%02x: it is another one each time", p.addr)
	}
	if err := raw[0].check(p.humid); err != nil {
		return fmt.Errorf("read calibration of the BME280 at 0x%02x: %w", p.addr, err)
	}
	p.cal = raw[0].calibration()
	return nil
}

// idle waits until a bit of the status is off.
func (p *bmePart) idle(ctx context.Context, bit byte, what string) error {
	var status [1]byte
	for range bmeAsks {
		if err := p.i2cPart.read(ctx, bmeStatus, status[:]); err != nil {
			return err
		}
		if status[0]&bit == 0 {
			return nil
		}
		pause(ctx, bmeAsk)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("wait for the BME280 at 0x%02x to %s: its status is 0x%02x still", p.addr, what, status[0])
}

// read measures once, and where that fails a few times more.
func (p *bmePart) read(ctx context.Context) (r reading, err error) {
	err = again(ctx, func() error {
		var t, press, hum float64
		if t, press, hum, err = p.measure(ctx); err == nil {
			r = p.reading(t, press, hum)
		}
		return err
	})
	return r, err
}

// measure gives °C, Pa and %. NaN is what was not measured.
func (p *bmePart) measure(ctx context.Context) (t, press, hum float64, err error) {
	data := make([]byte, 6, 8)
	if p.humid {
		data = data[:8]
		// It counts only once ctrl_meas was written after it (section 5.4.3).
		if err := p.write(ctx, bmeCtrlHum, bmeOnce); err != nil {
			return 0, 0, 0, err
		}
	}
	if err := p.write(ctx, bmeCtrlMeas, bmeForce); err != nil {
		return 0, 0, 0, err
	}
	pause(ctx, bmeMeasures)
	if err := p.idle(ctx, bmeBusy, "measure"); err != nil {
		return 0, 0, 0, err
	}
	if err := p.i2cPart.read(ctx, bmeData, data); err != nil {
		return 0, 0, 0, err
	}
	// The lower half of these is 0 in each part (section 5.4.7): a part that stopped
	// halfway leaves the bus high.
	if (data[2]|data[5])&0x0f != 0 {
		return 0, 0, 0, fmt.Errorf("read BME280 at 0x%02x: it broke off: % x", p.addr, data)
	}
	rawP, rawT := bme20(data), bme20(data[3:])
	if rawT == bmeSkipped {
		return 0, 0, 0, fmt.Errorf("read BME280 at 0x%02x: it measured nothing", p.addr)
	}
	fine := p.cal.fine(float64(rawT))
	press, hum = math.NaN(), math.NaN()
	if rawP != bmeSkipped {
		press = p.cal.pressure(float64(rawP), fine)
	}
	if rawH := uint16(data[len(data)-2])<<8 | uint16(data[len(data)-1]); p.humid && rawH != 0x8000 && rawH != 0xffff {
		hum = p.cal.humidity(float64(rawH), fine)
	}
	return fine / 5120, press, hum, nil
}

// bme20 is a reading of 20 bits.
func bme20(b []byte) uint32 { return uint32(b[0])<<12 | uint32(b[1])<<4 | uint32(b[2])>>4 }

// reading leaves out what the part can't have measured (tables 2 to 4).
func (p *bmePart) reading(t, press, hum float64) reading {
	r := reading{value: hundredths(t)}
	add := func(key string, v, min, max float64) {
		if v >= min && v <= max {
			r.more = append(r.more, Field{key, number(hundredths(v))})
			return
		}
		if !p.dropped {
			p.log.Warn("a quantity is left out: it is not plausible", "quantity", key, "value", v)
		}
		p.dropped = true
	}
	if p.humid {
		add("humidity", hum, 0, 100)
	}
	add("pressure", press/100, 300, 1100)
	return r
}

// hundredths is a reading to two decimals: about as fine as the part measures.
func hundredths(v float64) float64 { return math.Round(v*100) / 100 }
