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
	if err := makeFS("ext4", d.image); err != nil {
		return nil, err
	}
	if d.device, err = attachLoop(d.image); err != nil {
		return nil, err
	}
	if err := mountFS("ext4", d.device, d.Path); err != nil {
		_, _ = output("losetup", "--detach", d.device)
		return nil, err
	}
	return d, nil
}

// makeFS makes an empty file system on a device or in an image. Blocks are of
// 4 kB, as on a card: a small ext4 would get 1 kB. Without the lazy parts nothing
// is written later in the background.
func makeFS(fstype, on string) error {
	var err error
	switch fstype {
	case "ext4":
		_, err = output("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", on)
	case "xfs":
		_, err = output("mkfs.xfs", "-q", "-f", "-K", on)
	default:
		err = fmt.Errorf("make file system: %q is not known here", fstype)
	}
	return err
}

// attachLoop puts a loop device on a file, and gives its path.
func attachLoop(file string, options ...string) (string, error) {
	device, err := output("losetup", append(options, "--find", "--show", file)...)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoDisk, err)
	}
	return strings.TrimSpace(device), nil
}

// mountFS mounts a device as a card is mounted.
func mountFS(fstype, device, path string) error {
	if _, err := output("mount", "-t", fstype, "-o", "noatime,nodiscard", device, path); err != nil {
		return fmt.Errorf("%w: %w", errNoDisk, err)
	}
	return nil
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
