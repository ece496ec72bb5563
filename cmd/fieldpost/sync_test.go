package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock of the events' mono.
func monotonic(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// lastSample is when the newest stored reading before a moment was made.
func (s *sandbox) lastSample(before time.Duration) (last time.Duration) {
	s.t.Helper()
	c := newClient(s.socket)
	defer c.close()
	var page struct {
		Events []struct {
			Name string        `json:"name"`
			Mono time.Duration `json:"mono"`
		} `json:"events"`
	}
	query := url.Values{"ring": {"samples"}, "order": {"desc"}, "limit": {"1000"}}
	if err := c.call(context.Background(), http.MethodGet, "/v1/events", query, nil, &page); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range page.Events {
		if e.Name == "air" && e.Mono < before {
			last = max(last, e.Mono)
		}
	}
	return last
}

// TestSyncBoundsLoss: a kill takes of what a device reported no more than its
// ring's sync; an API call never waits for it; and what a call stored is there.
func TestSyncBoundsLoss(t *testing.T) {
	const sync, slack = 1500 * time.Millisecond, time.Second // slack: for a busy machine to write
	s := newSandbox(t, fmt.Sprintf("store: {headroom: 0, rings: {samples: {keep: 100k events, sync: %s}}}\ndevices: {air: {sim: sine, every: 20ms}}\n", sync))
	for range 2 {
		p := s.agent()
		begun := monotonic(t)
		s.until("a sync passed", func() bool { return s.lastSample(1<<62) > begun+sync })
		posted := time.Now()
		id := s.mustPublish("call", 1)
		if took := time.Since(posted); took > sync/2 {
			t.Errorf("a call took %v", took)
		}
		// The call took along what waited: a sync and more later it no longer helps.
		s.until("a while passed", func() bool { return time.Since(posted) > sync*9/4 })
		p.signal(syscall.SIGKILL)
		killed := monotonic(t)
		p.exits(-1, stopTime)
		p = s.agent()
		last := s.lastSample(killed)
		t.Logf("the kill took the last %v", killed-last)
		if killed-last > sync+slack {
			t.Errorf("the kill took %v of a device's events, more than a sync of %v", killed-last, sync)
		}
		s.run("events", "--name", "call", "-o", "json").want(t, 0, id)
		p.signal(syscall.SIGKILL)
		p.exits(-1, stopTime)
	}
}

// TestStatusShowsWear: what the agent wrote is in the status, with its budget.
func TestStatusShowsWear(t *testing.T) {
	s := newSandbox(t, "store: {wear: 100MB/day}\n")
	s.agent()
	s.mustPublish("a", 1)
	s.run("status").want(t, 0, "WEAR", "today of 100 MB")
	s.run("status", "-o", "json").want(t, 0, `"budget": 100000000`, `"device_today"`, `"bytes_per_event"`)
}
