package queue

import (
	"bytes"
	"testing"
)

// TestTailIsBounded: what the journal holds compressed is in RAM as it was, so a
// half is full when that takes its size too; after a kill as well.
func TestTailIsBounded(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.JournalBytes, opt.MoveRecords = 512<<10, 1<<20
	record := bytes.Repeat([]byte("21.5 C in the kitchen, "), 4000) // 92 kB, which compress well
	inRAM := func(s *Store) (bytes int64) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		for i := range s.tail.entries {
			bytes += int64(len(s.tail.entries[i].data))
		}
		return bytes
	}
	s := open(t, opt)
	for i := range 40 {
		if _, err := s.Append(Batch{Entries: []Entry{{Ring: "texts", Stamp: Stamp{1, int64(i)}, Data: record}}}); err != nil {
			t.Fatal(err)
		}
		if got := inRAM(s); got > 2*opt.JournalBytes {
			t.Fatalf("%d kB in RAM after %d flushes, the journal has halves of %d kB", got>>10, i+1, opt.JournalBytes>>10)
		}
	}
	kill(s)
	before := s.plain
	s = open(t, opt)
	if s.plain < before {
		t.Fatalf("%d bytes count after a kill, %d before", s.plain, before)
	}
	if got, _ := s.Ring("texts"); got.Last != 40 {
		t.Fatalf("%d records of 40", got.Last)
	}
}
