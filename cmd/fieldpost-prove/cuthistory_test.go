package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// toldStore is a small store as a reader gets it: the writers' events 1 to 40, of
// which the first two of ring events were evicted.
func toldStore() (rings map[string][]wireEvent, acks []numbered, marks []mark) {
	rings = make(map[string][]wireEvent)
	for k := range 40 {
		m := mark{3, k}
		ring := markRing(m)
		e := wireEvent{ID: fmt.Sprintf("0000000a-%d", k+1), N: uint64(k + 1), Ring: ring, Seq: uint64(len(rings[ring]) + 1), Name: markName(m),
			Kind: eventKind(ring), Boot: "b", Mono: int64(k), From: "client:prove", Data: markData(m)}
		rings[ring] = append(rings[ring], e)
		acks = append(acks, numbered{e.ID, e.N, e.Ring, e.Seq})
		marks = append(marks, m)
	}
	gap := wireEvent{ID: "0000000a-events-1..2", Ring: "events", Seq: 2, Name: "gap", Kind: "gap", Data: json.RawMessage(`{"from":1,"to":2,"count":2,"cause":"evicted"}`)}
	rings["events"] = append([]wireEvent{gap}, rings["events"][2:]...)
	return rings, acks, marks
}

// compareWith holds a reading of the rings against the history.
func compareWith(h *history, rings map[string][]wireEvent, last map[string]uint64) {
	r := &reading{gaps: make(map[string][]wireGap), known: h.Known()}
	for name := range last {
		items := rings[name]
		keep := uint64(0)
		if name == "events" {
			keep = last[name] - 2
		}
		r.take(ringState{Name: name, First: 1, Last: last[name], Keep: keep}, items, nil)
	}
	h.Compare(r)
}

// invented is a store that breaks a promise.
type invented struct {
	name string
	bad  func(h *history, rings map[string][]wireEvent)
	want string // of a fault; "" for none
	lost int    // -1: some
}

func inventions() []invented {
	at := func(rings map[string][]wireEvent, i int) *wireEvent { return &rings["events"][i] }
	return []invented{
		{"nothing", func(*history, map[string][]wireEvent) {}, "", 0},
		{"a loss", func(_ *history, r map[string][]wireEvent) {
			r["events"] = append(r["events"][:3:3], r["events"][4:]...)
		}, "lost, and no gap tells", 1},
		{"a loss at the end", func(_ *history, r map[string][]wireEvent) { r["lab-3"] = r["lab-3"][:len(r["lab-3"])-1] }, "and the agent says", 1},
		{"an empty ring", func(_ *history, r map[string][]wireEvent) { delete(r, "alarms") }, "it ends at 0", -1},
		{"a duplicate", func(_ *history, r map[string][]wireEvent) { r["events"] = append(r["events"], r["events"][3]) }, "was read twice", 0},
		{"a gap for nothing", func(_ *history, r map[string][]wireEvent) {
			e := at(r, 3)
			*e = wireEvent{ID: "0000000a-events-x", Ring: "events", Seq: e.Seq, Kind: "gap", Data: fmt.Appendf(nil, `{"from":%d,"to":%d,"count":1,"cause":"damage"}`, e.Seq, e.Seq)}
		}, "nothing gave reason for it", 0},
		{"too much evicted", func(_ *history, r map[string][]wireEvent) {
			at(r, 0).Seq, at(r, 0).Data = 3, json.RawMessage(`{"from":1,"to":3,"count":3,"cause":"evicted"}`)
			r["events"] = append(r["events"][:1:1], r["events"][2:]...)
		}, "the ring keeps", 0},
		{"a gap of the wrong count", func(_ *history, r map[string][]wireEvent) {
			at(r, 0).Data = json.RawMessage(`{"from":1,"to":2,"count":1,"cause":"evicted"}`)
		}, "a gap 1..2 of 1", 0},
		{"changed data", func(_ *history, r map[string][]wireEvent) {
			at(r, 3).Data = json.RawMessage(strings.Replace(string(at(r, 3).Data), `"text":"`, `"text":"x`, 1))
		}, "is not what was sent", 0},
		{"a changed name", func(_ *history, r map[string][]wireEvent) { at(r, 3).Name = "writer/4" }, "is not what was sent", 0},
		{"changed numbers", func(_ *history, r map[string][]wireEvent) {
			at(r, 3).ID, at(r, 4).ID = at(r, 4).ID, at(r, 3).ID
			at(r, 3).N, at(r, 4).N = at(r, 4).N, at(r, 3).N
		}, "id 0000000a-", 0},
		{"another n", func(_ *history, r map[string][]wireEvent) { at(r, 3).N = 1000 }, "has n 1000", 0},
		{"stored twice", func(_ *history, r map[string][]wireEvent) {
			last := r["events"][len(r["events"])-1]
			last.ID, last.N, last.Seq = "0000000a-41", 41, last.Seq+1
			r["events"] = append(r["events"], last)
		}, "under two ids", 0},
		{"acknowledged as two", func(h *history, _ map[string][]wireEvent) {
			h.Acknowledged(numbered{"0000000a-99", 99, markRing(mark{3, 0}), 99}, mark{3, 0})
		}, "under two ids", -1},
		{"one id for two", func(h *history, _ map[string][]wireEvent) {
			h.Acknowledged(numbered{"0000000a-1", 1, markRing(mark{3, 0}), 1}, mark{3, 1})
		}, "id 0000000a-1 ", 0},
		{"an earlier start's contents", func(h *history, r map[string][]wireEvent) {
			rings, _, _ := toldStore()
			rings["events"][5].Mono++
			last := map[string]uint64{}
			for name, items := range rings {
				last[name] = items[len(items)-1].Seq
			}
			compareWith(h, rings, last)
		}, "two contents", 0},
	}
}

