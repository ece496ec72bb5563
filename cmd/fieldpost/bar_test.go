package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBar: it is drawn at once, then now and then, and goes without a trace.
func TestBar(t *testing.T) {
	var out strings.Builder
	now := time.Now()
	b := &bar{w: &out, what: "restore", now: func() time.Time { return now }}
	b.told(0, 0)
	b.end()
	if out.Len() > 0 {
		t.Errorf("of nothing: %q", out.String())
	}
	b.told(1_000_000, 4_000_000)
	b.told(1_100_000, 4_000_000)
	now = now.Add(barEvery)
	b.told(4_000_000, 4_000_000)
	b.end()
	want := "\r\x1b[Krestore [#####---------------] 25 %  1.0 MB of 4.0 MB\r\x1b[Krestore [####################] 100 %  4.0 MB of 4.0 MB\r\x1b[K"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
}

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// TestBarOfLongVerbs: backup and restore show one on a terminal, and nowhere else.
func TestBarOfLongVerbs(t *testing.T) {
	s := newSandbox(t, "")
	s.agent()
	s.mustPublish("a", 1)
	for _, args := range [][]string{{"backup", "b"}, {"restore", "b", "--dir", s.path("copy")}} {
		ours, theirs := terminal(t)
		cmd := s.command(args...)
		cmd.Stderr = theirs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		theirs.Close()
		shown, _ := io.ReadAll(ours) // it ends with EIO
		if text := string(shown); !strings.Contains(text, args[0]+" [") || !strings.Contains(text, " %") || !strings.HasSuffix(text, "\r\x1b[K") {
			t.Errorf("%v: %q", args, text)
		}
	}
	if r := s.run("backup", "b").want(t, 0); r.err != "" {
		t.Errorf("without a terminal: %q", r.err)
	}
}
