package main

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// blockDisk gives one that is taken apart after the test.
func blockDisk(t *testing.T) *BlockDisk {
	t.Helper()
	d, err := newBlockDisk(t.TempDir(), 32, "ext4")
	if errors.Is(err, errNoDisk) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// shell runs a command in a process of its own, as all that touches a BlockDisk is.
func shell(t *testing.T, script string) error {
	t.Helper()
	b, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Logf("%s: %v: %s", script, err, b)
	}
	return err
}

func TestBlockDiskLogsWritesBeforeTheirFlush(t *testing.T) {
	d := blockDisk(t)
	base := d.Record()
	if err := shell(t, "printf fieldpost-was-here > "+d.Path+"/note; sync "+d.Path+"/note"); err != nil {
		t.Fatal(err)
	}
	count, err := openBlockCount(d.CountFile())
	if err != nil {
		t.Fatal(err)
	}
	defer count.close()
	acknowledged := count.get() // the sync has returned: all it promised lies before this
	log := d.Log()
	if acknowledged > len(log) || acknowledged == 0 {
		t.Fatalf("the counter says %d, the log has %d", acknowledged, len(log))
	}
	wrote, flushed := -1, -1
	for i, op := range log[:acknowledged] {
		switch {
		case op.data == nil:
			flushed = i
		case bytes.Contains(op.data, []byte("fieldpost-was-here")):
			wrote = i
		}
		copy(base[op.offset:], op.data)
	}
	if wrote < 0 || flushed < wrote {
		t.Errorf("the content is at %d of the log and the last flush at %d, of %d", wrote, flushed, acknowledged)
	}
	if !bytes.Contains(base, []byte("fieldpost-was-here")) {
		t.Error("the log played over its beginning does not give the content")
	}
}

func TestBlockDiskCut(t *testing.T) {
	d := blockDisk(t)
	file := func(name string) string { return filepath.Join(d.Path, name) }
	write := func(name string) {
		t.Helper()
		if err := shell(t, "echo 1 > "+file(name)+"; sync "+file(name)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(name string) bool { return shell(t, "test -e "+file(name)) == nil }
	write("before")
	d.Cut()
	write("after") // answered, and lost
	if err := d.Revive(); err != nil {
		t.Fatal(err)
	}
	if !there("before") || there("after") {
		t.Errorf("after a cut: before is there %v, after is there %v", there("before"), there("after"))
	}
	d.Lie()
	write("lied")
	d.Cut()
	if err := d.Revive(); err != nil {
		t.Fatal(err)
	}
	if !there("before") || there("lied") {
		t.Errorf("after a lie: before is there %v, lied is there %v", there("before"), there("lied"))
	}
}

func TestBlockDiskFails(t *testing.T) {
	d := blockDisk(t)
	write := "dd if=/dev/zero of=" + d.Path + "/file bs=4k count=4 conv=fsync status=none"
	if err := shell(t, write); err != nil {
		t.Fatal(err)
	}
	d.FailFlushes(syscall.EIO)
	if shell(t, write) == nil {
		t.Error("a flush that failed was not told")
	}
	d.Cut()
	if err := d.Revive(); err != nil { // turns the dial back
		t.Fatal(err)
	}
	d.FailWrites(syscall.EIO)
	if shell(t, write) == nil {
		t.Error("a write that failed was not told")
	}
}
