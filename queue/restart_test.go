package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A restart goes on in the segment that it finds; a new one each time would fill
// the folder with small files.
func TestRestartGoesOnInTheNewestSegment(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			opt := testOptions(t.TempDir())
			for i := 1; i <= 10; i++ {
				s := open(t, opt)
				put(t, s, "events", fmt.Sprintf("record %d", i))
				if err := s.Move(); err != nil {
					t.Fatal(err)
				}
				if clean {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				} else {
					kill(s)
				}
			}
			if files := segmentFiles(t, opt.Dir); len(files) != 1 {
				t.Fatalf("%d segments: %v", len(files), files)
			}
		})
	}
}

// A row that the journal carried before it was moved is not brought back by the
// next move.
func TestDroppedCursorStaysDropped(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "events", texts(1, 20)...)
	dropped := false
	s.opt.Fault = func(step string) error {
		if step == "segment commit" && !dropped { // between the turn of the halves and the commit of the move
			dropped = true
			s.Cursor("old").Ack("events", Range{1, 4})
			s.Cursor("cloud").Ack("events", Range{1, 4})
			put(t, s, "events", "carries them")
			s.Cursor("cloud").Ack("events", Range{1, 20})
			if err := s.DropCursor("old"); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	s.state.fault = s.opt.Fault
	for range 2 {
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	if names := s.Cursors(); fmt.Sprint(names) != "[cloud]" {
		t.Fatalf("cursors %v", names)
	}
	if next := s.Cursor("cloud").Next("events"); next != 21 {
		t.Fatalf("a clean stop forgot what was acknowledged: next is %d", next)
	}
}

// What a flush that failed left in the journal does not come to life after a
// clean stop.
func TestFailedFlushStaysUnseenAfterStop(t *testing.T) {
	opt := testOptions(t.TempDir())
	fail := ""
	opt.Fault = func(step string) error {
		if step == fail {
			return errKilled
		}
		return nil
	}
	s := open(t, opt)
	put(t, s, "events", "one")
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	fail = "journal flush"
	if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte("never")}}}); err == nil {
		t.Fatal("acknowledged")
	}
	fail = ""
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	if got, _ := all(t, s, "events"); fmt.Sprint(got) != "[one]" {
		t.Fatalf("%v", got)
	}
}

// Names that can't be a folder or a key are refused; once in the journal they
// would keep it from ever being moved.
func TestWrongNamesAreRefused(t *testing.T) {
	s := open(t, testOptions(filepath.Join(t.TempDir(), "store")))
	for _, b := range []Batch{
		{Entries: []Entry{{Ring: "../out"}}},
		{Entries: []Entry{{Ring: "."}}},
		{Entries: []Entry{{Ring: "a/b"}}},
		{Entries: []Entry{{Ring: "nul\x00"}}},
		{Rows: []Row{{Table: "keys"}}},
		{Rows: []Row{{Table: "keys", Key: string(make([]byte, 1<<16))}}},
	} {
		if _, err := s.Append(b); err == nil {
			t.Errorf("%.80q was taken", fmt.Sprint(b))
		}
	}
	put(t, s, "events", "one")
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.opt.Dir, "rings", "events")); err != nil {
		t.Fatal(err)
	}
}
