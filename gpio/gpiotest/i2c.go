package gpiotest

import (
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// I2C is a bus of parts that are maps of registers.
type I2C struct {
	Name string

	mu    sync.Mutex
	parts map[uint16]*I2CPart
	open  int
}

// NewI2C makes a bus without parts.
func NewI2C(name string) *I2C { return &I2C{Name: name, parts: map[uint16]*I2CPart{}} }

// Add puts a part on the bus; nil takes away what is there.
func (b *I2C) Add(addr uint16, p *I2CPart) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts[addr] = p
}

// Opened is how many have the bus open.
func (b *I2C) Opened() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// Open gives the bus by its name, as i2creg.Open does.
func (b *I2C) Open(name string) (i2c.BusCloser, error) {
	if name != "" && name != b.Name {
		return nil, fmt.Errorf("i2creg: no bus %q", name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	return &i2cHandle{I2C: b}, nil
}

// i2cHandle is one open file of the bus.
type i2cHandle struct {
	*I2C
	closed bool
}

var _ i2c.BusCloser = (*i2cHandle)(nil)

func (h *i2cHandle) String() string { return h.Name }

// SetSpeed is refused, as on a Pi.
func (h *i2cHandle) SetSpeed(physic.Frequency) error {
	return errors.New("sysfs-i2c: not supported")
}

// Tx is one transaction. No part: ErrNAK.
func (h *i2cHandle) Tx(addr uint16, w, r []byte) error {
	h.mu.Lock()
	p, closed := h.parts[addr], h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return errors.New("sysfs-i2c: file already closed")
	case p == nil:
		return ErrNAK
	}
	return p.through(p.tx, w, r)
}

// Close closes the file.
func (h *i2cHandle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.New("sysfs-i2c: file already closed")
	}
	h.closed = true
	h.open--
	return nil
}

// I2CPart is a part that is a map of registers of Width bytes. The first byte that is
// written is a register's number, further ones go into it and those after it; what is
// read comes from it and those after it. Both hooks are called without a lock of the
// caller's, and may use Mem.
type I2CPart struct {
	Dial
	Width  int                // bytes of a register; 0 means 1
	Wrote  func(reg int)      // after a register was written; may be nil
	Reads  func(reg int)      // before a register is read; may be nil
	Ignore func(reg int) bool // a register that can't be written; may be nil

	mem sync.Mutex
	reg int
	Mem [512]byte // all registers, one after the other; see Poke and Peek
}

// Poke sets bytes from a register on.
func (p *I2CPart) Poke(reg int, b ...byte) {
	p.mem.Lock()
	defer p.mem.Unlock()
	copy(p.Mem[reg*max(1, p.Width):], b)
}

// Peek gives n bytes from a register on.
func (p *I2CPart) Peek(reg, n int) []byte {
	p.mem.Lock()
	defer p.mem.Unlock()
	at := reg * max(1, p.Width)
	return append([]byte(nil), p.Mem[at:at+n]...)
}

func (p *I2CPart) tx(w, r []byte) {
	p.mem.Lock()
	defer p.mem.Unlock()
	width := max(1, p.Width)
	if len(w) > 0 {
		p.reg = int(w[0])
		for i := 1; i+width <= len(w); i += width {
			reg := p.reg + (i-1)/width
			if p.Ignore == nil || !p.Ignore(reg) {
				copy(p.Mem[reg*width:reg*width+width], w[i:])
			}
			if p.Wrote != nil {
				p.Wrote(reg)
			}
		}
	}
	for i := 0; i < len(r); i += width {
		reg := p.reg + i/width
		if p.Reads != nil {
			p.Reads(reg)
		}
		copy(r[i:], p.Mem[reg*width:reg*width+width])
	}
}
