package queue

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testOptions are small enough that a test sees segments roll and halves turn.
func testOptions(dir string) Options {
	return Options{Dir: dir, Boot: "boot-1", Serial: "board-1", Headroom: -1, MoveEvery: time.Hour,
		JournalBytes: 64 << 10, SegmentEvents: 100, SegmentBytes: 1 << 20, MoveRecords: 50}
}

func open(t *testing.T, opt Options) *Store {
	t.Helper()
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Store, ring string, texts ...string) Receipt {
	t.Helper()
	var b Batch
	for _, text := range texts {
		b.Entries = append(b.Entries, Entry{Ring: ring, Stamp: Stamp{s.Boot(), int64(s.NextN())}, Data: []byte(text)})
	}
	r, err := s.Append(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// all reads a ring to its end.
func all(t *testing.T, s *Store, ring string) (texts []string, holes []Hole) {
	t.Helper()
	for after := uint64(0); ; {
		page, err := s.Read(ring, after, Max{Records: 7})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			if it.Hole != nil {
				holes = append(holes, *it.Hole)
				continue
			}
			if it.Seq <= after {
				t.Fatalf("seq %d again after %d", it.Seq, after)
			}
			texts = append(texts, string(it.Data))
		}
		if page.End {
			return texts, holes
		}
		if page.Next <= after {
			t.Fatalf("no progress after %d", after)
		}
		after = page.Next
	}
}

func texts(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("record %d", i))
	}
	return out
}

func TestAppendIsReadBack(t *testing.T) {
	s := open(t, testOptions(t.TempDir()))
	if r := put(t, s, "events", "a", "b"); r.First != 1 || r.Seqs[0] != 1 || r.Seqs[1] != 2 {
		t.Fatalf("receipt %+v", r)
	}
	if r := put(t, s, "samples", "c"); r.First != 3 || r.Seqs[0] != 1 {
		t.Fatalf("receipt %+v", r)
	}
	page, err := s.ReadAll([]string{"samples", "events"}, 0, Max{})
	if err != nil || len(page.Items) != 3 || !page.End || page.Next != 3 {
		t.Fatalf("%+v %v", page, err)
	}
	for i, want := range []string{"a", "b", "c"} {
		if string(page.Items[i].Data) != want || page.Items[i].N != uint64(i+1) {
			t.Fatalf("item %d: %+v", i, page.Items[i])
		}
	}
	if _, err := s.One("events", 3); !errors.Is(err, ErrNotFound) {
		t.Fatalf("read of what is not there: %v", err)
	}
}

func TestReopenKeepsAll(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			opt := testOptions(t.TempDir())
			s := open(t, opt)
			want := texts(1, 500)
			for _, text := range want {
				put(t, s, "events", text)
			}
			epoch := s.Epoch()
			if clean {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				kill(s)
			}
			s = open(t, opt)
			got, holes := all(t, s, "events")
			if fmt.Sprint(got) != fmt.Sprint(want) || holes != nil {
				t.Fatalf("got %d records, holes %v", len(got), holes)
			}
			if s.Epoch() != epoch {
				t.Fatal("a new epoch in the same boot")
			}
			if r := put(t, s, "events", "on"); r.First != 501 || r.Seqs[0] != 501 {
				t.Fatalf("numbers go on at %+v", r)
			}
		})
	}
}

// kill lets go of the store as SIGKILL would.
func kill(s *Store) {
	s.closed.Store(true)
	close(s.stop)
	s.wg.Wait()
	s.abandon()
}

func TestNewEpochAfterPowerCut(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", texts(1, 10)...)
	first := s.Epoch()
	c := s.Cursor("cloud")
	c.Ack("events", Range{1, 9999}) // more than survives
	kill(s)
	opt.Boot = "boot-2"
	s = open(t, opt)
	put(t, s, "events", "eleven")
	if s.Epoch() == first {
		t.Fatal("the epoch was kept over a power cut")
	}
	kill(s)
	s = open(t, opt)
	if at, reset, err := s.Locate(first, 7); at != 7 || reset || err != nil {
		t.Fatalf("position that survived: %d %v %v", at, reset, err)
	}
	if at, reset, err := s.Locate(first, 12); at != 10 || !reset || err != nil {
		t.Fatalf("position that was lost: %d %v %v", at, reset, err)
	}
	if s.EpochOf("events", 10) != first || s.EpochOf("events", 11) == first {
		t.Fatal("seqs are in the wrong epoch")
	}
}

