package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestPosixContent(t *testing.T) {
	var c posixContent
	var want []byte
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		before := c.clone()
		was := make([]byte, before.size)
		before.get(was, 0)
		if rng.IntN(4) == 0 {
			size := rng.IntN(5 * diskPage)
			c.resize(int64(size))
			want = append(want, make([]byte, max(0, size-len(want)))...)[:size]
		} else {
			data := bytes.Repeat([]byte{byte(rng.IntN(255) + 1)}, 1+rng.IntN(2*diskPage))
			off := rng.IntN(4 * diskPage)
			c.put(data, int64(off))
			want = append(want, make([]byte, max(0, off+len(data)-len(want)))...)
			copy(want[off:], data)
		}
		got := make([]byte, len(want)+9)
		if n := c.get(got, 0); n != len(want) || !bytes.Equal(got[:n], want) {
			t.Fatalf("%d bytes, want %d, or not the same", n, len(want))
		}
		again := make([]byte, before.size)
		before.get(again, 0)
		if !bytes.Equal(was, again) {
			t.Fatal("a state that was kept has changed")
		}
	}
}

func TestPosixDiskKeepsWhatWasSynced(t *testing.T) {
	d, err := newPosixDisk(t.TempDir(), rand.New(rand.NewPCG(1, 2)))
	if errors.Is(err, errNoDisk) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.hold(1 << 20)
	script := `cd ` + d.Path + `; mkdir in; sync .
		echo 1 > in/whole; sync in/whole; sync in; echo 2 > in/nameless; sync in/nameless
		echo 3 > in/empty; sync in; echo 4 > in/whole; mv in/whole in/moved`
	b, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	states := d.states()
	dir := t.TempDir()
	if err := states[len(states)-1].write(dir, nil); err != nil {
		t.Fatal(err)
	}
	// The second sync of the folder named them all; of empty no content was synced,
	// and of whole the first one was; its new name was not.
	for name, want := range map[string]string{"whole": "1\n", "nameless": "2\n", "empty": ""} {
		if got, err := os.ReadFile(filepath.Join(dir, "in", name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "in", "moved")); err == nil {
		t.Error("moved is there, whose folder was not synced since")
	}
}
