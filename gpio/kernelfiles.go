package gpio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long a read or a write of a kernel's file may take, and how long one waits for
// those before it. A DS18B20 takes 750 ms, and the kernel tries it up to five times
// (drivers/w1/slaves/w1_therm.c); a bus may have dozens of them, and each waits for all.
const (
	fileWithin = 10 * time.Second
	fileWait   = time.Minute
)

// Reads that fail this once are tried so often.
const fileTries = 3

// What a read gives when the part did not answer this once.
var (
	errEmptyFile = errors.New("the kernel gives nothing")
	errChecksum  = errors.New("the checksum is wrong")
)

// Files are the kernel's small files, as sysfs has them. A nil one is the system's own.
type Files struct {
	Read  func(file string) (string, error) // without the white space around it
	Write func(file, text string) error
}

func (f Files) orKernel() Files {
	if f.Read == nil {
		f.Read = readText
	}
	if f.Write == nil {
		f.Write = writeText
	}
	return f
}

// KernelFiles are the kernel's files for one device, behind one bus: what is read and
// written on the same bus takes turns. A call that hangs in the kernel can't be taken
// back: it keeps the bus, and nobody waits for it for longer than 10 s.
type KernelFiles struct {
	files  Files
	guard  *busGuard
	device string
}

// kernelFiles gives a device the files behind a bus.
func (b *buses) kernelFiles(bus, device string) *KernelFiles {
	return &KernelFiles{files: b.files, guard: b.guardOf(bus, fileWait, fileWithin), device: device}
}

// Read reads a file, without the white space around it. It blocks until ctx is done,
// for a minute at most while others read, and then for 10 s. The error wraps
// edge.ErrAbsent where the file or the part is gone, and ErrBusHeld.
func (k *KernelFiles) Read(ctx context.Context, file string) (string, error) {
	if err := k.guard.hung(); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	text := make(chan string, 1) // a read that hangs keeps it
	err := k.guard.do(ctx, k.device, func() error {
		s, err := k.files.Read(file)
		text <- s
		return err
	})
	if err != nil {
		return "", fileError("read "+file, err)
	}
	return <-text, nil
}

// Write writes text into a file that is there. It blocks as Read does, and its errors
// are those of Read.
func (k *KernelFiles) Write(ctx context.Context, file, text string) error {
	if err := k.guard.hung(); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := k.guard.do(ctx, k.device, func() error { return k.files.Write(file, text) }); err != nil {
		return fileError(fmt.Sprintf("write %q into %s", text, file), err)
	}
	return nil
}

// Number reads a file with one finite number in it. It tries again, at once and
// thrice in all, where the part did not answer this once.
func (k *KernelFiles) Number(ctx context.Context, file string) (float64, error) {
	return tries(ctx, 0, func() (float64, error) { return k.number(ctx, file) })
}

func (k *KernelFiles) number(ctx context.Context, file string) (float64, error) {
	text, err := k.Read(ctx, file)
	if err != nil {
		return 0, err
	}
	return numberIn(file, text)
}

// Take gives the bus to this device alone, until Release. The error names the device
// that has it.
func (k *KernelFiles) Take() error {
	k.guard.mu.Lock()
	defer k.guard.mu.Unlock()
	if other := k.guard.owner; other != "" && other != k.device {
		return fmt.Errorf("%s is used by device %s", k.guard.name, other)
	}
	k.guard.owner = k.device
	return nil
}

// Release takes back what Take gave.
func (k *KernelFiles) Release() {
	k.guard.mu.Lock()
	defer k.guard.mu.Unlock()
	if k.guard.owner == k.device {
		k.guard.owner = ""
	}
}

// fileError says what failed. What is not there any more is absent.
func fileError(what string, err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return absentError(what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// numberIn is the one finite number that a file's text is.
func numberIn(file, text string) (float64, error) {
	if text == "" {
		return 0, fmt.Errorf("read %s: %w", file, errEmptyFile)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("read %s: it has no number: %.40q", file, text)
	}
	return v, nil
}

// tries reads until it works, fileTries times at most and so far apart. It goes on
// only after what passes by itself.
func tries[T any](ctx context.Context, apart time.Duration, read func() (T, error)) (v T, err error) {
	for n := range fileTries {
		if n > 0 && apart > 0 {
			pause(ctx, apart)
		}
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		if v, err = read(); err == nil || !passing(err) {
			return v, err
		}
	}
	return v, fmt.Errorf("%w, %d times", err, fileTries)
}

// passing reports whether an error may be gone at the next try: noise on a wire, or a
// part that was busy.
func passing(err error) bool {
	for _, e := range []error{errEmptyFile, errChecksum, unix.EIO, unix.ETIMEDOUT, unix.EAGAIN, unix.EREMOTEIO, unix.EINTR, unix.EPROTO, unix.EILSEQ} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// home is where a device of a class really is, below the tree: without the number
// that the class gave it, which is another after the next boot.
func (t tree) home(dir string) string {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		real = dir
	}
	root, err := filepath.EvalSymlinks(string(t))
	if err != nil {
		root = string(t)
	}
	below, err := filepath.Rel(root, filepath.Dir(real))
	if err != nil {
		below = filepath.Dir(real)
	}
	return "/" + strings.TrimSuffix(below, "/hwmon")
}

// pick gives the one of the folders that want names: by the text of one of its name
// files, else by a part of its path. The error wraps edge.ErrAbsent where there is
// none, and names all where there are several.
func (t tree) pick(what, want string, dirs []string, nameFiles ...string) (string, error) {
	var byName, byPath, all []string
	for _, dir := range dirs {
		for _, file := range nameFiles {
			name := textOf(filepath.Join(dir, file))
			if name == want {
				byName = append(byName, dir)
				break
			}
			if name != "" {
				all = append(all, name)
			}
		}
		if strings.Contains(t.home(dir), want) {
			byPath = append(byPath, dir)
		}
	}
	found := byName
	if len(found) == 0 {
		found = byPath
	}
	switch len(found) {
	case 0:
		what = fmt.Sprintf("find %s %q", what, want)
		if len(all) > 0 {
			what += ", there is " + strings.Join(all, ", ")
		}
		return "", absentError(what, nil)
	case 1:
		return found[0], nil
	}
	for i, dir := range found {
		found[i] = t.home(dir)
	}
	return "", fmt.Errorf("find %s %q: there are several, name one by a part of its path: %s", what, want, strings.Join(found, ", "))
}
