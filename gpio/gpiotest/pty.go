package gpiotest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// NewPTY makes a pseudo-terminal, the nearest thing to a serial port that any Linux
// has: path is the port, and what is written to device comes out of it. Closing device
// unplugs it. It is the kernel's, and so not for a synctest bubble.
func NewPTY(t testing.TB) (device *os.File, path string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("there are no pseudo-terminals here: ", err)
	}
	device = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { device.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return device, fmt.Sprintf("/dev/pts/%d", n)
}
