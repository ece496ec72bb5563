package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// distrusted reports whether a failed commit may have left the file in memory
// other than it is on the disk. A disk that is full says so before anything is
// written.
func distrusted(err error) bool {
	return !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT)
}

// writeAnew puts a copy of what the disk has of a file in its place, read past the
// page cache, after a commit that failed. The kernel holds pages whose write
// failed for clean and gives them to every reader: a commit that never reached the
// disk looks like one that did. And ext4 forgets that their blocks were never
// written: what is written to them later is flushed without an error, and reads
// as zeros after a power cut. Only a new file is free of that. Nobody may have the
// old one open. One that is missing or can't be read directly (on tmpfs) stays.
func writeAnew(path string) error {
	f, direct, err := openBoth(path)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	defer direct.Close()
	return copyFromDisk(path, direct)
}

// signOfLife names what stillCommits makes; a kill may leave one.
const signOfLife = ".alive-*"

// stillCommits reports whether the file system still makes changes of its own
// durable. ext4 whose log broke off says of a flush that all went well, if the
// transaction that it is about ended with the log; only a new one fails. So a flush
// that may have met that counts when a name can be made, and made durable, after
// it. A disk that is full is none of that.
func stillCommits(dir string) error {
	f, err := os.CreateTemp(dir, signOfLife)
	if err == nil {
		err = f.Sync()
		f.Close()
		if rerr := os.Remove(f.Name()); err == nil {
			err = rerr
		}
	}
	if err == nil {
		err = SyncFolder(dir)
	}
	if err == nil || !distrusted(err) {
		return nil
	}
	return fmt.Errorf("ask the file system for a sign of life: %w", err)
}

// forget makes the kernel read a file from the disk again: what a run that ended
// left in memory may never have got there. What is still on its way is flushed
// first, and a failure of that is given back; memory gives up its pages in any case.
func forget(f *os.File) error {
	err := datasync(f)
	dropCache(f)
	return err
}

// trueToDisk does this to a bbolt file, and writes it anew where one of its two
// meta pages is still another in memory than on the disk: that is how a commit
// would be believed that did not happen.
func trueToDisk(path string) error {
	f, direct, err := openBoth(path)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	defer direct.Close()
	dropCache(f)
	const metas = 2 * blockSize
	cached, disk := make([]byte, metas), alignedBuffer(metas)
	n, err := f.ReadAt(cached, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	m, err := direct.ReadAt(disk, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read back %s: %w", filepath.Base(path), err)
	}
	if bytes.Equal(cached[:n], disk[:m]) {
		return nil
	}
	return copyFromDisk(path, direct)
}

// openBoth flushes a file and opens it for reading through the page cache and past
// it. Both are nil where there is no file, or no reading past the cache.
func openBoth(path string) (f, direct *os.File, err error) {
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil {
		err = datasync(f)
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("flush %s: %w", filepath.Base(path), err)
	}
	direct, err = os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EINVAL) {
			return nil, nil, nil
		}
		return nil, nil, fmt.Errorf("read back %s: %w", filepath.Base(path), err)
	}
	return f, direct, nil
}

// copyFromDisk puts a copy of what direct reads in the file's place.
func copyFromDisk(path string, direct *os.File) error {
	fresh, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s anew: %w", filepath.Base(path), err)
	}
	defer fresh.Close()
	buf := alignedBuffer(1 << 20)
	for at := int64(0); err == nil; {
		var n int
		n, err = direct.ReadAt(buf, at)
		if n > 0 {
			if _, werr := fresh.WriteAt(buf[:n], at); werr != nil {
				return fmt.Errorf("write %s anew: %w", filepath.Base(path), werr)
			}
			at += int64(n)
		}
	}
	if err != io.EOF {
		return fmt.Errorf("read back %s: %w", filepath.Base(path), err)
	}
	if err := fresh.Sync(); err != nil {
		return fmt.Errorf("write %s anew: %w", filepath.Base(path), err)
	}
	if err := os.Rename(fresh.Name(), path); err != nil {
		return fmt.Errorf("write %s anew: %w", filepath.Base(path), err)
	}
	return SyncFolder(filepath.Dir(path))
}

// alignedBuffer is one that direct reads take.
func alignedBuffer(size int) []byte {
	buf := make([]byte, size+blockSize)
	skip := int(-uintptr(unsafe.Pointer(&buf[0])) & (blockSize - 1))
	return buf[skip : skip+size : skip+size]
}
