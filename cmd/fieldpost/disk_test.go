package main

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ramDisk mounts a small file system at dir. The disk tests need root, as a
// container of CI has it.
type ramDisk struct {
	t   *testing.T
	dir string
}

func newRAMDisk(t *testing.T, dir, size string) *ramDisk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs on %s: %v: this test needs root (CAP_SYS_ADMIN)", dir, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return &ramDisk{t, dir}
}

func (d *ramDisk) remount(flags uintptr, options string) {
	d.t.Helper()
	if err := unix.Mount("none", d.dir, "tmpfs", unix.MS_REMOUNT|flags, options); err != nil {
		d.t.Fatalf("remount %s: %v", d.dir, err)
	}
}

// fill writes until nothing more fits, and gives the file to remove.
func (d *ramDisk) fill() string {
	d.t.Helper()
	f, err := os.Create(d.dir + "/filler")
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
	return f.Name()
}

// refuses reports whether the agent says no to an event for now, with the words.
func (s *sandbox) refuses(words string) bool {
	_, err := s.publish("x", strings.Repeat("x", 60_000))
	var e *statusError
	return errors.As(err, &e) && e.Status == http.StatusServiceUnavailable && strings.Contains(e.Text, words)
}

// ready reports whether the agent says that it can store.
func (s *sandbox) ready() bool { return s.call(http.MethodGet, "/readyz", nil, nil) == nil }

// TestFullDisk: the disk fills up while the agent runs. It says so, keeps what it
// acknowledged, and goes on by itself when there is room again.
func TestFullDisk(t *testing.T) {
	s := newSandbox(t, "store: {headroom: 0}\n")
	disk := newRAMDisk(t, s.path("data"), "32m")
	p := s.agent()
	id := s.mustPublish("before", 1)
	filler := disk.fill()
	for n := 0; !s.refuses(""); n++ {
		if n > 1000 {
			t.Fatal("it took 60 MB on a disk of 32 MB")
		}
	}
	s.until("it says that it is not ready", func() bool { return !s.ready() })
	s.run("status").want(t, 1, "full")
	s.run("events", "--name", "before", "-o", "json").want(t, 0, id)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.until("it stores again", func() bool { _, err := s.publish("after", 2); return err == nil })
	s.until("it is ready", s.ready)
	s.until("it told the story", func() bool {
		r := s.run("events", "--kind", "system", "--name", "store")
		return strings.Contains(r.out, "full") && strings.Contains(r.out, `"was":"full"`)
	})
	p.signal(sigTerm)
	p.exits(0, stopTime)
	s.run("export", "--dir", s.path("data"), "--file", "all").want(t, 0)
	s.run("verify", "all").want(t, 0, "closed: every event")
}

// TestFullDiskAtStart: there is no room even for an empty store. The agent
// answers, says so, and begins when there is.
func TestFullDiskAtStart(t *testing.T) {
	s := newSandbox(t, "store: {headroom: 0}\n")
	disk := newRAMDisk(t, s.path("data"), "256k")
	disk.fill()
	p := s.agent()
	if s.ready() {
		t.Fatal("it says that it can store on a full disk")
	}
	s.until("it refuses", func() bool { return s.refuses("no space left") })
	if !strings.Contains(p.text(), "no space left") {
		t.Errorf("its log does not say why: %s", p.text())
	}
	disk.remount(0, "size=64m")
	s.until("it stores", func() bool { _, err := s.publish("after", 1); return err == nil })
	p.signal(sigTerm)
	p.exits(0, stopTime)
}

// TestReadOnlyDisk: a card that became read-only. What is stored is read, the
// agent says what is wrong, and goes on when it is writable again.
func TestReadOnlyDisk(t *testing.T) {
	s := newSandbox(t, "store: {headroom: 0}\n")
	disk := newRAMDisk(t, s.path("data"), "64m")
	p := s.agent()
	id := s.mustPublish("before", 1)
	p.signal(sigTerm)
	p.exits(0, stopTime)

	disk.remount(unix.MS_RDONLY, "")
	p = s.agent()
	s.run("events", "--name", "before", "-o", "json").want(t, 0, id)
	s.until("it refuses", func() bool { return s.refuses("read-only") })
	s.until("it says so", func() bool { return strings.Contains(s.run("status").out, "read-only") })
	if s.ready() {
		t.Error("it says that it can store on a read-only disk")
	}
	disk.remount(0, "size=64m")
	s.until("it stores", func() bool { _, err := s.publish("after", 1); return err == nil })
	s.until("it is ready", s.ready)
	s.run("events", "--kind", "message", "-o", "json").want(t, 0, id, `"after"`)
	p.signal(sigTerm)
	p.exits(0, stopTime)
	s.run("export", "--dir", s.path("data"), "--file", "all").want(t, 0)
	s.run("verify", "all").want(t, 0, "closed: every event")
}
