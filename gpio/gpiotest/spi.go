package gpiotest

import (
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// SPI is a port with one part on it.
type SPI struct {
	Dial
	Name string
	Part func(w, r []byte) // answers a transfer; r reads 0xff where it drives nothing

	mu   sync.Mutex
	mode spi.Mode
	freq physic.Frequency
	open int
}

// Opened is how many have the port open.
func (p *SPI) Opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// SetUp gives what the last that connected asked for.
func (p *SPI) SetUp() (physic.Frequency, spi.Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.freq, p.mode
}

// Open gives the port by its name, as spireg.Open does.
func (p *SPI) Open(name string) (spi.PortCloser, error) {
	if name != "" && name != p.Name {
		return nil, fmt.Errorf("spireg: no port %q", name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	return &spiHandle{port: p}, nil
}

// spiHandle is one open file of the port.
type spiHandle struct {
	port *SPI
	conn bool
}

var (
	_ spi.PortCloser = (*spiHandle)(nil)
	_ spi.Conn       = (*spiHandle)(nil)
)

func (h *spiHandle) String() string                    { return h.port.Name }
func (h *spiHandle) LimitSpeed(physic.Frequency) error { return nil }
func (h *spiHandle) Duplex() conn.Duplex               { return conn.Full }

// TxPackets is not there.
func (h *spiHandle) TxPackets([]spi.Packet) error { return errors.New("spi: no packets here") }

// Connect sets the port up, once.
func (h *spiHandle) Connect(f physic.Frequency, mode spi.Mode, bits int) (spi.Conn, error) {
	if h.conn || bits != 8 {
		return nil, fmt.Errorf("sysfs-spi: connected before, or %d bits", bits)
	}
	h.conn = true
	h.port.mu.Lock()
	defer h.port.mu.Unlock()
	h.port.freq, h.port.mode = f, mode
	return h, nil
}

// Tx is one transfer.
func (h *spiHandle) Tx(w, r []byte) error {
	if len(w) != len(r) {
		return errors.New("sysfs-spi: w and r must be the same size")
	}
	for i := range r {
		r[i] = 0xff
	}
	return h.port.through(h.port.Part, w, r)
}

// Close closes the file.
func (h *spiHandle) Close() error {
	h.port.mu.Lock()
	defer h.port.mu.Unlock()
	h.port.open--
	return nil
}
