package gpio

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// returns fails a test whose call does not return in five seconds.
func returns(t *testing.T, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

// TestSysfsDoesNotWaitForWhatIsNotThere: a file that can be polled and gives EAGAIN, as
// some of sysfs do, is an error at once.
func TestSysfsDoesNotWaitForWhatIsNotThere(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(pipe, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) // both ends are open
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var at *os.PathError
	err = returns(t, "a read", func() error { _, err := readText(pipe); return err })
	if !errors.Is(err, unix.EAGAIN) || !passing(err) || !errors.As(err, &at) || at.Path != pipe {
		t.Errorf("read: %v", err)
	}
	for err = nil; err == nil; {
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	if err = returns(t, "a write", func() error { return writeText(pipe, "1") }); !errors.Is(err, unix.EAGAIN) || !errors.As(err, &at) {
		t.Errorf("write: %v", err)
	}
}

func TestSysfsFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(" 21\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := readText(file); s != "21" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if err := writeText(file, "99"); err != nil {
		t.Error(err)
	}
	if n, err := readNumber(file); n != 991 || err != nil {
		t.Errorf("it has %d, %v", n, err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 17<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := readText(file); len(s) != 16<<10 || err != nil {
		t.Errorf("of a large file there are %d, %v", len(s), err)
	}
	none := file + ".none"
	if _, err := readText(none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if err := writeText(none, "1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("write: %v", err)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a write made a file")
	}
}
