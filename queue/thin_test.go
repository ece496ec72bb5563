package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// thin appends rows for what goes of the ring samples.
func thin(t *testing.T, s *Store, rows int, gone ...Gone) {
	t.Helper()
	b := Batch{Rows: []Row{Thinning{Ring: "samples", Into: "samples-1m", Gone: gone}.Row()}}
	for i := range rows {
		b.Entries = append(b.Entries, Entry{Ring: "samples-1m", Data: fmt.Appendf(nil, "row %d", i)})
	}
	if _, err := s.Append(b); err != nil {
		t.Fatal(err)
	}
}

func thinOptions(dir string) Options {
	opt := testOptions(dir)
	opt.Rings = map[string]Limits{"samples": {Thin: true}}
	return opt
}

// TestThinningIsOneWithItsRows: what goes is a hole with the flush that brings
// its rows, before and after moves, kills and stops.
func TestThinningIsOneWithItsRows(t *testing.T) {
	opt := thinOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "samples", texts(1, 300)...)
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "samples", texts(301, 320)...)
	put(t, s, "samples-1m", "older")
	thin(t, s, 4, Gone{1, 99, Thinned}, Gone{100, 100, Evicted}, Gone{101, 200, Thinned})
	thin(t, s, 3, Gone{201, 310, Thinned})
	epoch := s.Epoch()
	check := func(when string) {
		t.Helper()
		got, holes := all(t, s, "samples")
		want := []Hole{
			{"samples", epoch, 1, 99, Thinned, Rows{"samples-1m", 2, 5}},
			{"samples", epoch, 100, 100, Evicted, Rows{}},
			{"samples", epoch, 101, 310, Thinned, Rows{"samples-1m", 2, 8}},
		}
		if !slices.Equal(got, texts(311, 320)) || !slices.Equal(holes, want) {
			t.Fatalf("%s: %q, holes %+v", when, got, holes)
		}
		if rows, holes := all(t, s, "samples-1m"); len(rows) != 8 || holes != nil {
			t.Fatalf("%s: rows %q, holes %+v", when, rows, holes)
		}
		if info, _ := s.Ring("samples"); info.Thinned != 309 || info.Gone != 310 || info.First != 311 {
			t.Fatalf("%s: %+v", when, info)
		}
	}
	check("at once")
	kill(s)
	s = open(t, opt)
	check("after a kill")
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	check("after a move")
	kill(s)
	s = open(t, opt)
	check("after a move and a kill")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	check("after a stop")
}

// TestTornThinningChangesNothing: a flush that fails leaves records and rows as
// they were.
func TestTornThinningChangesNothing(t *testing.T) {
	opt := thinOptions(t.TempDir())
	fail := false
	opt.Fault = func(string) error {
		if fail {
			return errKilled
		}
		return nil
	}
	s := open(t, opt)
	put(t, s, "samples", texts(1, 30)...)
	fail = true
	_, err := s.Append(Batch{Entries: []Entry{{Ring: "samples-1m", Data: []byte("row")}},
		Rows: []Row{Thinning{Ring: "samples", Into: "samples-1m", Gone: []Gone{{1, 20, Thinned}}}.Row()}})
	if err == nil {
		t.Fatal("it did not fail")
	}
	fail = false
	for range 2 {
		got, holes := all(t, s, "samples")
		rows, _ := all(t, s, "samples-1m")
		if len(got) != 30 || holes != nil || rows != nil {
			t.Fatalf("%d records, holes %+v, rows %q", len(got), holes, rows)
		}
		kill(s)
		s = open(t, opt)
	}
}

// TestThinningIsChecked: what a ring could not do is refused, not half done.
func TestThinningIsChecked(t *testing.T) {
	s := open(t, thinOptions(t.TempDir()))
	put(t, s, "samples", texts(1, 9)...)
	for _, gone := range [][]Gone{nil, {{0, 3, Thinned}}, {{3, 2, Thinned}}, {{1, 2, Thinned}, {4, 5, Thinned}}, {{1, 3, Thinned}, {3, 5, Thinned}}} {
		if _, err := s.Append(Batch{Rows: []Row{Thinning{Ring: "samples", Into: "samples-1m", Gone: gone}.Row()}}); err == nil {
			t.Errorf("%v was taken", gone)
		}
	}
	if _, err := s.Append(Batch{Rows: []Row{{Table: tableThinned, Key: "samples", Value: []byte("?")}}}); err == nil {
		t.Error("a damaged row was taken")
	}
	thin(t, s, 1, Gone{1, 99, Thinned}) // more than there is
	if got, holes := all(t, s, "samples"); got != nil || len(holes) != 1 || holes[0].To != 9 {
		t.Errorf("%q, holes %+v", got, holes)
	}
}

