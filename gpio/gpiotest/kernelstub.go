package gpiotest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// I2CStub is the kernel's i2c-stub (Linux's Documentation/i2c/i2c-stub.rst) under
// test: a bus whose chips are maps of registers, which the kernel's own drivers of
// sensors take for the real thing.
type I2CStub struct {
	bus string // /sys/bus/i2c/devices/i2c-0
	fd  int
}

// OnStub gives the emulated board's i2c-stub.
func OnStub(t testing.TB) *I2CStub {
	t.Helper()
	names, _ := filepath.Glob("/sys/bus/i2c/devices/i2c-*/name")
	for _, file := range names {
		if b, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(b), "SMBus stub driver") {
			continue
		}
		s := &I2CStub{bus: filepath.Dir(file)}
		var err error
		if s.fd, err = unix.Open(filepath.Join("/dev", filepath.Base(s.bus)), unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(s.fd) })
		return s
	}
	t.Fatal("there is no i2c-stub on this board")
	return nil
}

// What Linux's include/uapi/linux/i2c.h and i2c-dev.h have: a transfer of SMBus.
const (
	i2cSlaveForce = 0x0706 // the kernel's driver has the chip already
	i2cSMBus      = 0x0720
	smbusByte     = 2
	smbusWord     = 3
)

type smbusTransfer struct {
	write   uint8 // 0 writes
	command uint8
	size    uint32
	data    *[34]byte
}

// Byte puts a byte into a register of the chip at an address.
func (s *I2CStub) Byte(t testing.TB, addr, register, value byte) {
	t.Helper()
	s.transfer(t, addr, register, smbusByte, [34]byte{value})
}

// Word puts two bytes into a register of 16 bits, the first on the wire first.
func (s *I2CStub) Word(t testing.TB, addr, register, first, second byte) {
	t.Helper()
	s.transfer(t, addr, register, smbusWord, [34]byte{first, second})
}

func (s *I2CStub) transfer(t testing.TB, addr, register byte, size uint32, data [34]byte) {
	t.Helper()
	if err := unix.IoctlSetInt(s.fd, i2cSlaveForce, int(addr)); err != nil {
		t.Fatalf("address %#x: %v", addr, err)
	}
	x := smbusTransfer{command: register, size: size, data: &data}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), i2cSMBus, uintptr(unsafe.Pointer(&x))); errno != 0 {
		t.Fatalf("write register %#x of %#x: %v", register, addr, errno)
	}
}

// Plug lets the kernel's driver of a name have the chip at an address; false takes it
// away from the driver.
func (s *I2CStub) Plug(t testing.TB, name string, addr byte, in bool) {
	t.Helper()
	file, text := "new_device", fmt.Sprintf("%s %#x", name, addr)
	if !in {
		file, text = "delete_device", fmt.Sprintf("%#x", addr)
	}
	if err := os.WriteFile(filepath.Join(s.bus, file), []byte(text), 0o200); err != nil {
		t.Fatal(err)
	}
}
