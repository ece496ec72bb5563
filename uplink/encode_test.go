package uplink

import (
	"encoding/json"
	"strings"
	"testing"

	"fieldpost/edge"
)

func events(sizes ...int) []edge.Event {
	evs := make([]edge.Event, len(sizes))
	for i, n := range sizes {
		evs[i] = edge.Event{Epoch: 1, N: uint64(i + 1), Seq: uint64(i + 1), Ring: "r", Name: "x", Kind: edge.Message, Data: json.RawMessage(`"` + strings.Repeat("x", n) + `"`)}
	}
	return evs
}

func TestEncoder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sizes  []int
		per    int
		most   int
		counts []int // events a message; -1: refused
	}{
		{"one each", []int{1, 1, 1}, 1, 0, []int{1, 1, 1}},
		{"arrays", []int{1, 1, 1, 1, 1}, 2, 0, []int{2, 2, 1}},
		{"larger than a slab", []int{1, 200_000, 1}, 1, 0, []int{1, 1, 1}},
		{"an array has a bound", []int{100_000, 100_000, 100_000}, 10, 0, []int{2, 1}},
		{"too large alone", []int{1, 9000, 1}, 1, 5000, []int{1, -1, 1}},
		{"too large in an array", []int{1, 9000, 1, 1}, 4, 5000, []int{1, -1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := encoder{most: tt.most}
			evs := events(tt.sizes...)
			msgs := e.messages(Batch{Ring: "r", Events: evs, Per: tt.per}, nil)
			e.messages(Batch{Ring: "r", Events: events(50, 50)}, nil) // must not touch the first
			if len(msgs) != len(tt.counts) {
				t.Fatalf("%d messages, want %d", len(msgs), len(tt.counts))
			}
			next := uint64(1)
			for i, m := range msgs {
				refused := tt.counts[i] < 0
				if refused != IsPermanent(m.err) || !refused && m.events != tt.counts[i] {
					t.Fatalf("message %d has %d events, error %v; want %d", i, m.events, m.err, tt.counts[i])
				}
				if m.covers.From != next {
					t.Fatalf("message %d covers %v, want from %d", i, m.covers, next)
				}
				next = m.covers.To + 1
				if refused {
					continue
				}
				var got []edge.Event
				body := string(m.body)
				if tt.per <= 1 {
					body = "[" + body + "]"
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || len(got) != m.events || got[0].Seq != m.covers.From {
					t.Fatalf("message %d is not %d events from %d: %v", i, m.events, m.covers.From, err)
				}
			}
		})
	}
}
