package gpio

import (
	"context"
	"errors"
	"net"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/spi"
)

// twinRoot is where a twin looks for proc and sys: nothing is ever there.
const twinRoot = "/nonexistent"

// errTwin is why a part of the machine is not there.
var errTwin = errors.New("the board is simulated, and has no such part")

// apart gives a Source that runs around a twin no part of the machine that it runs on:
// neither its buses, serial ports and kernel files nor, where the twin is Alone, its
// network. What the options name stays: it is the caller's own.
func (t *Twin) apart(opt *SourceOptions) {
	if t == nil {
		return
	}
	if opt.Buses.I2C == nil {
		opt.Buses.I2C = func(string) (i2c.BusCloser, error) { return nil, errTwin }
	}
	if opt.Buses.SPI == nil {
		opt.Buses.SPI = func(string) (spi.PortCloser, error) { return nil, errTwin }
	}
	if opt.Serial == nil {
		opt.Serial = func(port string, _ SerialMode) (SerialPort, error) { return nil, absentError("open "+port, errTwin) }
	}
	if opt.Root == "" {
		opt.Root = twinRoot
	}
	if opt.Dial == nil && t.opt.Alone {
		opt.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
			return nil, absentError("dial "+addr, errTwin)
		}
	}
}