func TestKeepIsExact(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.Rings = map[string]Limits{"alarms": {Keep: 5}}
	s := open(t, opt)
	for i := 1; i <= 300; i++ {
		put(t, s, "alarms", fmt.Sprintf("record %d", i))
		got, holes := all(t, s, "alarms")
		if want := min(i, 5); len(got) != want {
			t.Fatalf("after %d: %d records", i, len(got))
		}
		if i > 5 && (len(holes) != 1 || holes[0].From != 1 || holes[0].To != uint64(i-5) || holes[0].Cause != Evicted) {
			t.Fatalf("after %d: holes %+v", i, holes)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	if got, _ := all(t, s, "alarms"); fmt.Sprint(got) != fmt.Sprint(texts(296, 300)) {
		t.Fatalf("after reopening: %v", got)
	}
}

func TestRowsRideInTheFlush(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	if _, err := s.Append(Batch{Rows: []Row{{"keys", "a", []byte("1")}, {"keys", "b", []byte("2")}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(Batch{Rows: []Row{{"keys", "a", nil}, {"keys", "c", []byte("3")}}}); err != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		var got bytes.Buffer
		if err := s.Each("keys", "", func(k string, v []byte) bool { fmt.Fprintf(&got, "%s=%s ", k, v); return true }); err != nil {
			t.Fatal(err)
		}
		if got.String() != "b=2 c=3 " {
			t.Fatalf("rows: %s", got.String())
		}
		if _, ok := s.Get("keys", "a"); ok {
			t.Fatal("a deleted row is there")
		}
	}
	check(s)
	kill(s)
	s = open(t, opt)
	check(s)
}

func TestCursorIsDurable(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", texts(1, 20)...)
	c := s.Cursor("cloud")
	c.Ack("events", Range{1, 4}, Range{8, 9})
	c.Refuse("events", Range{5, 5})
	put(t, s, "events", "rides along")
	kill(s)
	s = open(t, opt)
	c = s.Cursor("cloud")
	if c.Next("events") != 6 || !c.Acked("events", 8) || c.Acked("events", 7) || len(c.Refused("events")) != 1 {
		t.Fatalf("%+v", c.Ranges("events"))
	}
}

func TestFailedFlushIsNotSeen(t *testing.T) {
	opt := testOptions(t.TempDir())
	fail := ""
	opt.Fault = func(step string) error {
		if step == fail {
			return errors.New("dial")
		}
		return nil
	}
	s := open(t, opt)
	put(t, s, "events", "one")
	for _, fail = range []string{"journal write", "journal flush"} {
		if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte("never")}}}); err == nil {
			t.Fatal("a failed flush was acknowledged")
		}
		if s.Health().Err == nil {
			t.Fatal("health tells nothing")
		}
	}
	fail = ""
	if r := put(t, s, "events", "two"); r.First != 2 {
		t.Fatalf("%+v", r)
	}
	kill(s)
	s = open(t, opt)
	if got, _ := all(t, s, "events"); fmt.Sprint(got) != "[one two]" {
		t.Fatalf("%v", got)
	}
}

// TestReadIsBoundedInBytes: few large records are read at once, from a segment as
// from anywhere.
func TestReadIsBoundedInBytes(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.JournalBytes, opt.SegmentBytes = 8<<20, 16<<20
	s := open(t, opt)
	for range 40 {
		if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: make([]byte, 100_000)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	page, err := s.Read("events", 0, Max{Records: 1000, Bytes: 256 << 10})
	if err != nil || len(page.Items) == 0 || len(page.Items) > 4 {
		t.Errorf("%d records at once, %v", len(page.Items), err)
	}
	if got, holes := all(t, s, "events"); len(got) != 40 || holes != nil {
		t.Errorf("%d records, holes %v", len(got), holes)
	}
}

func TestNewerStoreIsRefused(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(opt.Dir, "store.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(text), `"format": 2`, `"format": 3`, 1)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opt); !errors.Is(err, ErrNewer) {
		t.Fatalf("opened: %v", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	if got, _ := all(t, s, "events"); fmt.Sprint(got) != "[a]" {
		t.Fatalf("the refusal changed something: %v", got)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	opt := testOptions(t.TempDir())
	open(t, opt)
	if _, err := Open(opt); !errors.Is(err, ErrLocked) {
		t.Fatalf("opened twice: %v", err)
	}
}
