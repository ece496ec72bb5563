package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// lockFolder takes the folder's lock, which ends with the process.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock store %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock store: %w", err)
	}
	return f, nil
}

// SyncFolder makes the names in a folder durable: what was made, renamed or removed
// there stays so through a power cut.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// syncAbove makes the name of a new store's folder durable, and those of the
// folders above it, which may be as new: without them the store's own flushes
// keep nothing. A folder that is not ours to open was not made by us.
func syncAbove(dir string, log *slog.Logger) {
	dir, err := filepath.Abs(dir)
	for err == nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if err = SyncFolder(dir); errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
			err = nil
		}
	}
	if err != nil { // the start does not fail for it: other file systems keep it all the same
		log.Warn("folders above the store can't be flushed", "error", err)
	}
}

// diskSpace gives the file system's size and what is free for us, in bytes.
func diskSpace(dir string) (size, free int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("read free space: %w", err)
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), nil
}

// diskUse is what a file takes on the disk: holes in it are free.
func diskUse(path string) int64 {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0
	}
	return int64(st.Blocks) * 512
}

// WriteFile replaces a file by one with the given content, which its user alone can
// read: at any instant the old or the new one is there, whole. It returns when a power
// cut can't take the new one back. Beside it PATH.new is written, by one caller at a time.
func WriteFile(path string, content []byte) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh) // the first error says more
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return SyncFolder(filepath.Dir(path))
}
