package main

import (
	"os"
	"testing"
)

// TestThin is the harness on a tenth of its history, in a tenth of its ring.
func TestThin(t *testing.T) {
	dir := t.TempDir()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() { // the proof is of what is stored, not of the disk
		if dir, err = os.MkdirTemp("/dev/shm", "fieldpost-thin-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	days := 6
	if testing.Short() {
		days = 2
	}
	results, err := runThin(t.Context(), &proof{dir: dir, seed: 7, out: t.Output()}, days)
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		if err := results[i].err(); err != nil {
			t.Error(err)
		}
	}
}
