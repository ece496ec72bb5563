package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// crashImage brings a disk image on tmpfs from one crash state to the next and
// mounts it. Its loop device stays; only what differs is copied.
type crashImage struct {
	Path string // where it is mounted

	log     []blockOp
	disk    []byte // all of the log before flushed
	flushed int

	dir    string
	mapped []byte // the image file
	device string
}

// newCrashImage makes the image in dir, which must be on tmpfs.
func newCrashImage(dir string, base []byte, log []blockOp) (*crashImage, error) {
	m := &crashImage{Path: filepath.Join(dir, "mnt"), dir: dir, log: log, disk: bytes.Clone(base)}
	if err := os.MkdirAll(m.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	f, err := os.Create(m.file())
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(base))); err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	if m.mapped, err = syscall.Mmap(int(f.Fd()), 0, len(base), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map image: %w", err)
	}
	if m.device, err = attachLoop(m.file()); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *crashImage) file() string { return filepath.Join(m.dir, "disk.img") }

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
	if err := unix.Mount(m.device, m.Path, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount crash state: %w", err)
	}
	return nil
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
	return nil
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
	if m.device != "" {
		_, err := output("losetup", "--detach", m.device)
		errs = append(errs, err)
	}
	errs = append(errs, syscall.Munmap(m.mapped), os.Remove(m.file()))
	return errors.Join(errs...)
}
