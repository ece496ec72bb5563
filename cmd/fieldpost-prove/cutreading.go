package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
)

// ringState is what the agent says of a ring.
type ringState struct {
	Name  string
	First uint64
	Last  uint64
	Keep  uint64
	Lost  uint64
}

// readStore reads every ring whole, with its gaps, and checks that each seq from
// 1 to the last is an event or in a gap. may are the causes of a gap that the run
// gave reason for, known what somebody was told of before.
func readStore(ctx context.Context, a *Agent, known int, may ...string) (*reading, error) {
	var rings struct{ Rings []ringState }
	if err := a.get(ctx, "/v1/rings", &rings); err != nil {
		return nil, err
	}
	r := &reading{gaps: make(map[string][]wireGap), known: known}
	for _, ring := range rings.Rings {
		items, err := readRing(ctx, a, ring.Name)
		if err != nil {
			return nil, err
		}
		r.take(ring, items, may)
	}
	return r, nil
}

// readRing gives all that a reader of a ring gets, oldest first.
func readRing(ctx context.Context, a *Agent, ring string) ([]wireEvent, error) {
	var all []wireEvent
	after := ""
	for {
		var page struct {
			Events []wireEvent
			Next   string
		}
		path := "/v1/events?limit=1000&ring=" + url.QueryEscape(ring)
		if after != "" {
			path += "&after=" + url.QueryEscape(after)
		}
		if err := a.get(ctx, path, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Events...)
		if page.Next == "" {
			return all, nil
		}
		if page.Next == after {
			return nil, fmt.Errorf("read ring %s: the page after %s leads to itself", ring, after)
		}
		after = page.Next
	}
}

// take checks what a reader got of one ring and keeps it.
func (r *reading) take(ring ringState, items []wireEvent, may []string) {
	bad := func(format string, args ...any) {
		r.faults = append(r.faults, fmt.Sprintf("ring %s: ", ring.Name)+fmt.Sprintf(format, args...))
	}
	next := uint64(1)
	for _, e := range items {
		if e.Ring != ring.Name {
			bad("it gave event %s of ring %s", e.ID, e.Ring)
		}
		if e.Kind != "gap" {
			if e.Seq != next {
				bad("seq %d is followed by %d, and no gap tells", next-1, e.Seq)
			}
			next = e.Seq + 1
			r.events = append(r.events, e)
			continue
		}
		var g wireGap
		if err := json.Unmarshal(e.Data, &g); err != nil {
			bad("gap %s: %v", e.ID, err)
			continue
		}
		if g.From != next || g.To < g.From || g.Count != g.To-g.From+1 || e.Seq != g.To {
			bad("seq %d is followed by a gap %d..%d of %d", next-1, g.From, g.To, g.Count)
		}
		next = g.To + 1
		r.gaps[ring.Name] = append(r.gaps[ring.Name], g)
	}
	// What the agent itself says meanwhile may come on top.
	if next-1 < ring.Last {
		bad("it ends at %d, and the agent says %d", next-1, ring.Last)
	}
	ring.Last = max(ring.Last, next-1)
	for _, g := range r.gaps[ring.Name] {
		if why := unfounded(ring, g, may); why != "" {
			bad("gap %d..%d (%s): %s", g.From, g.To, g.Cause, why)
		}
	}
}

// unfounded says why the run gave no reason for a gap, or "".
func unfounded(ring ringState, g wireGap, may []string) string {
	if g.Cause == "evicted" {
		switch {
		case ring.Keep == 0:
			return "the ring has no bound"
		case g.To+ring.Keep > ring.Last:
			return fmt.Sprintf("the ring keeps %d, and has %d", ring.Keep, ring.Last)
		}
		return ""
	}
	if !slices.Contains(may, g.Cause) {
		return "nothing gave reason for it"
	}
	return ""
}
