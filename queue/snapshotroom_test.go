package queue

import (
	"errors"
	"io"
	"path/filepath"
	"testing"
)

// TestSnapshotCostsNoHistory: what a snapshot keeps of evicted segments on the disk
// makes the headroom take no more of the store; once it takes a quarter of the
// headroom the snapshot ends instead, and says why.
func TestSnapshotCostsNoHistory(t *testing.T) {
	dir := mountSmall(t, "20m")
	opt := testOptions(filepath.Join(dir, "store"))
	opt.Headroom, opt.JournalBytes, opt.SegmentBytes, opt.SegmentEvents = 8<<20, 256<<10, 1<<20, 1<<20
	s := open(t, opt)
	next := uint64(0)
	write := func(records int) {
		t.Helper()
		for range records {
			if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: noise(next, 4000)}}}); err != nil {
				t.Fatal(err)
			}
			if next++; next%100 == 0 {
				if err := s.Move(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	readable := func() int {
		t.Helper()
		got, _ := all(t, s, "events")
		return len(got)
	}
	write(5000)
	usual := readable() - 300 // a segment goes as a whole
	snap := snapshotOf(t, s)
	write(300)
	if n := readable(); n < usual {
		t.Fatalf("%d records are left of %d, with a snapshot of them open", n, usual)
	}
	if _, err := snap.Files[0].WriteTo(io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := snap.Files[2].WriteTo(io.Discard); err != nil { // evicted meanwhile, or not
		t.Fatal(err)
	}
	for range 10 {
		write(300)
		if n := readable(); n < usual {
			t.Fatalf("%d records are left of %d, with a snapshot of them open", n, usual)
		}
		if h := s.Health(); h.Free < opt.Headroom/2 {
			t.Fatalf("%d bytes are free of a headroom of %d", h.Free, opt.Headroom)
		}
	}
	if _, err := snap.Files[1].WriteTo(io.Discard); !errors.Is(err, errShort) {
		t.Fatalf("a snapshot that was to end: %v", err)
	}
	if h := s.Health(); h.Free < opt.Headroom*7/8 {
		t.Fatalf("%d bytes are free of a headroom of %d: an ended snapshot holds files", h.Free, opt.Headroom)
	}
	snapshotOf(t, s).Close()
}

// TestSnapshotLetsGoOfWhatItCopied: a file that was copied is on the disk for nobody.
func TestSnapshotLetsGoOfWhatItCopied(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.SegmentEvents = 10
	s := open(t, opt)
	put(t, s, "events", texts(1, 35)...)
	snap := snapshotOf(t, s)
	for _, f := range snap.Files {
		if _, err := f.WriteTo(io.Discard); err != nil {
			t.Fatal(err)
		}
		if f.file == nil {
			continue
		}
		if _, err := f.file.Stat(); err == nil {
			t.Fatalf("%s is still open", f.Name)
		}
	}
}
