package queue

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// zeroTablePage zeroes the page of state.db that holds a text.
func zeroTablePage(t *testing.T, path, text string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at, found := 0, 0; ; found++ {
		i := bytes.Index(raw[at:], []byte(text))
		if i < 0 {
			if found == 0 {
				t.Fatalf("%q is not in %s", text, path)
			}
			return
		}
		zero(t, path, int64((at+i)/blockSize*blockSize), blockSize)
		at = (at+i)/blockSize*blockSize + blockSize
	}
}

// manyRows makes a table of several pages, moved to state.db.
func manyRows(t *testing.T, s *Store) {
	t.Helper()
	var b Batch
	for i := range 1000 {
		b.Rows = append(b.Rows, Row{"keys", fmt.Sprintf("key %04d", i), fmt.Appendf(nil, "value %04d", i)})
	}
	for len(b.Rows) > 0 {
		k := min(len(b.Rows), 200)
		if _, err := s.Append(Batch{Rows: b.Rows[:k]}); err != nil {
			t.Fatal(err)
		}
		b.Rows = b.Rows[k:]
	}
	put(t, s, "events", "one")
	s.Cursor("cloud").Ack("events", Range{1, 1})
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
}

// A damaged table of state.db costs some of its rows; it does not stop the store.
func TestDamagedTableHeals(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			opt := testOptions(tmpfs(t))
			s := open(t, opt)
			manyRows(t, s)
			if restart {
				kill(s)
			}
			zeroTablePage(t, filepath.Join(opt.Dir, "state.db"), "key 0500")
			if restart {
				s = open(t, opt)
			}
			if _, err := s.Append(Batch{Rows: []Row{{"keys", "key 0500", []byte("anew")}}, Entries: []Entry{{Ring: "events", Data: []byte("two")}}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Move(); err != nil {
				t.Fatal(err)
			}
			rows := 0
			if err := s.Each("keys", "", func(string, []byte) bool { rows++; return true }); err != nil {
				t.Fatal(err)
			}
			if rows < 500 {
				t.Fatalf("%d of 1000 rows are left", rows)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, opt)
			if v, _ := s.Get("keys", "key 0500"); string(v) != "anew" {
				t.Fatalf("%q", v)
			}
			if got, holes := all(t, s, "events"); fmt.Sprint(got) != "[one two]" || holes != nil {
				t.Fatalf("%v %v", got, holes)
			}
			if s.Cursor("cloud").Next("events") != 2 {
				t.Fatal("the cursor is lost")
			}
		})
	}
}

// A damaged table of cursors does not keep the store from opening.
func TestDamagedCursorsOpen(t *testing.T) {
	opt := testOptions(tmpfs(t))
	s := open(t, opt)
	for i := range 200 {
		s.Cursor(fmt.Sprintf("cursor-%0100d", i)).Ack("events", Range{1, 1})
	}
	put(t, s, "events", "one")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	zeroTablePage(t, filepath.Join(opt.Dir, "state.db"), fmt.Sprintf("cursor-%0100d", 100))
	s = open(t, opt)
	put(t, s, "events", "two")
	s.Cursor("new").Ack("events", Range{1, 1})
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
}

// A segment that is cut while it is written makes even bbolt's rollback fault.
func TestCutUnderTheWriter(t *testing.T) {
	opt := testOptions(tmpfs(t))
	opt.SegmentEvents = 10_000
	s := open(t, opt)
	put(t, s, "events", texts(1, 300)...)
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	cut(t, segmentFiles(t, opt.Dir)[0], 1<<40)
	put(t, s, "events", texts(301, 310)...)
	moved := make(chan error, 1)
	go func() { moved <- s.Move() }()
	select {
	case err := <-moved:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the move hangs")
	}
	got, holes := all(t, s, "events")
	if len(holes) != 1 || holes[0].Cause != Damage || holes[0].To != 300 || fmt.Sprint(got) != fmt.Sprint(texts(301, 310)) {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
}
