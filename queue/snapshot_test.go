package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// copyOut writes a snapshot into a new folder, and closes it.
func copyOut(t *testing.T, snap *Snapshot) string {
	t.Helper()
	dir := t.TempDir()
	defer snap.Close()
	for _, f := range snap.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.WriteTo(out)
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err != nil || n != f.Size {
			t.Fatalf("%s: %d bytes of %d: %v", f.Name, n, f.Size, err)
		}
	}
	return dir
}

func snapshotOf(t *testing.T, s *Store) *Snapshot {
	t.Helper()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snap.Close)
	return snap
}

// TestSnapshotUnderWrites: while a writer goes on, and segments are evicted, each
// snapshot has all that was acknowledged before it was asked for, and is whole.
func TestSnapshotUnderWrites(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.Rings = map[string]Limits{"short": {Keep: 150}}
	opt.MoveEvery = time.Millisecond
	s := open(t, opt)
	large := string(noise(1, 6000)) // so that a newest segment is not small
	acked := make(chan int)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 1; ; i++ {
			_, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte(fmt.Sprintf("record %d", i))}, {Ring: "short", Data: []byte(fmt.Sprintf("record %d", i))}, {Ring: "large", Data: []byte(fmt.Sprint(i) + large)}},
				Rows: []Row{{"keys", "newest", []byte(fmt.Sprint(i))}}})
			if err != nil {
				done <- err
				return
			}
			select {
			case acked <- i:
			case <-stop:
				done <- nil
				return
			}
		}
	}()
	for wait := 100; wait > 0; wait-- {
		<-acked
	}
	for round := range 5 {
		last := <-acked
		taken := make(chan *Snapshot, 1)
		go func() {
			snap, err := s.Snapshot()
			if err != nil {
				t.Error(err)
			}
			taken <- snap
		}()
		var snap *Snapshot
		for snap == nil {
			select {
			case <-acked:
			case snap = <-taken:
				if snap == nil {
					t.FailNow()
				}
			}
		}
		for range 300 { // what comes after, and evicts what it has
			<-acked
		}
		checkCopy(t, opt, copyOut(t, snap), last, snap, large)
		t.Logf("round %d: at least %d, and it has n %d in %d files", round, last, snap.LastN, len(snap.Files))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, holes := all(t, s, "large"); len(holes) > 0 || len(got) == 0 {
		t.Fatalf("the store itself: %d records, holes %v", len(got), holes)
	}
}

// checkCopy opens a copy and proves that it has at least the records up to last.
func checkCopy(t *testing.T, opt Options, dir string, last int, snap *Snapshot, large string) {
	t.Helper()
	opt.Dir = dir
	c := open(t, opt)
	defer c.Close()
	got, holes := all(t, c, "events")
	if len(got) < last || len(holes) > 0 || !slices.Equal(got, texts(1, len(got))) {
		t.Fatalf("events: %d records of at least %d, holes %v", len(got), last, holes)
	}
	n := len(got)
	if got, holes = all(t, c, "large"); len(got) != n || len(holes) > 0 || got[n-1] != fmt.Sprint(n)+large {
		t.Fatalf("large: %d records of %d, holes %v", len(got), n, holes)
	}
	if got, holes = all(t, c, "short"); !slices.Equal(got, texts(max(1, n-149), n)) || n > 150 && (len(holes) != 1 || holes[0].Cause != Evicted) {
		t.Fatalf("short: %d records, holes %v", len(got), holes)
	}
	if newest, _ := c.Get("keys", "newest"); string(newest) != fmt.Sprint(n) {
		t.Fatalf("the newest row is %s, the newest record %d", newest, n)
	}
	if snap.LastN != uint64(3*n) || snap.ID != c.ID() || snap.Epoch != c.Epoch() || c.NextN() != snap.LastN+1 {
		t.Fatalf("the snapshot says n %d, the copy goes on at %d", snap.LastN, c.NextN())
	}
}

