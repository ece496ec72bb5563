package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// BlockDisk is a file system on a block device that this process serves: a loop
// device sits on a file of FUSE, whose content is in memory here. So every write
// and flush of the file system is seen in its order, and can be made to fail.
//
//	program --> ext4 --> loop (direct I/O) --> FUSE --> blockImage
//
// This process must not touch mapped files on it: a page fault holds a thread of
// Go's up inside the runtime's view, and the server with it. What opens a store
// there is a child process.
type BlockDisk struct {
	Path string // where it is mounted

	dir    string
	fstype string
	device string
	image  *blockImage
	server *fuse.Server
}

// newBlockDisk makes and mounts an empty file system of so many megabytes in
// dir. fstype is ext4 or xfs (which takes 300 MB at least).
func newBlockDisk(dir string, megabytes int64, fstype string) (*BlockDisk, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", errNoDisk)
	}
	d := &BlockDisk{Path: filepath.Join(dir, "mnt"), dir: dir, fstype: fstype, image: &blockImage{bytes: make([]byte, megabytes<<20)}}
	for _, path := range []string{d.Path, d.served()} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("make mount point: %w", err)
		}
	}
	var err error
	if d.image.count, err = newBlockCount(); err != nil {
		return nil, err
	}
	if d.server, err = serveBlocks(d.served(), d.image); err == nil {
		if d.device, err = attachLoop(filepath.Join(d.served(), blockFileName), "--direct-io=on"); err == nil {
			if err = makeFS(d.fstype, d.device); err == nil {
				err = mountFS(d.fstype, d.device, d.Path)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.release())
	}
	return d, nil
}

func (d *BlockDisk) served() string { return filepath.Join(d.dir, "fuse") }

// Record begins the log, and gives what the device holds at its beginning.
func (d *BlockDisk) Record() []byte {
	d.image.mu.Lock()
	defer d.image.mu.Unlock()
	d.image.log, d.image.logging = nil, true
	d.image.count.set(0)
	return bytes.Clone(d.image.bytes)
}

// Log gives what was written and flushed since Record, in order. Its data must
// not be changed.
func (d *BlockDisk) Log() []blockOp {
	d.image.mu.Lock()
	defer d.image.mu.Unlock()
	return slices.Clone(d.image.log)
}

// CountFile is the file that always has the log's length: see openBlockCount.
func (d *BlockDisk) CountFile() string { return d.image.count.path }

// FailWrites makes every write fail with the errno from now on; 0 ends it.
func (d *BlockDisk) FailWrites(e syscall.Errno) { d.image.failWrite.Store(int32(e)) }

// FailFlushes makes every flush fail with the errno from now on; 0 ends it. What
// was written is kept nevertheless.
func (d *BlockDisk) FailFlushes(e syscall.Errno) { d.image.failFlush.Store(int32(e)) }

// DelayFlushes makes each flush take so much longer.
func (d *BlockDisk) DelayFlushes(by time.Duration) { d.image.delayFlush.Store(int64(by)) }

// Lie makes the device forget at the next Cut what it is told from now on,
// flushed or not.
func (d *BlockDisk) Lie() {
	d.image.mu.Lock()
	defer d.image.mu.Unlock()
	d.image.kept = bytes.Clone(d.image.bytes)
}

// Cut is the power's end: what comes from now on is answered as before, and lost.
func (d *BlockDisk) Cut() {
	d.image.mu.Lock()
	defer d.image.mu.Unlock()
	if d.image.kept == nil {
		d.image.kept = bytes.Clone(d.image.bytes)
	}
	d.image.cut = true
}

// Revive mounts what a Cut left, as at the next start. Nothing may have files
// open there any more.
func (d *BlockDisk) Revive() error {
	d.heal()
	if err := d.unmount(); err != nil {
		return err
	}
	d.image.mu.Lock()
	if d.image.kept != nil {
		copy(d.image.bytes, d.image.kept)
	}
	d.image.kept, d.image.cut = nil, false
	d.image.mu.Unlock()
	return mountFS(d.fstype, d.device, d.Path)
}

// unmount takes the file system off. A program that was just killed may hold it
// for a moment longer.
func (d *BlockDisk) unmount() error {
	_, err := output("umount", d.Path)
	for try := 0; err != nil && try < 50; try++ {
		time.Sleep(100 * time.Millisecond)
		_, err = output("umount", d.Path)
	}
	return err
}

// heal turns all dials back.
func (d *BlockDisk) heal() {
	for _, dial := range []*atomic.Int32{&d.image.failWrite, &d.image.failFlush} {
		dial.Store(0)
	}
	d.image.delayFlush.Store(0)
}

// Close takes it apart.
func (d *BlockDisk) Close() error {
	d.heal()
	return errors.Join(d.unmount(), d.release())
}

// release lets go of the loop device, of FUSE and of the counter.
func (d *BlockDisk) release() error {
	var errs []error
	if d.device != "" {
		_, err := output("losetup", "--detach", d.device)
		errs = append(errs, err)
	}
	if d.server != nil {
		err := d.server.Unmount()
		for try := 0; err != nil && try < 50; try++ { // the loop device lets go of its file a little later
			time.Sleep(20 * time.Millisecond)
			err = d.server.Unmount()
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err // it may still be told things, and counts them
	}
	d.image.count.close()
	return os.Remove(d.image.count.path)
}
