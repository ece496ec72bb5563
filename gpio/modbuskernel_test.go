package gpio_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio/gpiotest"
)

// TestModbusOnPTY: RTU over the kernel's own terminal.
func TestModbusOnPTY(t *testing.T) {
	device, path := terminal(t)
	m := units()
	go m.RTU(ptyConn{device, nil})
	b := gpiotest.NewBench(t)
	m.Fail(gpiotest.FaultNoise, gpiotest.FaultCRC, "", gpiotest.FaultShort)
	s := kernelSource(t, b, spec(t, "modbus", "m: {modbus: "+path+", register: input 0, baud: 115200, every: 50ms}"))
	stop := gpiotest.Start(t, s)
	eventually(t, "five readings", func() bool { return strings.Count(b.Pump.Lines("m"), "\n") >= 5 })
	if d, _ := s.Device("m"); d.Status != "ok" || string(d.Value) != "7" || d.Restarts != 0 {
		t.Errorf("%+v", d)
	}
	device.Close()
	eventually(t, "unplugging", func() bool { d, _ := s.Device("m"); return d.Status == "absent" })
	if took := stop(); took > time.Second {
		t.Error(took)
	}
}

// ptyConn is a terminal's other end as the peers have it.
type ptyConn struct {
	*os.File
	net.Conn // for the rest, which nobody asks
}

func (c ptyConn) Read(b []byte) (int, error)         { return c.File.Read(b) }
func (c ptyConn) Write(b []byte) (int, error)        { return c.File.Write(b) }
func (c ptyConn) Close() error                       { return c.File.Close() }
func (c ptyConn) SetDeadline(t time.Time) error      { return c.File.SetDeadline(t) }
func (c ptyConn) SetReadDeadline(t time.Time) error  { return c.File.SetReadDeadline(t) }
func (c ptyConn) SetWriteDeadline(t time.Time) error { return c.File.SetWriteDeadline(t) }

// TestModbusOnTCP: a real connection on the loopback, through edge/dial.
func TestModbusOnTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := units()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); m.TCP(c) }()
		}
	}()
	b := gpiotest.NewBench(t)
	m.Fail("", gpiotest.FaultReset, "", gpiotest.FaultOther)
	s := kernelSource(t, b, spec(t, "modbus", "m: {modbus: 'tcp://"+l.Addr().String()+"', register: input 0, every: 20ms}"))
	stop := gpiotest.Start(t, s)
	eventually(t, "five readings", func() bool { return strings.Count(b.Pump.Lines("m"), "\n") >= 5 })
	if d, _ := s.Device("m"); d.Status != "ok" || d.Restarts != 0 {
		t.Errorf("%+v", d)
	}
	if took := stop(); took > time.Second {
		t.Error(took)
	}
	for _, ev := range b.Pump.Events("m") {
		if ev.Kind != edge.Sample || string(ev.Data) != `{"value":7}` {
			t.Errorf("%s %s", ev.Kind, ev.Data)
		}
	}
}
