package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"fieldpost/edge"
)

// Modbus is the config of a modbus: one value of a unit on a Modbus line or network.
type Modbus struct {
	Link       string `mapstructure:"modbus"` // tcp://HOST[:502], or the path of a serial port
	SerialMode `mapstructure:",squash"`

	UnitID   int            `mapstructure:"unit_id"`
	Register ModbusRegister `mapstructure:"register"`
	Type     ModbusType     `mapstructure:"type"`  // "": uint16, or bool where it is a coil
	Words    WordOrder      `mapstructure:"words"` // of values of several registers
	Bit      *int           `mapstructure:"bit"`   // of a uint16: told as true or false
	Scale    float64        `mapstructure:"scale"`
	Offset   float64        `mapstructure:"offset"`
	Unit     string         `mapstructure:"unit"`
	Timeout  edge.Duration  `mapstructure:"timeout"` // of one try
	Sampling `mapstructure:",squash"`
}

// maxModbusTimeout bounds what one try may hold a link.
const maxModbusTimeout = 5 * time.Second

func modbusDriver() Driver {
	return Driver{
		Name: "modbus",
		Doc: "A value of a meter, an inverter or a controller that speaks Modbus: modbus is tcp://HOST (port 502 unless said) or the path of a serial port (RTU), best below /dev/serial/by-id. " +
			"Values are read, never written. baud, data_bits, parity and stop_bits are 9600, 8, none and 1 unless said; devices on one port or host share it, one request at a time, and have the same. " +
			"unit_id is the unit's number, 1 unless said. register is input 30775, holding 40, coil 3 or discrete 5; a number alone is a holding register. It is the address on the wire, which counts from 0: register 40001 of some manuals is holding 0, and 30001 is input 0. " +
			"type is uint16, int16, uint32, int32, float32, uint64, int64 or float64; a coil or discrete input is true or false, and so is one bit (0 to 15, from the lowest) of a register. " +
			"words is high_first or low_first, where a value has several registers. value = what was read x scale + offset; a 64-bit value over 2^53 is rounded. " +
			"timeout is what one try waits, of three: it has to be more than the slowest answer takes. A unit that does not answer is absent, one that refuses is failed, with the exception's name.",
		Example: `pv: {modbus: "tcp://10.0.0.5:502", unit_id: 3, register: input 30775, type: int32, words: high_first, scale: 0.1, unit: W, every: 10s, timeout: 1s, report: {delta: 5, heartbeat: 15m}}`,
		Config: func() any {
			return &Modbus{SerialMode: serialMode(), UnitID: 1, Words: HighFirst, Scale: 1, Timeout: edge.Duration(time.Second),
				Sampling: sampling(edge.Duration(30 * time.Second))}
		},
		New: newModbus,
	}
}

// modbus is the device.
type modbus struct {
	env     Env
	cfg     Modbus
	link    *modbusLink
	request modbusRequest
}

var _ Device = (*modbus)(nil)

func newModbus(env Env, v any) (Device, error) {
	cfg, err := options[Modbus](v)
	if err != nil {
		return nil, err
	}
	d := &modbus{env: env, cfg: *cfg}
	for _, check := range []func() error{d.cfg.SerialMode.check, d.cfg.Sampling.check, d.checkValue, d.checkLink} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// checkValue settles what is read.
func (d *modbus) checkValue() error {
	c, bits := &d.cfg, d.cfg.Register.bits()
	if c.Type == "" {
		c.Type = TypeUint16
		if bits {
			c.Type = TypeBool
		}
	}
	size := c.Type.registers()
	switch {
	case !c.Register.set:
		return errors.New("register is missing: it is input, holding, coil or discrete and an address")
	case bits != (c.Type == TypeBool):
		return fmt.Errorf("type %s is not possible: %s %d", c.Type, c.Register.Table, c.Register.Address)
	case c.Bit != nil && (c.Type != TypeUint16 || *c.Bit < 0 || *c.Bit > 15):
		return fmt.Errorf("bit is %d: it is 0 to 15, of a uint16", *c.Bit)
	case int(c.Register.Address)+size > 1<<16:
		return fmt.Errorf("register %d: a %s there goes beyond 65535", c.Register.Address, c.Type)
	case c.Scale == 0 || math.IsNaN(c.Scale) || math.IsInf(c.Scale, 0) || math.IsNaN(c.Offset) || math.IsInf(c.Offset, 0):
		return fmt.Errorf("scale is %v and offset is %v: they are finite, and scale is not 0", c.Scale, c.Offset)
	}
	d.request = modbusRequest{unit: byte(c.UnitID), function: c.Register.function(), address: c.Register.Address, quantity: uint16(size)}
	return nil
}

// checkLink settles where it is read from.
func (d *modbus) checkLink() (err error) {
	if d.cfg.Timeout <= 0 || d.cfg.Timeout.D() > maxModbusTimeout {
		return fmt.Errorf("timeout is %s: it is more than 0 and at most %s", d.cfg.Timeout, maxModbusTimeout)
	}
	if d.link, err = d.env.modbus.link(d.env, d.cfg.Link, d.cfg.SerialMode); err != nil {
		return err
	}
	switch id := d.cfg.UnitID; {
	case d.link.serial && (id < 1 || id > 247):
		return fmt.Errorf("unit_id is %d: it is 1 to 247 on a serial line", id)
	case id < 0 || id > 255:
		return fmt.Errorf("unit_id is %d: it is 0 to 255", id)
	case d.link.serial && d.cfg.DataBits != 8:
		return fmt.Errorf("data_bits is %d: RTU has 8", d.cfg.DataBits)
	}
	return nil
}

// Run reads until ctx is done or a reading fails.
func (d *modbus) Run(ctx context.Context, out *Outlet) error {
	defer d.link.use()()
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: d.read}
	return s.run(ctx, out)
}

// read asks for the value.
func (d *modbus) read(ctx context.Context) (reading, error) {
	data, err := d.link.ask(ctx, d.env.Name, d.request, d.cfg.Timeout.D())
	switch {
	case err != nil:
		return reading{}, err
	case d.cfg.Type == TypeBool:
		return reading{other: boolean(data[0]&1 != 0)}, nil
	case d.cfg.Bit != nil:
		return reading{other: boolean((uint16(data[0])<<8|uint16(data[1]))>>*d.cfg.Bit&1 != 0)}, nil
	}
	return reading{value: scaled(d.cfg.Type.value(d.cfg.Words.order(data)), d.cfg.Scale) + d.cfg.Offset}, nil
}

// scaled is v x scale, where scale is 0.1 or the like without the dust that a product
// with it has: 2345 is 234.5.
func scaled(v, scale float64) float64 {
	if inverse := math.Round(1 / scale); inverse != 0 && 1/inverse == scale {
		return v / inverse
	}
	return v * scale
}