// TestLostRowsAreToldAsLost: where a card lied about the rows' flush, what they
// stood for is damage, and the numbers of others are not named.
func TestLostRowsAreToldAsLost(t *testing.T) {
	opt := thinOptions(t.TempDir())
	s := open(t, opt)
	put(t, s, "samples", texts(1, 20)...)
	put(t, s, "samples-1m", "a", "b")
	s.mu.Lock()
	s.rings["samples"].holes = spans{
		{1, 5, Thinned, Rows{"samples-1m", 1, 2}}, {6, 9, Thinned, Rows{"samples-1m", 2, 7}},
		{10, 12, Thinned, Rows{"samples-1m", 3, 7}}, {13, 14, Thinned, Rows{"nowhere", 1, 1}},
	}
	s.settleRows()
	got := s.rings["samples"].holes
	s.mu.Unlock()
	want := spans{{1, 5, Thinned, Rows{"samples-1m", 1, 2}}, {6, 9, Thinned, Rows{"samples-1m", 2, 2}}, {10, 12, Damage, Rows{}}, {13, 14, Damage, Rows{}}}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestSpansOfRows(t *testing.T) {
	var s spans
	add := func(from, to, rowFrom, rowTo uint64) {
		s = s.fill(span{from, to, Thinned, Rows{"r", rowFrom, rowTo}})
	}
	add(1, 10, 1, 3)
	add(11, 20, 4, 6) // both touch: one hole
	add(21, 30, 8, 9) // the rows do not
	s = s.fill(span{31, 35, Evicted, Rows{}})
	add(36, 40, 10, 11)
	s = s.fill(span{41, 45, Thinned, Rows{"q", 12, 13}})
	want := spans{{1, 20, Thinned, Rows{"r", 1, 6}}, {21, 30, Thinned, Rows{"r", 8, 9}}, {31, 35, Evicted, Rows{}},
		{36, 40, Thinned, Rows{"r", 10, 11}}, {41, 45, Thinned, Rows{"q", 12, 13}}}
	if !slices.Equal(s, want) {
		t.Fatalf("%v", s)
	}
	if again, err := decodeSpans(s.encode()); err != nil || !slices.Equal(again, s) {
		t.Errorf("%v: %v", err, again)
	}
	v1 := []byte{spansV1, 2}
	for _, h := range []span{{from: 1, to: 4, cause: Aged}, {from: 5, to: 300, cause: Damage}} {
		v1 = appendString(binary.AppendUvarint(binary.AppendUvarint(v1, h.from), h.to), string(h.cause))
	}
	if old, err := decodeSpans(v1); err != nil || !slices.Equal(old, spans{{from: 1, to: 4, cause: Aged}, {from: 5, to: 300, cause: Damage}}) {
		t.Errorf("version 1: %v: %v", err, old)
	}
	s = nil
	for i := range uint64(2 * maxSpans) { // past the bound those that touch become one
		s = s.fill(span{i + 1, i + 1, Thinned, Rows{"r", 2*i + 1, 2*i + 1}})
	}
	if len(s) > maxSpans || s[0].from != 1 || s[0].rows.From != 1 || s[len(s)-1].to != 2*maxSpans {
		t.Errorf("%d holes, the first %+v", len(s), s[0])
	}
	s = nil
	for i := range uint64(maxSpans) { // every other record is no sample
		s = s.fill(span{2*i + 1, 2*i + 1, Thinned, Rows{"r", i + 1, i + 1}}).fill(span{from: 2*i + 2, to: 2*i + 2, cause: Evicted})
	}
	if len(s) > maxSpans || s[0] != (span{1, s[0].to, Evicted, Rows{}}) || s[len(s)-2].cause != Thinned {
		t.Errorf("%d holes, the first %+v", len(s), s[0])
	}
}

// TestWishes: what each bound asks for, and when it takes what nobody thinned.
func TestWishes(t *testing.T) {
	for _, c := range []struct {
		name   string
		ring   ring
		bound  func(*ring)
		asked  uint64 // 0: nothing
		urgent bool
		floor  uint64
	}{
		{"within", ring{last: 100_000}, func(r *ring) { r.askKeep(100_000) }, 0, false, 0},
		{"a little over", ring{last: 105_000}, func(r *ring) { r.askKeep(100_000) }, 0, false, 0},
		{"over", ring{last: 107_000}, func(r *ring) { r.askKeep(100_000) }, 7000, false, 0},
		{"far over", ring{last: 114_000}, func(r *ring) { r.askKeep(100_000) }, 14_000, true, 0},
		{"beyond the slack", ring{last: 130_000, wish: wish{to: 5000, since: time.Now(), records: 107_000}}, func(r *ring) { r.askKeep(100_000) }, 30_000, true, 5000},
		{"a bound that became less", ring{last: 900_000}, func(r *ring) { r.askKeep(100_000) }, 800_000, true, 0},
		{"and is on its way", ring{last: 901_000, wish: wish{to: 800_000, since: time.Now(), records: 900_000}}, func(r *ring) { r.askKeep(100_000) }, 801_000, true, 0},
		{"but stands still", ring{last: 901_000, wish: wish{to: 800_000, since: time.Now().Add(-time.Hour), records: 900_000}}, func(r *ring) { r.askKeep(100_000) }, 801_000, true, 776_000},
		{"old", ring{last: 500}, func(r *ring) { r.askAge(200, 11*time.Hour, 10*time.Hour) }, 200, false, 0},
		{"much older", ring{last: 500}, func(r *ring) { r.askAge(200, 30*time.Hour, 10*time.Hour) }, 200, true, 0},
		{"for long", ring{last: 500, wish: wish{to: 200, since: time.Now().Add(-time.Hour)}}, func(r *ring) { r.askAge(200, 30*time.Hour, 10*time.Hour) }, 0, false, 200},
	} {
		r := c.ring
		r.limits.Thin, r.asked, r.log = true, make(chan struct{}, 1), slog.New(slog.DiscardHandler)
		c.bound(&r)
		if w := r.pending(); w.to != c.asked || w.urgent != c.urgent || r.floor != c.floor {
			t.Errorf("%s: asks up to %d, urgent %v, floor %d; want %d, %v, %d", c.name, w.to, w.urgent, r.floor, c.asked, c.urgent, c.floor)
		}
	}
}

// TestThinRingIsBoundedBySize: it asks at its bound, and a quarter beyond it loses
// what is oldest, which the log tells once.
func TestThinRingIsBoundedBySize(t *testing.T) {
	var log bytes.Buffer
	opt := thinOptions(t.TempDir())
	opt.Rings["samples"] = Limits{Size: 2 << 20, Thin: true}
	opt.SegmentEvents, opt.JournalBytes, opt.MoveRecords = 1000, 8<<20, 1<<20
	opt.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, opt)
	asked := uint64(0)
	for i := range 60 {
		var b Batch
		for k := range 100 {
			b.Entries = append(b.Entries, Entry{Ring: "samples", Data: noise(uint64(100*i+k), 1000)})
		}
		if _, err := s.Append(b); err != nil {
			t.Fatal(err)
		}
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
		info, _ := s.Ring("samples")
		if info.Bytes > 4<<20 {
			t.Fatalf("it takes %d bytes", info.Bytes)
		}
		if w := s.Wishes(); asked == 0 && len(w) > 0 {
			if asked = w[0].To; w[0].From != 1 || w[0].Cause != Evicted || info.First != 1 {
				t.Fatalf("%+v, %+v", w[0], info)
			}
			select {
			case <-s.Wished():
			default:
				t.Fatal("nobody was told")
			}
		}
	}
	info, _ := s.Ring("samples")
	if asked == 0 || info.First == 1 || info.Thinned != 0 || strings.Count(log.String(), "not thinned in time") != 1 {
		t.Errorf("asked %d, %+v, log %s", asked, info, &log)
	}
}

