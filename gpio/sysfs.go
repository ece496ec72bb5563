package gpio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is where proc and sys are: "/", or a test's folder.
type tree string

func (t tree) path(name string) string { return filepath.Join(string(t), name) }

// glob lists files below the tree in a stable order; none where nothing matches.
func (t tree) glob(pattern string) []string {
	files, _ := filepath.Glob(t.path(pattern)) // it fails on a bad pattern only
	return files
}

// readText reads a small file of the kernel's, without the white space around it. A
// read of sysfs may take as long as the part behind it. Package os does not do: it has
// such a file in epoll, and where a driver gives EAGAIN it waits for ever.
func readText(file string) (string, error) {
	fd, err := openKernel(file, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	b := make([]byte, 16<<10)
	for n := 0; ; {
		m, err := uninterrupted(func() (int, error) { return unix.Read(fd, b[n:]) })
		if err != nil {
			return "", &os.PathError{Op: "read", Path: file, Err: err}
		}
		if n += m; m == 0 || n == len(b) {
			return strings.TrimSpace(string(b[:n])), nil
		}
	}
}

// writeText writes a file of the kernel's in one write; it never makes one. It waits as
// readText does.
func writeText(file, text string) error {
	fd, err := openKernel(file, unix.O_WRONLY)
	if err != nil {
		return err
	}
	n, err := uninterrupted(func() (int, error) { return unix.Write(fd, []byte(text)) })
	if err == nil && n < len(text) {
		err = io.ErrShortWrite
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return &os.PathError{Op: "write", Path: file, Err: err}
	}
	return nil
}

// openKernel opens a file of the kernel's. What would have to wait for somebody else, as
// a pipe has, gives EAGAIN.
func openKernel(file string, how int) (int, error) {
	fd, err := uninterrupted(func() (int, error) { return unix.Open(file, how|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: file, Err: err}
	}
	return fd, nil
}

// uninterrupted makes a system call again while signals interrupt it: those of Go's own
// scheduler do.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// textOf is readText, "" where the file can't be read.
func textOf(file string) string {
	s, _ := readText(file)
	return s
}

// readNumber reads a file with one integer in it.
func readNumber(file string) (int64, error) {
	s, err := readText(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has no number: %.40q", file, s)
	}
	return n, nil
}
