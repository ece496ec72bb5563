package queue

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// failing is a disk that takes no flush, and no other write, from a step on.
type failing struct{ on atomic.Bool }

func (f *failing) fault(string) error {
	if f.on.Load() {
		return syscall.EIO
	}
	return nil
}

// lastFlush makes a store whose last flush holds record 11, or fails with record
// 12 in it, and kills it. It gives how many records are beyond doubt, and the last.
func lastFlush(t *testing.T, opt Options, acknowledged bool, halves int) (sure, last int) {
	t.Helper()
	s := open(t, opt)
	put(t, s, "events", texts(1, 10)...)
	if halves == 2 {
		s.appendMu.Lock()
		err := s.turn()
		s.appendMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "events", "record 11")
	if acknowledged {
		kill(s)
		return 10, 11
	}
	s.opt.Fault = func(step string) error { // its bytes get there
		if step == "journal flush" {
			return syscall.EIO
		}
		return nil
	}
	if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte("record 12")}}}); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	kill(s)
	return 11, 12
}

// appendSoon appends a record as soon as the store takes it.
func appendSoon(t *testing.T, s *Store, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		_, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte(text)}}})
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestLastFlushInDoubt: where the journal can't be flushed at a start, its last
// flush may be one that failed and was never acknowledged, or the last one that
// was. It is not shown before it is durable, its numbers go to nothing else, and
// it is there when the disk recovers, whatever wakes it.
func TestLastFlushInDoubt(t *testing.T) {
	for _, acknowledged := range []bool{true, false} {
		for _, halves := range []int{1, 2} {
			for _, by := range []string{"append", "move", "close"} {
				t.Run(fmt.Sprintf("acknowledged %v, in %d halves, by %s", acknowledged, halves, by), func(t *testing.T) {
					inDoubt(t, acknowledged, halves, by)
				})
			}
		}
	}
}

func inDoubt(t *testing.T, acknowledged bool, halves int, by string) {
	disk := &failing{}
	opt := testOptions(tmpfs(t))
	opt.MoveRecords, opt.Fault = 1<<20, disk.fault
	sure, last := lastFlush(t, opt, acknowledged, halves)
	disk.on.Store(true)
	s := open(t, opt)
	if got, holes := all(t, s, "events"); len(got) != sure || holes != nil || s.NextSeq("events") != uint64(sure+1) {
		t.Fatalf("on the sick disk: %d records, holes %+v", len(got), holes)
	}
	if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte("other")}}}); err == nil {
		t.Fatal("a number in doubt was given")
	}
	disk.on.Store(false)
	var err error
	switch by {
	case "append":
		last++
		appendSoon(t, s, fmt.Sprintf("record %d", last))
	case "move": // the older half goes first
		err = errors.Join(s.Move(), s.Move())
	case "close":
		err = s.Close()
		s = open(t, opt)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, holes := all(t, s, "events"); holes != nil || fmt.Sprint(got) != fmt.Sprint(texts(1, last)) {
			t.Fatalf("%q, holes %+v", got, holes)
		}
		kill(s)
		s = open(t, opt)
	}
}
