package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// eventually waits for the real kernel.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// terminal is a pseudo-terminal; a builder that has none proves nothing.
func terminal(t *testing.T) (device *os.File, path string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal("there are no pseudo-terminals here: ", err)
		}
		f.Close()
	}
	return gpiotest.NewPTY(t)
}

// kernelSource runs devices on the kernel's own ports.
func kernelSource(t *testing.T, b *gpiotest.Bench, specs ...gpio.Spec) *gpio.Source {
	t.Helper()
	s, err := gpio.NewSource(gpio.SourceOptions{Specs: specs, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSerialOnPTY: the kernel's own terminal, from opening to unplugging.
func TestSerialOnPTY(t *testing.T) {
	device, path := terminal(t)
	b := gpiotest.NewBench(t)
	s := kernelSource(t, b, spec(t, "serial", "m: {serial: "+path+", baud: 115200, send: lf}"))
	stop := gpiotest.Start(t, s)
	status := func() edge.DeviceStatus { d, _ := s.Device("m"); return d }
	eventually(t, "opening", func() bool { return status().Status == "ok" })
	<-time.After(100 * time.Millisecond) // an earlier byte would be of a line that began before
	fmt.Fprint(device, "one\r\ntwo\n")
	eventually(t, "two lines", func() bool { return strings.Count(b.Pump.Lines("m"), "\n") == 2 })
	if got := b.Pump.Lines("m"); got != "change {\"value\":\"one\"}\nchange {\"value\":\"two\"}\n" {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the bench's Pump stores nothing, so there is nothing to wait for
	if _, err := s.Command(ctx, edge.Command{Device: "m", Verb: "send", Value: json.RawMessage(`"ping"`)}); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 100)
	if n, err := device.Read(buf); err != nil || string(buf[:n]) != "ping\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	device.Close()
	eventually(t, "unplugging", func() bool { return status().Status == "absent" })
	if took := stop(); took > time.Second {
		t.Error(took)
	}
}

// TestSerialStops: a wait for a byte ends with ctx, on the kernel's own terminal.
func TestSerialStops(t *testing.T) {
	_, path := terminal(t)
	s := kernelSource(t, gpiotest.NewBench(t), spec(t, "serial", "m: {serial: "+path+"}"))
	stop := gpiotest.Start(t, s)
	eventually(t, "opening", func() bool { d, _ := s.Device("m"); return d.Status == "ok" })
	if took := stop(); took > time.Second {
		t.Errorf("it took %s to stop", took)
	}
}

// TestSerialDrop: what came before is not read.
func TestSerialDrop(t *testing.T) {
	device, path := terminal(t)
	p, err := gpio.OpenSerial(path, gpio.SerialMode{Baud: 115200, DataBits: 8, Parity: gpio.ParityNone, StopBits: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	buf := make([]byte, 100)
	fmt.Fprint(device, "late")
	if n, err := p.Read(buf[:1]); n != 1 || err != nil { // so the rest is there
		t.Fatal(n, err)
	}
	if err := p.(interface{ Drop() error }).Drop(); err != nil {
		t.Error(err)
	}
	fmt.Fprint(device, "new")
	if n, err := p.Read(buf); err != nil || string(buf[:n]) != "new" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestOpenSerial: what a port is set to, and why one can't be had.
func TestOpenSerial(t *testing.T) {
	_, path := terminal(t)
	mode := gpio.SerialMode{Baud: 250_000, DataBits: 8, Parity: gpio.ParityNone, StopBits: 1} // no speed of termios's table
	p, err := gpio.OpenSerial(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if os.Geteuid() != 0 && !errors.Is(err, unix.EBUSY) {
		t.Errorf("another one gets in: %v", err)
	}
	if err == nil { // root does
		term, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS2)
		if err != nil || term.Ospeed != 250_000 || term.Lflag != 0 || term.Oflag != 0 || term.Iflag&unix.ICRNL != 0 || term.Cflag&(unix.HUPCL|unix.CLOCAL) != unix.CLOCAL {
			t.Errorf("%+v, %v", term, err)
		}
		if excl, err := unix.IoctlGetInt(int(f.Fd()), 0x80045440); err != nil || excl != 1 { // TIOCGEXCL
			t.Errorf("exclusive: %d, %v", excl, err)
		}
		f.Close()
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	mode.Parity = gpio.ParityEven // a pseudo-terminal has none
	if _, err := gpio.OpenSerial(path, mode); err == nil || !strings.Contains(err.Error(), "for 250000 8E1: the port can't do that") {
		t.Error(err)
	}
	if _, err := gpio.OpenSerial("/dev/null", mode); err == nil || errors.Is(err, edge.ErrAbsent) || !strings.Contains(err.Error(), "it is no serial port") {
		t.Error(err)
	}
	if _, err := gpio.OpenSerial("/dev/serial/by-id/none", mode); !errors.Is(err, edge.ErrAbsent) {
		t.Error(err)
	}
}
