package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLittleWaits: a move costs the same for one record as for thousands, so one
// record waits for ten minutes; a cursor that moved is durable after one.
func TestLittleWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := testOptions(t.TempDir())
		opt.MoveEvery, opt.MoveRecords = 0, 0 // as shipped
		s := open(t, opt)
		put(t, s, "events", "one")
		s.Cursor("cloud").Ack("events", Range{1, 1})
		flushes := s.Health().Flushes
		time.Sleep(9*time.Minute + time.Second) // synctest's clock
		synctest.Wait()
		if h := s.Health(); h.Moves != 0 || h.Unmoved != 1 || h.Flushes != flushes+1 {
			t.Fatalf("after 9 minutes: %+v; one flush more than %d for the cursor, and no move", h, flushes)
		}
		kill(s)
		s = open(t, opt)
		if !s.Cursor("cloud").Acked("events", 1) {
			t.Fatal("the cursor's move was not durable")
		}
		time.Sleep(10*time.Minute + time.Second) // synctest's clock
		synctest.Wait()
		if h := s.Health(); h.Moves != 1 || h.Unmoved != 0 {
			t.Fatalf("after 10 minutes: %+v", h)
		}
		put(t, s, "events", texts(1, 1000)...) // a tenth of MoveRecords
		time.Sleep(time.Minute + time.Second)  // synctest's clock
		synctest.Wait()
		if h := s.Health(); h.Moves != 2 || h.Unmoved != 0 {
			t.Fatalf("a minute after 1,000 records: %+v", h)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
