package queue

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A file that memory and disk agree on is left in its place; one that they don't
// is replaced by what the disk has. That a device really fails is for `make prove`.
func TestTrueToDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := trueToDisk(path); err != nil {
		t.Fatalf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("cached"), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := trueToDisk(path); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("a sound file was replaced: %v", err)
	}
	if err := writeAnew(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("cached"), 4096)) {
		t.Errorf("written anew: %d bytes, %v", len(got), err)
	}
	other := filepath.Join(t.TempDir(), "disk")
	want := bytes.Repeat([]byte("on disk."), 3<<20/8)
	if err := os.WriteFile(other, want, 0o600); err != nil {
		t.Fatal(err)
	}
	disk, err := os.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if err := copyFromDisk(path, disk); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// After a commit that the disk failed, the next one first makes sure of the file;
// after one that had no room it need not.
func TestFailedCommitIsDoubted(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		want  bool
	}{{syscall.EIO, true}, {syscall.EROFS, true}, {syscall.ENOSPC, false}} {
		opt := testOptions(t.TempDir())
		s := open(t, opt)
		put(t, s, "events", texts(1, 10)...)
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
		put(t, s, "events", texts(11, 20)...)
		s.opt.Fault = func(step string) error {
			if step == "segment commit" {
				return c.errno
			}
			return nil
		}
		if err := s.Move(); err == nil {
			t.Fatal("the move worked")
		}
		seg := s.rings["events"].newest()
		if seg.doubt != c.want {
			t.Errorf("%v: doubted %v", c.errno, seg.doubt)
		}
		s.opt.Fault = func(string) error { return nil }
		if err := s.Move(); err != nil || seg.doubt {
			t.Errorf("%v: the next move: %v, doubted %v", c.errno, err, seg.doubt)
		}
		if got, holes := all(t, s, "events"); len(got) != 20 || len(holes) > 0 {
			t.Errorf("%v: %d records, holes %v", c.errno, len(got), holes)
		}
	}
}
