package uplink

import (
	"testing"
	"time"

	"fieldpost/queue"
)

func TestBackoffFollowsTheOutage(t *testing.T) {
	begin := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	b := newBackoff(begin)
	b.roll = func(d time.Duration) time.Duration { return d - 1 } // the end of the span
	for _, tt := range []struct{ outage, most time.Duration }{
		{0, time.Second},
		{time.Minute, time.Second},
		{10 * time.Minute, 10 * time.Second},
		{5 * time.Hour, 5 * time.Minute},
		{1000 * time.Hour, 5 * time.Minute},
		{-time.Hour, time.Second},
	} {
		if got := b.next(begin.Add(tt.outage)); got != tt.most {
			t.Errorf("after %v the wait is up to %v, want %v", tt.outage, got, tt.most)
		}
	}
	up := begin.Add(time.Hour)
	b.ended(up, up.Add(stableAfter-1))
	if got := b.next(up.Add(stableAfter)); got < time.Minute {
		t.Errorf("a short connection ended the outage: the wait is %v", got)
	}
	b.ended(up, up.Add(stableAfter))
	if got := b.next(up.Add(stableAfter)); got != time.Second {
		t.Errorf("a stable connection did not end the outage: the wait is %v", got)
	}
	for _, tt := range []struct {
		outage, up time.Duration
		ends       bool
	}{
		{time.Second, time.Minute - 1, false},
		{time.Second, time.Minute, true},
		{3 * time.Minute, 3*time.Minute - 1, false},
		{3 * time.Minute, 3 * time.Minute, true},
	} {
		b := newBackoff(begin)
		up := begin.Add(tt.outage)
		b.ended(up, up.Add(tt.up))
		if b.stable.Equal(up.Add(tt.up)) != tt.ends {
			t.Errorf("up for %v after an outage of %v: it is over %v, want %v", tt.up, tt.outage, !tt.ends, tt.ends)
		}
	}
	for range 100 {
		if got := newBackoff(begin).next(begin); got <= 0 || got > time.Second {
			t.Fatalf("a wait of %v", got)
		}
		if got := newBackoff(begin).slow(); got < slowWait || got > maxWait {
			t.Fatalf("a slow wait of %v", got)
		}
	}
}

func TestWindowAdapts(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	round := func(w *window, took time.Duration) {
		for w.room() > 0 {
			n := min(w.room(), 50)
			w.sent(n, n*100, now)
		}
		now = now.Add(took)
		w.acked(w.events, now)
	}
	w := newWindow(startWindow, 1)
	for range 10 {
		round(w, time.Millisecond)
	}
	if w.size != mostWindow || w.events != 0 || w.bytes != 0 {
		t.Errorf("a quick peer got a window of %d, with %d events and %d bytes in flight", w.size, w.events, w.bytes)
	}
	round(w, time.Second)
	if w.size != mostWindow {
		t.Errorf("a peer that takes a second has a window of %d, want the same", w.size)
	}
	round(w, 3*time.Second)
	if w.size != mostWindow/2 {
		t.Errorf("a late window halved it to %d, want %d", w.size, mostWindow/2)
	}
	for range 20 {
		round(w, 3*time.Second)
	}
	if w.size != 1 {
		t.Errorf("a slow peer has a window of %d", w.size)
	}
	w = newWindow(startWindow, 200)
	if w.size != 200 {
		t.Errorf("messages of 200 have a window of %d", w.size)
	}
	w.sent(1, mostBytes, now)
	if w.room() != 0 {
		t.Errorf("room for %d events behind a megabyte", w.room())
	}
	w.acked(100, now) // more than is in flight does no harm
	if w.events != 0 || w.bytes != 0 {
		t.Errorf("%d events, %d bytes in flight", w.events, w.bytes)
	}
}

func TestMeter(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	var m meter
	if _, rate, empty := m.read(now, 5); rate != 0 || empty != nil {
		t.Errorf("rate %v, empty %v before any sample", rate, empty)
	}
	left := uint64(100_000)
	for range 100 {
		m.tick(now, left)
		now = now.Add(time.Second)
		m.add(200)
		left -= 100 // 100 a second come in
	}
	total, rate, empty := m.read(now, left)
	if total != 20_000 || rate < 199 || rate > 201 {
		t.Errorf("total %d, rate %v, want 20000 and 200", total, rate)
	}
	if want := float64(left) / 100; empty == nil || *empty < want*0.99 || *empty > want*1.01 {
		t.Errorf("empty in %v, want %v", empty, want)
	}
	if _, _, empty = m.read(now, left+50_000); empty != nil {
		t.Errorf("a backlog that grows is empty in %v", *empty)
	}
	if _, _, empty = m.read(now, 0); empty == nil || *empty != 0 {
		t.Error("an empty backlog is not empty")
	}
}

func TestUnacked(t *testing.T) {
	for _, tt := range []struct {
		last  uint64
		acked []queue.Range
		want  uint64
	}{
		{10, nil, 10},
		{10, []queue.Range{{From: 1, To: 10}}, 0},
		{10, []queue.Range{{From: 1, To: 4}, {From: 7, To: 8}}, 4},
		{10, []queue.Range{{From: 1, To: 4}, {From: 9, To: 20}}, 4},
		{3, []queue.Range{{From: 5, To: 9}}, 3},
		{0, nil, 0},
	} {
		if got := unacked(tt.last, tt.acked); got != tt.want {
			t.Errorf("%d with %v: %d, want %d", tt.last, tt.acked, got, tt.want)
		}
	}
}
