package gpio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SerialPort is an open serial port in raw mode. Read gives what came, at least one
// byte, and waits for it until the deadline; Write returns when the kernel has taken
// all. Both fail with os.ErrDeadlineExceeded, and with io.EOF or an errno where the
// port went away. A net.Conn is one too.
type SerialPort interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Parity is the parity bit of a serial line: none, even or odd.
type Parity string

// The parities.
const (
	ParityNone Parity = "none"
	ParityEven Parity = "even"
	ParityOdd  Parity = "odd"
)

// MarshalText gives the config's word.
func (p Parity) MarshalText() ([]byte, error) { return []byte(p), nil }

// UnmarshalText reads the config's word.
func (p *Parity) UnmarshalText(b []byte) error {
	switch v := Parity(strings.ToLower(string(b))); v {
	case ParityNone, ParityEven, ParityOdd:
		*p = v
		return nil
	}
	return fmt.Errorf("parity %q: it is none, even or odd", b)
}

// SerialMode is how a serial line is set up. There is no flow control.
type SerialMode struct {
	Baud     int    `mapstructure:"baud"`      // bits a second
	DataBits int    `mapstructure:"data_bits"` // 7 or 8
	Parity   Parity `mapstructure:"parity"`
	StopBits int    `mapstructure:"stop_bits"` // 1 or 2
}

// serialMode gives the default, 9600 8N1.
func serialMode() SerialMode {
	return SerialMode{Baud: 9600, DataBits: 8, Parity: ParityNone, StopBits: 1}
}

// String is the mode as manuals write it: 9600 8N1.
func (m SerialMode) String() string {
	return fmt.Sprintf("%d %d%s%d", m.Baud, m.DataBits, strings.ToUpper(string(m.Parity[:1])), m.StopBits)
}

// The bounds of what a port can be asked for.
const (
	minBaud = 50
	maxBaud = 4_000_000
)

// check refuses what no port has.
func (m SerialMode) check() error {
	switch {
	case m.Baud < minBaud || m.Baud > maxBaud:
		return fmt.Errorf("baud is %d: it is %d to %d", m.Baud, minBaud, maxBaud)
	case m.DataBits != 7 && m.DataBits != 8:
		return fmt.Errorf("data_bits is %d: it is 7 or 8", m.DataBits)
	case m.Parity != ParityNone && m.Parity != ParityEven && m.Parity != ParityOdd:
		return fmt.Errorf("parity is %q: it is none, even or odd", m.Parity)
	case m.StopBits != 1 && m.StopBits != 2:
		return fmt.Errorf("stop_bits is %d: it is 1 or 2", m.StopBits)
	}
	return nil
}

// airtime is how long n characters take on the line.
func (m SerialMode) airtime(n int) time.Duration {
	bits := 1 + m.DataBits + m.StopBits
	if m.Parity != ParityNone {
		bits++
	}
	return time.Duration(n*bits) * time.Second / time.Duration(m.Baud)
}

// checkPort refuses what is no name of a serial port.
func checkPort(key, path string) error {
	if !strings.HasPrefix(path, "/dev/") {
		return fmt.Errorf("%s is %q: it is the path of a port, like /dev/serial/by-id/usb-... or /dev/ttyUSB0", key, path)
	}
	return nil
}

// OpenSerial opens a port of the kernel's in raw mode and keeps other programs out
// (TIOCEXCL, man 2 ioctl_tty; root gets in all the same). It waits for no carrier:
// most devices have no such line. DTR stays up when it is closed, since a falling one
// resets many a microcontroller. The error wraps edge.ErrAbsent where there is no port.
func OpenSerial(path string, mode SerialMode) (SerialPort, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, serialError("open "+path, path, err)
	}
	f := os.NewFile(uintptr(fd), path) // it is non-blocking, so deadlines work
	if err := setSerial(fd, mode); err != nil {
		f.Close()
		return nil, serialError(fmt.Sprintf("set up %s for %s", path, mode), path, err)
	}
	return &kernelSerial{f}, nil
}

// setSerial takes the port for us and sets the mode (man 3 termios, man 2
// TCSETS: TCSETS2 takes any speed where TCSETS has a table of them).
func setSerial(fd int, mode SerialMode) error {
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return err
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Iflag = unix.IGNBRK
	t.Oflag, t.Lflag = 0, 0
	t.Cflag = unix.CREAD | unix.CLOCAL | unix.BOTHER | unix.CS8
	if mode.DataBits == 7 {
		t.Cflag = t.Cflag&^unix.CSIZE | unix.CS7
	}
	if mode.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
	if mode.Parity != ParityNone {
		t.Iflag |= unix.INPCK // a character with a wrong parity bit is read as 0
		t.Cflag |= unix.PARENB
	}
	if mode.Parity == ParityOdd {
		t.Cflag |= unix.PARODD
	}
	t.Ispeed, t.Ospeed = uint32(mode.Baud), uint32(mode.Baud)
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return err
	}
	// The call succeeds where any of it was possible.
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	const frame = unix.CSIZE | unix.CSTOPB | unix.PARENB | unix.PARODD
	if off := int(got.Ospeed) - mode.Baud; got.Cflag&frame != t.Cflag&frame || off*33 > mode.Baud || off*33 < -mode.Baud {
		return fmt.Errorf("the port can't do that: %w", unix.EINVAL)
	}
	return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) // what came before is at another speed
}

// serialError says what is wrong with a port, and the cure.
func serialError(what, path string, err error) error {
	switch {
	case serialGone(err):
		return absentError(what, err)
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: %s", what, err, permission(path))
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s: %w: another program has it; fuser %s tells which", what, err, path)
	case errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("%s: it is no serial port: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// serialGone reports whether an error means that there is no port (any more). A
// port of the board's that has no part behind it answers EIO.
func serialGone(err error) bool {
	for _, gone := range []error{io.EOF, io.ErrClosedPipe, unix.ENOENT, unix.EIO, unix.ENXIO, unix.ENODEV} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// kernelSerial is a port of the kernel's.
type kernelSerial struct{ *os.File }

var _ SerialPort = (*kernelSerial)(nil)

// Drop drops what came and was not read yet. It does not block.
func (p *kernelSerial) Drop() error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	var flush error
	if err := raw.Control(func(fd uintptr) { flush = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCIFLUSH) }); err != nil {
		return err
	}
	return flush
}

// Close drops what was not sent, since the kernel would wait up to 30 s for that,
// and lets others in again.
func (p *kernelSerial) Close() error {
	if raw, err := p.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // the port may be gone
			_ = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCOFLUSH)
			_ = unix.IoctlSetInt(int(fd), unix.TIOCNXCL, 0)
		})
	}
	return p.File.Close()
}

// interrupt makes what waits for a deadline return when ctx is done. Who sets a
// deadline asks ctx after it. stop ends it; no deadline is set after that.
func interrupt(ctx context.Context, set func(time.Time) error) (stop func()) {
	done := make(chan struct{})
	end := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = set(time.Unix(1, 0)) // it is closed already, or it fails the wait too
	})
	return func() {
		if !end() {
			<-done
		}
	}
}
