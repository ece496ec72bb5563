package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
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

// A segment that a full disk let be made and not filled is made anew, and is not
// taken for damage: not by the next move, and not after a stop.
func TestUnfilledSegmentIsNoDamage(t *testing.T) {
	for _, size := range []int{0, blockSize, 4 * blockSize} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			opt := testOptions(t.TempDir())
			s := open(t, opt)
			put(t, s, "events", texts(1, 100)...) // a segment
			if err := s.Move(); err != nil {
				t.Fatal(err)
			}
			epoch := s.Epoch()
			put(t, s, "events", texts(101, 120)...)
			path := segmentPath(filepath.Join(opt.Dir, "rings", "events"), 101)
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Move(); err == nil {
				t.Fatal("the move took a file that is none")
			}
			if err := s.Move(); err != nil {
				t.Fatalf("the move after it: %v", err)
			}
			put(t, s, "events", texts(121, 210)...)
			if err := os.WriteFile(segmentPath(filepath.Dir(path), 201), make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			kill(s)
			s = open(t, opt)
			if s.Epoch() != epoch {
				t.Error("the epoch was given up for a file with nothing in it")
			}
			if err := s.Move(); err != nil {
				t.Fatal(err)
			}
			got, holes := all(t, s, "events")
			if len(got) != 210 || len(holes) > 0 {
				t.Errorf("%d records and the holes %v, want 210", len(got), holes)
			}
			if _, err := os.Stat(s.aside()); err == nil {
				t.Error("a file was set aside as damaged")
			}
		})
	}
}

// TestCloseUnderReaders: a reader of compressed blocks that the stop overtakes gets
// what it asked for, or ErrClosed.
func TestCloseUnderReaders(t *testing.T) {
	for range 5 {
		opt := testOptions(t.TempDir())
		opt.SegmentEvents = 5000
		s := open(t, opt)
		put(t, s, "events", slices.Repeat([]string{"what repeats is compressed"}, 1000)...)
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		reading := make(chan struct{}, 100)
		for range 4 {
			readers.Go(func() {
				for {
					if _, err := s.Read("events", 0, Max{Records: 1000}); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					select {
					case reading <- struct{}{}:
					default:
					}
				}
			})
		}
		<-reading
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		readers.Wait()
	}
}
