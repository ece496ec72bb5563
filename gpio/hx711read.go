package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fieldpost/edge"
)

// The HX711's times (Avia Semiconductor, data sheet "24-Bit Analog-to-Digital
// Converter (ADC) for Weigh Scales"): its clock high for over 60 us powers it
// down, and low again resets it. It has a reading each 100 ms, or 12.5 ms, and the
// first one 400 ms after a reset. The kernel's driver (drivers/iio/adc/hx711.c)
// found that readings after a reset of less than 10 ms are not stable, and that
// the first can take a second.
const (
	clockHigh  = 60 * time.Microsecond
	clockReset = 10 * time.Millisecond
	readyAsk   = 5 * time.Millisecond
	readyAfter = time.Second
)

// The ends of what it can tell: beyond them it says the same.
const (
	countMax = 0x7FFFFF
	countMin = -0x800000
)

// converterTries is how often one reading is tried: a process that is held up so
// often in a row will not get better.
const converterTries = 10

// Why a reading is thrown away. Either is answered with a reset.
var (
	errHeldUp = errors.New("the process was held up for over 60 us while the clock was high")
	errNotOwn = errors.New("the data line is low after the last pulse")
)

// converter reads one HX711.
type converter struct {
	clock  Clock
	data   Line
	sck    Line
	pulses int
	pin    edge.Pin // of data, for errors
	wrong  error    // why the last reset may have left another gain; nil: it did not
}

// reset puts the chip into a state that is known. It then has the gain of 128, so
// that for another one a reading has to go ahead.
func (c *converter) reset(ctx context.Context) error {
	c.wrong = nil
	if _, err := c.sck.Set(true); err != nil {
		return err
	}
	pause(ctx, clockReset)
	if _, err := c.sck.Set(false); err != nil {
		return err
	}
	if c.pulses == 25 || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.shift()
	if errors.Is(err, errHeldUp) || errors.Is(err, errNotOwn) {
		c.wrong = err // the next reading resets again
		return nil
	}
	return err
}

// sample gives the next reading. One that can't be trusted is tried again, a
// bounded number of times.
func (c *converter) sample(ctx context.Context) (int32, error) {
	var err error
	for try := range converterTries {
		if try > 0 || c.wrong != nil {
			if rerr := c.reset(ctx); rerr != nil {
				return 0, rerr
			}
			if c.wrong != nil {
				err = c.wrong
				continue
			}
		}
		if err = c.ready(ctx); err != nil && try > 0 {
			return 0, err
		}
		if err != nil {
			continue // it may be powered down: a reset wakes it
		}
		var n int32
		if n, err = c.shift(); err == nil {
			return n, nil
		}
		if !errors.Is(err, errHeldUp) && !errors.Is(err, errNotOwn) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("read the HX711 at %s, %d times: %w", c.pin, converterTries, err)
}

// ready waits until there is a reading: the data line is low then.
func (c *converter) ready(ctx context.Context) error {
	for waited := time.Duration(0); waited <= readyAfter; waited += readyAsk {
		level, err := c.data.Level()
		if err != nil || !level {
			return err
		}
		pause(ctx, readyAsk)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return absentError(fmt.Sprintf("wait for the HX711 at %s: the data line did not go low within %s", c.pin, readyAfter), nil)
}

// shift clocks a reading out, the highest bit first, each bit being there from
// the clock's rise to the next. A pulse counts as long as it may have been: from
// before it was asked for until after its end.
func (c *converter) shift() (int32, error) {
	var bits uint32
	for i := range c.pulses {
		before := c.clock.Stamp().Mono
		if _, err := c.sck.Set(true); err != nil {
			return 0, err
		}
		after, err := c.sck.Set(false)
		if err != nil {
			return 0, err
		}
		if time.Duration(after-before) > clockHigh {
			return 0, errHeldUp
		}
		if i >= 24 {
			continue
		}
		level, err := c.data.Level()
		if err != nil {
			return 0, err
		}
		bits <<= 1
		if level {
			bits |= 1
		}
	}
	if level, err := c.data.Level(); err != nil || !level {
		return 0, errors.Join(err, errNotOwn)
	}
	return int32(bits<<8) >> 8, nil // 24 bits, two's complement
}
