package queue

import "testing"

// TestSetHeadroom: a headroom that the disk has not takes the oldest segments without
// another start.
func TestSetHeadroom(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.Headroom = 1 // none is missing
	s := open(t, opt)
	defer s.Close()
	for from := 1; from <= 201; from += 100 { // a segment each
		put(t, s, "events", texts(from, from+99)...)
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
	}
	if got, holes := all(t, s, "events"); len(got) != 300 || len(holes) != 0 {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
	s.SetHeadroom(1 << 60)
	put(t, s, "events", "record 301")
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	if got, holes := all(t, s, "events"); len(got) > 101 || len(holes) != 1 || holes[0].Cause != Headroom {
		t.Errorf("%d records, holes %+v", len(got), holes)
	}
}
