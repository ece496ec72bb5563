package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cutDisk is a file system of its own on a loop device whose power can be cut.
type cutDisk struct {
	Path string // where it is mounted

	kind   string // ext4 or xfs
	image  string
	device string
	copied bool // it has the name of another one that may be mounted
	on     bool // mounted
}

// EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, which are one number, and their flag
// that what the log holds in memory is not written first.
const (
	iocGoingDown    = 0x8004587d
	goingNoLogFlush = 2
)

// memoryDir is where images lie if there is room: a flush costs nothing there, so
// more cuts fall into the agent's own work.
const memoryDir = "/dev/shm"

// imageFolder makes a folder for images: in memory, where that has room, else in
// the run's folder. The caller removes it.
func imageFolder(p *proof, name string) (string, error) {
	const room = 2 << 30
	var st unix.Statfs_t
	if err := unix.Statfs(memoryDir, &st); err == nil && int64(st.Bavail)*int64(st.Bsize) > room {
		if dir, err := os.MkdirTemp(memoryDir, "fieldpost-prove-"+name+"-"); err == nil {
			return dir, nil
		}
	}
	return p.folder(name)
}

// newCutDisk makes an empty file system and mounts it. mkfs are more words for
// mkfs.
func newCutDisk(dir, kind string, megabytes int64, mkfs ...string) (*cutDisk, error) {
	d := &cutDisk{Path: filepath.Join(dir, "mnt"), kind: kind, image: filepath.Join(dir, kind+".img")}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, fmt.Errorf("make disk image: %w", err)
	}
	if err := os.Truncate(d.image, megabytes<<20); err != nil {
		return nil, fmt.Errorf("make disk image: %w", err)
	}
	words := []string{"-q"}
	if kind == "ext4" {
		words = append(words, "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0")
	}
	if _, err := output("mkfs."+kind, append(append(words, mkfs...), d.image)...); err != nil {
		return nil, err
	}
	return d, d.attach()
}

// openCutDisk mounts a copy of an image.
func openCutDisk(dir, kind, image string) (*cutDisk, error) {
	d := &cutDisk{Path: filepath.Join(dir, "mnt"), kind: kind, image: filepath.Join(dir, kind+".img"), copied: true}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	if _, err := output("cp", image, d.image); err != nil {
		return nil, err
	}
	return d, d.attach()
}

// attach gives the image a device and mounts it.
func (d *cutDisk) attach() error {
	device, err := output("losetup", "--find", "--show", d.image)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoDisk, err)
	}
	d.device = strings.TrimSpace(device)
	if err := d.Mount(); err != nil {
		_, _ = output("losetup", "--detach", d.device)
		return err
	}
	return nil
}

// Replay lets the kernel repair the file system after a cut: it is unmounted and
// mounted again. It gives a copy of the image as the cut left it.
func (d *cutDisk) Replay(ctx context.Context) (spare string, err error) {
	if err := d.Unmount(ctx); err != nil {
		return "", err
	}
	spare = d.image + ".spare"
	if _, err := output("cp", d.image, spare); err != nil {
		return "", err
	}
	return spare, d.Mount()
}

// Mount mounts it; the kernel replays its log.
func (d *cutDisk) Mount() error {
	options := ""
	if d.copied && d.kind == "xfs" {
		options = "nouuid"
	}
	if err := unix.Mount(d.device, d.Path, d.kind, unix.MS_NOATIME, options); err != nil {
		return fmt.Errorf("mount %s: %w", d.kind, err)
	}
	d.on = true
	return nil
}

// Cut is a power cut, as far as the file system can tell: nothing that it holds in
// memory reaches the device any more.
func (d *cutDisk) Cut() error {
	f, err := os.Open(d.Path)
	if err != nil {
		return fmt.Errorf("cut power: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), iocGoingDown, goingNoLogFlush); err != nil {
		return fmt.Errorf("cut power: %w", err)
	}
	return nil
}

// CutUnder cuts the power of a program too, in the same instant: an fsync that is
// under way when ext4 is shut down finds its transaction ended, which is how one
// that was committed looks, and returns 0. A program that ran on would say so.
func (d *cutDisk) CutUnder(ctx context.Context, p *Proc) error {
	if err := p.Freeze(ctx); err != nil {
		return err
	}
	return d.Cut()
}

// Unmount waits until the kernel has let go of it: the agent's own view of the
// mounts ends a moment after the agent, and a mount before that would give the
// file system as it was in memory.
func (d *cutDisk) Unmount(ctx context.Context) error {
	if !d.on {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("unmount %s: it is in use", d.Path))
	defer cancel()
	err := poll(ctx, time.Millisecond, func() (bool, error) {
		err := unix.Unmount(d.Path, 0)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	d.on = false
	gone := filepath.Join("/sys/fs", d.kind, filepath.Base(d.device))
	return poll(ctx, time.Millisecond, func() (bool, error) {
		_, err := os.Stat(gone)
		return errors.Is(err, os.ErrNotExist), nil
	})
}

// Close takes it apart, whatever state it is in.
func (d *cutDisk) Close() error {
	err := d.Unmount(context.Background())
	if err != nil {
		_ = unix.Unmount(d.Path, unix.MNT_DETACH)
	}
	if _, derr := output("losetup", "--detach", d.device); err == nil {
		err = derr
	}
	if rerr := os.Remove(d.image); err == nil {
		err = rerr
	}
	return err
}
