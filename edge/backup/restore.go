package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"fieldpost/queue"
)

// Options say where a backup becomes a store.
type Options struct {
	Dir string // the store's folder: made, or replaced where Replace is set

	// Replace moves what is in Dir aside. Without it a folder that has a store, or
	// anything else in it, is ErrNotEmpty.
	Replace bool

	Progress Progress // may be nil

	// Step, where it is set, is called before each step with its name: a test stops
	// there as a power cut would.
	Step func(name string)

	exchange func(a, b string) error // swaps two names; nil: as the kernel does
}

// ErrNotEmpty: there is something in the folder that a restore would replace.
var ErrNotEmpty = errors.New("the folder is not empty")

// Restored says what a restore did.
type Restored struct {
	Manifest *Manifest
	Aside    string // where what was in Dir is now; "" where there was nothing
	Configs  string // the folder with the config files of the backup; "" where it has none
}

// The names beside and in the store's folder.
const (
	newSuffix   = ".new"
	asideSuffix = ".before-restore"
	// unfinished marks a folder that a restore was still filling.
	unfinished = ".restore-unfinished"
	// configsName is where the config files go: those in place are not touched.
	configsName = "config.restored"
)

// Restore makes a store of a backup, with an id of its own and a new epoch from its
// first start on. It is unpacked beside the folder, proven against its sums, made
// durable, and then takes the folder's place in one rename, so that at any instant
// the old or the new store is there, whole. On a file system that can't exchange two
// names there is an instant with neither in its place, and both beside it. It blocks
// on r and the disk.
// queue.ErrLocked: an agent has the store open.
func Restore(r io.Reader, opt Options) (*Restored, error) {
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", opt.Dir, err)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil { // else look says what is wrong with it
		dir = real
	}
	j := &job{dir: dir, fresh: dir + newSuffix, opt: opt}
	if opt.Step == nil {
		j.opt.Step = func(string) {}
	}
	if opt.exchange == nil {
		j.opt.exchange = func(a, b string) error {
			return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
		}
	}
	defer j.unlock()
	out, err := j.run(r)
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", opt.Dir, err)
	}
	return out, nil
}

// job is one restore.
type job struct {
	opt   Options
	dir   string // the store's folder
	fresh string // where it is unpacked
	old   fs.FileInfo
	locks []func()
}

func (j *job) unlock() {
	for _, f := range j.locks {
		f()
	}
}

func (j *job) run(r io.Reader) (*Restored, error) {
	if err := j.look(); err != nil {
		return nil, err
	}
	j.opt.Step("clear")
	if err := j.clear(); err != nil {
		return nil, err
	}
	m, err := j.unpack(r)
	if err == nil {
		err = j.finish()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(j.fresh)) // a power cut leaves it, marked
	}
	out := &Restored{Manifest: m}
	if out.Aside, err = j.swap(); err != nil {
		return nil, fmt.Errorf("put it in its place: %w", err)
	}
	if len(m.Configs()) > 0 {
		out.Configs = filepath.Join(j.dir, configsName)
	}
	return out, nil
}

// look finds out what is in the folder, and takes its lock.
func (j *job) look() (err error) {
	j.old, err = os.Lstat(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		j.old = nil
		return nil
	}
	if err != nil {
		return err
	}
	if !j.old.IsDir() {
		return errors.New("it is no folder")
	}
	if mounted(j.dir) {
		return errors.New("a file system is mounted there, and can't be replaced as a whole: restore to a folder in it, and point data_dir there")
	}
	unlock, err := queue.Lock(j.dir)
	if err != nil {
		return err
	}
	j.locks = append(j.locks, unlock)
	empty, err := isEmpty(j.dir)
	if err == nil && !empty && !j.opt.Replace {
		err = ErrNotEmpty
	}
	return err
}

// isEmpty reports whether a folder has nothing in it but the lock.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			return false, nil
		}
	}
	return true, nil
}

// mounted reports whether a folder is on another file system than the one above it.
func mounted(dir string) bool {
	var own, above unix.Stat_t
	return unix.Lstat(dir, &own) == nil && unix.Lstat(filepath.Dir(dir), &above) == nil && own.Dev != above.Dev
}

// clear takes what an interrupted restore left out of the way: what it had not
// finished is removed, and an old store that it did not get to move aside is moved.
func (j *job) clear() error {
	if _, err := os.Lstat(j.fresh); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(j.fresh, unfinished)); err == nil {
		unlock, err := lockMark(j.fresh)
		if err != nil {
			return err
		}
		defer unlock()
		return os.RemoveAll(j.fresh)
	}
	_, err := j.aside(j.fresh)
	return err
}

