package queue

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// agedStore has a clock that the test moves: a record's mono is its hour.
func agedStore(t *testing.T, rings map[string]Limits) (s *Store, now *atomic.Int64, put func(ring string, mono int64)) {
	t.Helper()
	now = new(atomic.Int64)
	opt := testOptions(t.TempDir())
	opt.Rings = rings
	opt.Age = func(st Stamp) time.Duration { return time.Duration(now.Load()-st.Mono) * time.Hour }
	s = open(t, opt)
	return s, now, func(ring string, mono int64) {
		t.Helper()
		if _, err := s.Append(Batch{Entries: []Entry{{Ring: ring, Stamp: Stamp{s.Boot(), mono}, Data: fmt.Append(nil, mono)}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAgeAsks: what is too old is asked for, a segment at a time, and is not
// taken while somebody thins it.
func TestAgeAsks(t *testing.T) {
	s, now, put := agedStore(t, map[string]Limits{"samples": {Age: 16 * time.Hour, Thin: true}})
	for hour := range int64(40) {
		now.Store(hour)
		put("samples", hour)
		info, _ := s.Ring("samples")
		w := s.Wishes()
		if info.First != 1 || hour < 16 && len(w) > 0 {
			t.Fatalf("hour %d: %+v, wishes %+v", hour, info, w)
		}
	}
	w := s.Wishes()
	// A segment spans 2 h and a record, seq is hour+1, and what is older than 16 h
	// is asked for as far as whole segments go.
	if len(w) != 1 || w[0].Cause != Aged || w[0].From != 1 || w[0].To < 20 || w[0].To > 23 || !w[0].Urgent {
		t.Fatalf("%+v", w)
	}
	thin(t, s, 2, Gone{1, w[0].To, Thinned})
	if again := s.Wishes(); len(again) != 0 {
		t.Errorf("asked again: %+v", again)
	}
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.opt.Dir, "rings", "samples", "*"+segmentSuffix))
	if err != nil || len(files) == 0 || filepath.Base(files[0]) == "00000000000000000001.seg" {
		t.Errorf("%v: %q is left", err, files)
	}
}

// TestOldRowsShareASegment: rows stand for what is old already, and don't begin a
// segment each for it.
func TestOldRowsShareASegment(t *testing.T) {
	s, now, put := agedStore(t, map[string]Limits{"rows": {Age: 240 * time.Hour}})
	now.Store(100)
	for hour := range int64(30) {
		put("rows", hour)
	}
	files, err := filepath.Glob(filepath.Join(s.opt.Dir, "rings", "rows", "*"+segmentSuffix))
	if err != nil || len(files) != 1 {
		t.Errorf("%v: %d segments", err, len(files))
	}
	for hour := int64(30); hour < 70; hour++ { // they span 30 h each
		put("rows", hour)
	}
	if files, _ = filepath.Glob(filepath.Join(s.opt.Dir, "rings", "rows", "*"+segmentSuffix)); len(files) != 3 {
		t.Errorf("%d segments", len(files))
	}
}