// TestSnapshotEndsLargeSegmentsAlone: small newest segments go on being filled, or
// each backup would leave a file more.
func TestSnapshotEndsLargeSegmentsAlone(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	for i := range 5 {
		put(t, s, "events", fmt.Sprint(i))
		snapshotOf(t, s).Close()
	}
	if files := segmentFiles(t, opt.Dir); len(files) != 1 {
		t.Fatalf("%d segments: %v", len(files), files)
	}
	large := string(noise(2, 40_000))
	for range 10 {
		put(t, s, "events", large)
	}
	snap := snapshotOf(t, s)
	before := bytes.Clone(readFile(t, segmentFiles(t, opt.Dir)[0]))
	put(t, s, "events", "behind it")
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	files := segmentFiles(t, opt.Dir)
	if len(files) != 2 || !bytes.Equal(readFile(t, files[0]), before) {
		t.Fatalf("the segment that a snapshot has was written to: %v", files)
	}
	snap.Close()
	if got, holes := all(t, s, "events"); len(got) != 16 || len(holes) > 0 {
		t.Fatalf("%d records, holes %v", len(got), holes)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// largeState makes state.db one that is not held in RAM.
func largeState(t *testing.T, s *Store) {
	t.Helper()
	for i := range uint64(stateHeld/10_000 + 20) {
		if _, err := s.Append(Batch{Rows: []Row{{"keys", fmt.Sprint("large", i), noise(i, 10_000)}}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotThatNobodyTakes: state.db fails on a full disk, and is opened anew while
// a snapshot of it waits to be copied: rows are read all the time.
func TestSnapshotThatNobodyTakes(t *testing.T) {
	dir := mountSmall(t, "4m")
	opt := testOptions(filepath.Join(dir, "store"))
	opt.JournalBytes = 256 << 10
	s := open(t, opt)
	put(t, s, "events", texts(1, 20)...)
	snap := snapshotOf(t, s)
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 1; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	for i := uint64(0); err == nil; i++ {
		_, err = s.Append(Batch{Rows: []Row{{"keys", fmt.Sprint(i), noise(i, 900)}}})
	}
	if err = s.Move(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "state.db") {
		t.Fatalf("a full disk: %v", err)
	}
	if err := s.Each("keys", "", func(string, []byte) bool { return true }); err != nil {
		t.Fatalf("rows can't be read: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := s.Move(); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	copyOut(t, snap)
}

// TestSnapshotOfAFailingDisk: what can't be moved is in no snapshot, so there is
// none; and what was copied of a state.db that was opened anew does not count.
func TestSnapshotOfAFailingDisk(t *testing.T) {
	opt := testOptions(t.TempDir())
	var fail atomic.Bool
	opt.Fault = func(step string) error {
		if step == "segment commit" && fail.Load() {
			return errKilled
		}
		return nil
	}
	s := open(t, opt)
	largeState(t, s)
	put(t, s, "events", "one")
	fail.Store(true)
	if _, err := s.Snapshot(); !errors.Is(err, errKilled) {
		t.Fatalf("a snapshot without what was acknowledged: %v", err)
	}
	fail.Store(false)
	snap := snapshotOf(t, s)
	if snap.Files[0].content != nil {
		t.Fatal("state.db is not large")
	}
	s.state.mu.Lock()
	s.state.doubt = true
	s.state.mu.Unlock()
	if _, err := snap.Files[0].WriteTo(io.Discard); err == nil {
		t.Fatal("a state.db that is in doubt was copied")
	}
}

// TestRenewedStore: a copy that was renewed has another id, begins a new epoch
// behind its last record, and its cursors and mailboxes stay where they were.
func TestRenewedStore(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", texts(1, 20)...)
	s.Cursor("up").Ack("events", Range{1, 15})
	if _, err := s.Append(Batch{Rows: []Row{MailboxRow(Mailbox{Name: "box", N: 7})}}); err != nil {
		t.Fatal(err)
	}
	dir := copyOut(t, snapshotOf(t, s))
	put(t, s, "events", "what the copy does not have")
	if err := Renew(opt.Dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("a store that is open was renewed: %v", err)
	}
	if err := Renew(dir); err != nil {
		t.Fatal(err)
	}
	opt.Dir = dir
	c := open(t, opt)
	id, epoch := c.ID(), c.Epoch()
	epochs := c.Epochs()
	now := epochs[len(epochs)-1]
	if id == "" || id == s.ID() || epoch == s.Epoch() || now.Why != "restore" || now.First != 21 || epochs[len(epochs)-2].Last != 20 {
		t.Fatalf("id %s was %s, epochs %+v", id, s.ID(), epochs)
	}
	box, _ := c.Mailbox("box")
	if c.Cursor("up").Next("events") != 16 || box.N != 7 {
		t.Fatalf("the cursor goes on at %d, the mailbox at %d", c.Cursor("up").Next("events"), box.N)
	}
	if r := put(t, c, "events", "its own"); r.Epoch != epoch || r.Seqs[0] != 21 {
		t.Fatalf("%+v", r)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, opt)
	if c.ID() != id || c.Epoch() != epoch {
		t.Fatal("the next start renewed it again")
	}
}

// TestRenewCutsWhatDidNotComeAlong: marks above the highest survivor go down.
func TestRenewCutsWhatDidNotComeAlong(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", texts(1, 5)...)
	s.Cursor("up").Ack("events", Range{1, 30})
	if _, err := s.Append(Batch{Rows: []Row{MailboxRow(Mailbox{Name: "box", N: 30})}}); err != nil {
		t.Fatal(err)
	}
	dir := copyOut(t, snapshotOf(t, s))
	if err := Renew(dir); err != nil {
		t.Fatal(err)
	}
	opt.Dir = dir
	c := open(t, opt)
	box, _ := c.Mailbox("box")
	if c.Cursor("up").Next("events") != 6 || box.N != 5 {
		t.Fatalf("the cursor goes on at %d, the mailbox at %d", c.Cursor("up").Next("events"), box.N)
	}
}

// TestRenewRefuses: a folder without a store, and one whose state.db is damaged.
func TestRenewRefuses(t *testing.T) {
	if err := Renew(t.TempDir()); err == nil {
		t.Fatal("an empty folder was renewed")
	}
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", "one")
	dir := copyOut(t, snapshotOf(t, s))
	flip(t, filepath.Join(dir, "state.db"), 20)
	flip(t, filepath.Join(dir, "state.db"), blockSize+20)
	if err := Renew(dir); !errors.Is(err, errDamaged) {
		t.Fatalf("a damaged store was renewed: %v", err)
	}
}

// TestSnapshotDoesNotHoldTheStore: a reader that takes nothing of a copy keeps
// neither flushes nor moves nor reads from going on.
func TestSnapshotDoesNotHoldTheStore(t *testing.T) {
	s := open(t, testOptions(t.TempDir()))
	put(t, s, "events", texts(1, 200)...)
	largeState(t, s)
	snap := snapshotOf(t, s)
	r, w := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := snap.Files[0].WriteTo(w)
		copied <- err
	}()
	for range 3 {
		put(t, s, "events", "goes on")
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := all(t, s, "events"); len(got) != 203 {
		t.Fatalf("%d records", len(got))
	}
	go io.Copy(io.Discard, r)
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
}
