package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"fieldpost/edge"
)

// MCP3008 is the config of an mcp3008: one input of the converter.
type MCP3008 struct {
	Port     string  `mapstructure:"mcp3008"` // SPI0.0
	Channel  int     `mapstructure:"channel"` // 0 to 7
	Vref     float64 `mapstructure:"vref"`    // volts at the part's VREF
	Scale    float64 `mapstructure:"scale"`   // what one volt is worth
	Unit     string  `mapstructure:"unit"`
	Sampling `mapstructure:",squash"`
}

// mcp3008Clock is within what the part takes at 2.7 V, 1.35 MHz, and over the 10 kHz
// below which it forgets what it sampled (Microchip DS21295D, electrical characteristics).
const mcp3008Clock = 1 * physic.MegaHertz

func mcp3008Driver() Driver {
	return Driver{
		Name: "mcp3008",
		Doc: "One input of Microchip's MCP3008, a converter of 10 bits on SPI: value = volts x scale, with volts beside it where scale is not 1. " +
			"mcp3008 is the port, such as SPI0.0; channel is 0 to 7; vref is the voltage at the part's VREF, 3.3 by default. " +
			"Several devices may share one part. An MCP3004 works too, with channels 0 to 3.",
		Example: "light: {mcp3008: SPI0.0, channel: 2, vref: 3.3, scale: 100, unit: \"%\", every: 10s}",
		Config: func() any {
			return &MCP3008{Port: "SPI0.0", Vref: 3.3, Scale: 1, Unit: "V", Sampling: sampling(edge.Duration(10 * time.Second))}
		},
		New: func(env Env, v any) (Device, error) {
			cfg, err := options[MCP3008](v)
			if err != nil {
				return nil, err
			}
			if cfg.Channel < 0 || cfg.Channel > 7 {
				err = fmt.Errorf("channel %d: it is 0 to 7", cfg.Channel)
			}
			if !(cfg.Vref > 0) || math.IsInf(cfg.Vref, 0) {
				err = errors.Join(err, fmt.Errorf("vref is %v V: it must be more than 0", cfg.Vref))
			}
			return &mcp3008{env: env, cfg: *cfg}, errors.Join(err, scaleCheck(cfg.Scale), cfg.Sampling.check())
		},
	}
}

// mcp3008 is the device.
type mcp3008 struct {
	env Env
	cfg MCP3008
}

var _ Device = (*mcp3008)(nil)

// Run converts until ctx is done.
func (d *mcp3008) Run(ctx context.Context, out *Outlet) error {
	conn, err := d.env.SPI(d.cfg.Port, mcp3008Clock, spi.Mode0, 8)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: func(ctx context.Context) (reading, error) {
		var code int
		err := again(ctx, func() (err error) { code, err = d.convert(ctx, conn); return err })
		volts := float64(code) * d.cfg.Vref / 1024
		r := reading{value: significant(volts * d.cfg.Scale)}
		if d.cfg.Scale != 1 {
			r.more = []Field{{"volts", number(significant(volts))}}
		}
		return r, err
	}}
	return s.run(ctx, out)
}

// convert is one transfer of three bytes: a start bit at the end of the first, then
// "against ground" and the channel; the answer is a bit that is always 0 and the ten
// bits of the result (DS21295D, figure 6-1). Before that bit the part drives nothing.
func (d *mcp3008) convert(ctx context.Context, conn SPIConn) (int, error) {
	var r [3]byte
	if err := conn.Tx(ctx, []byte{0x01, 0x80 | byte(d.cfg.Channel)<<4, 0}, r[:]); err != nil {
		return 0, err
	}
	if r[1]&0x04 != 0 {
		return 0, absentError(fmt.Sprintf("find an MCP3008 on %s", d.cfg.Port), fmt.Errorf("the bit before the result is not 0: % x", r))
	}
	return int(r[1]&0x03)<<8 | int(r[2]), nil
}
