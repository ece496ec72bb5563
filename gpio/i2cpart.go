package gpio

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// busTries is how often a transfer is tried at once. A long wire, a plug, a motor next
// to it: any of these costs one transfer now and then, and only now and then.
const busTries = 3

// i2cPart is one part on an I2C bus: a register's number is written, then the
// register's bytes are written or read.
type i2cPart struct {
	bus  I2CBus
	addr uint16
}

// i2cAddress refuses an address that the part can't have.
func i2cAddress(part string, addr, min, max uint16) error {
	if addr < min || addr > max {
		return fmt.Errorf("address 0x%02x: a %s has one from 0x%02x to 0x%02x", addr, part, min, max)
	}
	return nil
}

// read fills a buffer from register reg on. The error wraps edge.ErrAbsent where
// nothing answers.
func (p i2cPart) read(ctx context.Context, reg byte, into []byte) error {
	return p.tx(ctx, []byte{reg}, into)
}

// write writes from register reg on. Where several registers are written at once, the
// part must count on by itself.
func (p i2cPart) write(ctx context.Context, reg byte, values ...byte) error {
	return p.tx(ctx, append([]byte{reg}, values...), nil)
}

func (p i2cPart) tx(ctx context.Context, w, r []byte) error {
	err := p.bus.TxContext(ctx, p.addr, w, r)
	if err != nil && unanswered(err) {
		return absentError(fmt.Sprintf("find a part at 0x%02x on %s", p.addr, p.bus), err)
	}
	return err
}

// unanswered reports whether no part acknowledged its address: EREMOTEIO or ENXIO, by
// the adapter (Linux's Documentation/i2c/fault-codes.rst). periph keeps no more of an
// errno than its text (FACTS.md 1.1).
func unanswered(err error) bool {
	for _, errno := range []unix.Errno{unix.EREMOTEIO, unix.ENXIO} {
		if errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error()) {
			return true
		}
	}
	return false
}

// again tries a transfer at most busTries times. A bus that is held is not asked again:
// that would hold up the device for seconds.
func again(ctx context.Context, transfer func() error) error {
	var err error
	for range busTries {
		if err = transfer(); err == nil || ctx.Err() != nil || errors.Is(err, ErrBusHeld) {
			break
		}
	}
	return err
}