// lockMark marks a folder as unfinished, and keeps other restores from it until
// unlock is called or the process ends.
func lockMark(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, unfinished), os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another restore fills %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// unpack writes the backup into the fresh folder and proves it.
func (j *job) unpack(r io.Reader) (*Manifest, error) {
	j.opt.Step("make folder")
	if err := os.Mkdir(j.fresh, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockMark(j.fresh)
	if err != nil {
		return nil, err
	}
	j.locks = append(j.locks, unlock)
	m, err := read(r, j.opt.Progress, j.hasRoom, func(f Member, from io.Reader) error {
		j.opt.Step("unpack " + f.Name)
		return writeMember(filepath.Join(j.fresh, filepath.FromSlash(placeOf(f.Name))), from)
	})
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	return m, nil
}

// placeOf is where a member goes, below the store's folder.
func placeOf(name string) string {
	if rest, ok := strings.CutPrefix(name, storeDir); ok {
		return rest
	}
	if rest, ok := strings.CutPrefix(name, configDir); ok {
		return configsName + "/" + rest
	}
	return name
}

// hasRoom refuses a backup that the disk has no room for.
func (j *job) hasRoom(m *Manifest) error {
	var st unix.Statfs_t
	if err := unix.Statfs(j.fresh, &st); err != nil {
		return fmt.Errorf("read free space: %w", err)
	}
	free := int64(st.Bavail) * int64(st.Bsize)
	if need := m.Bytes(); need > free-int64(len(m.Members))*int64(st.Bsize) { // a block of each is not full
		return fmt.Errorf("it takes %d bytes, and %d are free: %w", need, free, unix.ENOSPC)
	}
	return nil
}

// writeMember makes one file, durable. Nobody but us writes below the folder.
func writeMember(path string, from io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// finish makes what was unpacked a store of its own, durable, and the old one's
// owner its owner.
func (j *job) finish() error {
	j.opt.Step("renew")
	if err := os.MkdirAll(filepath.Join(j.fresh, "rings"), 0o700); err != nil {
		return err
	}
	if err := queue.Renew(j.fresh); err != nil {
		return err
	}
	unlock, err := queue.Lock(j.fresh) // an agent that starts now waits for us
	if err != nil {
		return err
	}
	j.locks = append(j.locks, unlock)
	j.opt.Step("sync")
	if j.old != nil {
		if err := errors.Join(os.Chmod(j.fresh, j.old.Mode().Perm()), OwnAs(j.fresh, j.old)); err != nil {
			return err
		}
	}
	if err := syncFolders(j.fresh); err != nil {
		return err
	}
	j.opt.Step("unmark")
	if err := os.Remove(filepath.Join(j.fresh, unfinished)); err != nil {
		return err
	}
	return queue.SyncFolder(j.fresh)
}

// swap puts the fresh folder in the place of the old one, and that aside.
func (j *job) swap() (aside string, err error) {
	above := filepath.Dir(j.dir)
	j.opt.Step("swap")
	if j.old == nil {
		if err := unix.Renameat2(unix.AT_FDCWD, j.fresh, unix.AT_FDCWD, j.dir, unix.RENAME_NOREPLACE); err != nil {
			return "", errors.Join(err, os.RemoveAll(j.fresh))
		}
		return "", queue.SyncFolder(above)
	}
	switch err = j.opt.exchange(j.fresh, j.dir); {
	case err == nil:
		if err := queue.SyncFolder(above); err != nil {
			return "", err
		}
		j.opt.Step("aside")
		return j.putAside(j.fresh)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EXDEV): // a file system that can't
		if aside, err = j.aside(j.dir); err != nil {
			return "", err
		}
		j.opt.Step("place")
		if err := os.Rename(j.fresh, j.dir); err != nil {
			return "", fmt.Errorf("%w; what was there is %s, and what was restored is %s", err, aside, j.fresh)
		}
		return aside, queue.SyncFolder(above)
	}
	return "", errors.Join(err, os.RemoveAll(j.fresh))
}

// putAside keeps the old store; of an empty folder there is nothing to keep.
func (j *job) putAside(old string) (string, error) {
	if empty, err := isEmpty(old); err == nil && empty {
		return "", os.RemoveAll(old)
	}
	return j.aside(old)
}

// aside renames a folder to a name that is free, and gives it.
func (j *job) aside(old string) (string, error) {
	for n := 1; n <= 1000; n++ {
		to := j.dir + asideSuffix
		if n > 1 {
			to = fmt.Sprintf("%s-%d", to, n)
		}
		err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("move %s aside: %w", old, err)
		}
		return to, queue.SyncFolder(filepath.Dir(j.dir))
	}
	return "", fmt.Errorf("move %s aside: there are 1000 of %s%s", old, j.dir, asideSuffix)
}

// OwnAs gives a folder and all in it to the owner of another, where the process may
// do so: root puts things in place for the agent's user. It follows no link out of the
// folder, which may be that user's.
func OwnAs(dir string, like fs.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(path, int(st.Uid), int(st.Gid))
	})
}

// syncFolders makes the names in a folder durable, and in all below it.
func syncFolders(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return queue.SyncFolder(path)
	})
}
