package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// crashImage brings a disk image on tmpfs from one crash state to the next and
// mounts it. Only what differs is copied. The loop device is a new one each time:
// what the kernel holds of a device goes with its last user, who need not be the
// mount.
type crashImage struct {
	Path string // where it is mounted

	log     []blockOp
	disk    []byte // all of the log before flushed
	flushed int

	dir    string
	image  *os.File
	mapped []byte // the same
	device string // while it is mounted
}

// newCrashImage makes the image in dir, which must be on tmpfs.
func newCrashImage(dir string, base []byte, log []blockOp) (*crashImage, error) {
	m := &crashImage{Path: filepath.Join(dir, "mnt"), dir: dir, log: log, disk: bytes.Clone(base)}
	if err := os.MkdirAll(m.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	return m, m.create()
}

// create makes the image file.
func (m *crashImage) create() error {
	f, err := os.CreateTemp(m.dir, "disk-")
	if err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	m.image = f
	if err := f.Truncate(int64(len(m.disk))); err != nil {
		return errors.Join(fmt.Errorf("make image: %w", err), m.Close())
	}
	if m.mapped, err = syscall.Mmap(int(f.Fd()), 0, len(m.disk), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return errors.Join(fmt.Errorf("map image: %w", err), m.Close())
	}
	return nil
}

// set makes the image that of a state, whose flushed is no less than the last
// one's. It must not be mounted.
func (m *crashImage) set(s crashState) {
	for ; m.flushed < s.flushed; m.flushed++ {
		op := m.log[m.flushed]
		copy(m.disk[op.offset:], op.data)
	}
	const piece = 64 << 10
	for at := 0; at < len(m.disk); at += piece {
		to := min(at+piece, len(m.disk))
		if !bytes.Equal(m.mapped[at:to], m.disk[at:to]) {
			copy(m.mapped[at:to], m.disk[at:to])
		}
	}
	for k, i := range s.kept {
		data := m.log[i].data
		if s.torn > 0 && k == len(s.kept)-1 {
			data = data[:s.torn]
		}
		copy(m.mapped[m.log[i].offset:], data)
	}
}

// mount mounts the image; the kernel replays the journal of the file system.
func (m *crashImage) mount() error {
	device, err := m.attach()
	if err != nil {
		return err
	}
	defer device.Close() // the mount has it too, and it goes with that
	m.device = device.Name()
	if err := unix.Mount(m.device, m.Path, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount crash state: %w", err)
	}
	return nil
}

// attach puts a free loop device on the image, which is free again with its last
// user. Others look for free ones too: it tries until it has one.
func (m *crashImage) attach() (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("attach loop device: %w", err)
	}
	defer control.Close()
	for try := 0; ; try++ {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("attach loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err == nil {
			config := unix.LoopConfig{Fd: uint32(m.image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
			if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
				return device, nil
			}
			device.Close()
		}
		if !errors.Is(err, unix.EBUSY) || try == 1000 {
			return nil, fmt.Errorf("attach loop device: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// unmount waits a little for who still holds the mount: a program that was just
// started has the descriptors of this one for an instant.
func (m *crashImage) unmount() error {
	err := unix.Unmount(m.Path, 0)
	for end := time.Now().Add(10 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		err = unix.Unmount(m.Path, 0)
	}
	if err != nil {
		return fmt.Errorf("unmount crash state: %w", err)
	}
	backing := filepath.Join("/sys/block", filepath.Base(m.device), "loop/backing_file")
	if b, err := os.ReadFile(backing); err != nil || strings.TrimSpace(string(b)) != m.image.Name() {
		return nil
	}
	// Somebody still uses it, a mount namespace perhaps: it may write to that image.
	return errors.Join(m.Close(), m.create())
}

// keep copies the image to a file, for who wants to look at it.
func (m *crashImage) keep(path string) error {
	if err := os.WriteFile(path, m.mapped, 0o600); err != nil {
		return fmt.Errorf("keep crash state: %w", err)
	}
	return nil
}

// Close takes it apart.
func (m *crashImage) Close() error {
	var errs []error
	if m.mapped != nil {
		errs = append(errs, syscall.Munmap(m.mapped))
		m.mapped = nil
	}
	errs = append(errs, m.image.Close(), os.Remove(m.image.Name()))
	return errors.Join(errs...)
}
