package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// testFolderPrefix begins the names of the folders that the self-test makes: then
// come the boot, the process and something random.
const testFolderPrefix = ".fieldpost-selftest-"

// testFolder is a folder of the self-test's own. Its lock lasts as long as the
// process, so that another self-test can tell it from what a killed one left.
type testFolder struct {
	path string
	lock *os.File
}

// newTestFolder removes what killed self-tests left in dir and makes a new folder.
func newTestFolder(dir string) (*testFolder, error) {
	board, err := edge.ThisBoard()
	if err != nil {
		return nil, err
	}
	boot := board.BootID[:min(8, len(board.BootID))]
	if err := removeLeftovers(dir, boot); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(dir, fmt.Sprintf("%s%s-%d-", testFolderPrefix, boot, os.Getpid()))
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: run it as the agent's user or as root (sudo), or name another folder with --dir", err)
	}
	if err != nil {
		return nil, err
	}
	f := &testFolder{path: path}
	if f.lock, err = lockTestFolder(path); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

func lockTestFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// remove takes the folder away.
func (f *testFolder) remove() error {
	err := os.RemoveAll(f.path)
	return errors.Join(err, f.lock.Close())
}

// removeLeftovers removes the folders of self-tests that are no more: of another
// boot, of a process that is gone, or older than any test gets, since another
// process may have the number by now; and nobody may hold the lock.
func removeLeftovers(dir, boot string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // then there can't be one of ours
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), testFolderPrefix)
		if !ours || !e.IsDir() || strings.Count(rest, "-") != 2 || !isOver(rest, boot) && !isOld(e) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		lock, err := lockTestFolder(path)
		if err != nil {
			continue // it is another's, or still in use
		}
		err = os.RemoveAll(path)
		if err := errors.Join(err, lock.Close()); err != nil {
			return fmt.Errorf("remove what an earlier self-test left: %w", err)
		}
	}
	return nil
}

// isOld reports whether nothing was made in a folder for longer than a test takes.
func isOld(e fs.DirEntry) bool {
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > 2*selftestTime
}

// isOver reads boot and process out of a name, and says whether they are gone.
func isOver(rest, boot string) bool {
	parts := strings.Split(rest, "-")
	if len(parts) != 3 {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid <= 0 {
		return false
	}
	return parts[0] != boot || errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// hasRoom refuses a test that would leave less free space than the agent keeps.
func hasRoom(dir string, headroom, bytes int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("read free space of %s: %w", dir, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("test store in %s: %w: it is mounted read-only; dmesg says whether an error made it so", dir, unix.EROFS)
	}
	size, free := int64(st.Blocks)*int64(st.Bsize), int64(st.Bavail)*int64(st.Bsize)
	if headroom == 0 { // as the store itself chooses
		headroom = min(200_000_000, size/10)
	}
	headroom = max(headroom, 0)
	if free-bytes < headroom {
		return fmt.Errorf("test store in %s: it needs %s and %s are free, of which %s stay free (store.headroom): make room, or try --quick",
			dir, bytesText(bytes), bytesText(free), bytesText(headroom))
	}
	return nil
}