// TestHeadroomAsksFirst: on a disk that runs short a ring that thins is asked while
// there is room for its rows, and taken from when there is not.
func TestHeadroomAsksFirst(t *testing.T) {
	dir := mountSmall(t, "24m")
	opt := thinOptions(filepath.Join(dir, "store"))
	opt.Rings["samples"] = Limits{Thin: true}
	opt.JournalBytes, opt.SegmentEvents, opt.MoveRecords = 1<<20, 200, 1<<20
	_, free, err := diskSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	opt.Headroom = free / 2
	s := open(t, opt)
	var first Wish
	for i := range 5000 {
		if _, err := s.Append(Batch{Entries: []Entry{{Ring: "samples", Data: noise(uint64(i), 4000)}}}); err != nil {
			t.Fatal(err)
		}
		if i%50 != 49 {
			continue
		}
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
		info, _ := s.Ring("samples")
		if w := s.Wishes(); first.To == 0 && len(w) > 0 {
			if first = w[0]; info.First != 1 {
				t.Fatalf("%d went before it was asked for", info.First-1)
			}
		}
		if h := s.Health(); h.Free < opt.Headroom/2 {
			t.Fatalf("%d bytes are free of a headroom of %d", h.Free, opt.Headroom)
		}
	}
	_, holes := all(t, s, "samples")
	if first.Cause != Headroom || len(holes) != 1 || holes[0].Cause != Headroom {
		t.Errorf("asked %+v, holes %+v", first, holes)
	}
}