func TestHistoryFinds(t *testing.T) {
	for _, c := range inventions() {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			rings, acks, marks := toldStore()
			last := map[string]uint64{}
			for name, items := range rings {
				last[name] = items[len(items)-1].Seq
			}
			for i, n := range acks {
				h.Acknowledged(n, marks[i])
			}
			c.bad(h, rings)
			compareWith(h, rings, last)
			var r result
			h.addTo(&r, "here")
			if found := strings.Join(r.broken, "\n"); c.want == "" && found != "" || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
			if c.lost >= 0 && r.lost != c.lost || c.lost < 0 && r.lost == 0 {
				t.Errorf("%d lost, want %d", r.lost, c.lost)
			}
			if (r.err() != nil) != (c.want != "") {
				t.Errorf("the line says %v", r.err())
			}
		})
	}
}

func TestHistoryOfABroker(t *testing.T) {
	line := func(seq int, m mark) []byte {
		return fmt.Appendf(nil, `{"id":"0000000a-%d","n":%d,"ring":%q,"seq":%d,"name":%q,"kind":%q,"data":%s}`,
			seq, seq, markRing(m), seq, markName(m), eventKind(markRing(m)), markData(m))
	}
	// Two marks of one ring.
	a := mark{1, 0}
	b := mark{1, 1}
	for markRing(b) != markRing(a) {
		b.K++
	}
	told := func(h *history) {
		h.Acknowledged(numbered{"0000000a-1", 1, markRing(a), 1}, a)
		h.Acknowledged(numbered{"0000000a-2", 2, markRing(a), 2}, b)
	}
	for _, c := range []struct {
		name        string
		lines       [][]byte
		want        string
		duplicated  int
		undelivered int
	}{
		{"all", [][]byte{line(1, a), line(2, b)}, "", 0, 0},
		{"in one message", [][]byte{[]byte("[" + string(line(1, a)) + "," + string(line(2, b)) + "]")}, "", 0, 0},
		{"again", [][]byte{line(1, a), line(2, b), line(1, a)}, "", 1, 0},
		{"one is missing", [][]byte{line(2, b)}, "", 0, 1},
		{"out of order", [][]byte{line(2, b), line(1, a)}, "for the first time after", 0, 0},
		{"another content", [][]byte{line(1, b), line(2, b)}, "is not what was sent", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			told(h)
			for _, l := range c.lines {
				if err := h.Received(l); err != nil {
					t.Fatal(err)
				}
			}
			if n := h.Undelivered(); n != c.undelivered {
				t.Errorf("%d undelivered, want %d", n, c.undelivered)
			}
			var r result
			h.addTo(&r, "here")
			if found := strings.Join(r.broken, "\n"); c.want == "" && found != "" || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
			if r.duplicated != c.duplicated {
				t.Errorf("%d duplicated, want %d", r.duplicated, c.duplicated)
			}
		})
	}
}

func TestRefusalNeedsRetryAfter(t *testing.T) {
	for _, c := range []struct {
		r    refusal
		fine bool
	}{{refusal{503, 5, ""}, true}, {refusal{503, 0, ""}, false}, {refusal{409, 1, ""}, true}, {refusal{500, 0, ""}, false}, {refusal{413, 0, ""}, false}} {
		if why := c.r.wrong(); (why == "") != c.fine {
			t.Errorf("%v: %q", c.r, why)
		}
	}
}
