package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 of its own on a loop device, so that every sector written for
// one program can be counted, the file system's own among them. It is mounted as
// Raspberry Pi OS mounts a card: with noatime.
type Disk struct {
	Path string // where it is mounted

	image  string
	device string // such as /dev/loop3
}

// errNoDisk: this user or machine can't mount a loop device.
var errNoDisk = errors.New("no loop mount here")

// newDisk makes and mounts an empty file system of so many megabytes in dir.
func newDisk(dir string, megabytes int64) (*Disk, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", errNoDisk)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make disk's folder: %w", err)
	}
	d := &Disk{Path: filepath.Join(dir, "mnt"), image: filepath.Join(dir, "ext4.img")}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, fmt.Errorf("make disk image: %w", err)
	}
	err = f.Truncate(megabytes << 20)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("make disk image: %w", err)
	}
	// Blocks of 4 kB, as on a card: a small image would get 1 kB. Without the lazy
	// parts nothing is written later in the background.
	if _, err := output("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image); err != nil {
		return nil, err
	}
	device, err := output("losetup", "--find", "--show", d.image)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDisk, err)
	}
	d.device = strings.TrimSpace(device)
	if _, err := output("mount", "-o", "noatime", d.device, d.Path); err != nil {
		_, _ = output("losetup", "--detach", d.device)
		return nil, fmt.Errorf("%w: %w", errNoDisk, err)
	}
	return d, nil
}

// Written is how many bytes the block device has taken so far, after all that is
// still in memory was brought to it.
func (d *Disk) Written() (int64, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return 0, fmt.Errorf("open disk: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return 0, fmt.Errorf("sync disk: %w", err)
	}
	return d.count()
}

// count reads the device's own counter: field 7 is sectors of 512 bytes written.
func (d *Disk) count() (int64, error) {
	b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.device), "stat"))
	if err != nil {
		return 0, fmt.Errorf("count sectors: %w", err)
	}
	fields := strings.Fields(string(b))
	if len(fields) < 7 {
		return 0, fmt.Errorf("count sectors: %q is not a block device's stat", b)
	}
	n, err := strconv.ParseInt(fields[6], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("count sectors: %w", err)
	}
	return n * 512, nil
}

// Settle waits until nothing was written for a while: ext4 commits its log every
// 5 s, and a program may prepare its files in the background.
func (d *Disk) Settle(ctx context.Context) error {
	last, since := int64(-1), time.Now()
	return poll(ctx, 250*time.Millisecond, func() (bool, error) {
		n, err := d.count()
		if err != nil {
			return false, err
		}
		if n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 6*time.Second, nil
	})
}

// Close takes it apart.
func (d *Disk) Close() error {
	_, err := output("umount", d.Path)
	if _, derr := output("losetup", "--detach", d.device); err == nil {
		err = derr
	}
	if err == nil {
		err = os.Remove(d.image)
	}
	return err
}

// output runs a program to its end and gives what it printed.
func output(program string, args ...string) (string, error) {
	b, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("run %s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(b)))
	}
	return string(b), nil
}
