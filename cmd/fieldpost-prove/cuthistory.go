package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
)

// wireEvent is an event as a reader gets it, as far as its contents go: time,
// clock and bound are worked out on reading.
type wireEvent struct {
	ID    string          `json:"id"`
	N     uint64          `json:"n"`
	Ring  string          `json:"ring"`
	Seq   uint64          `json:"seq"`
	Name  string          `json:"name"`
	Kind  string          `json:"kind"`
	Boot  string          `json:"boot"`
	Mono  int64           `json:"mono"`
	From  string          `json:"from"`
	Cause string          `json:"cause"`
	Data  json.RawMessage `json:"data"`
}

// wireGap is the data of a gap.
type wireGap struct {
	From, To, Count uint64
	Cause           string
}

// load reports whether the event is one of the writers'.
func (e *wireEvent) load() bool { return strings.HasPrefix(e.Name, "writer/") }

// known is what is known of an event since somebody was told of it: a client that
// it is stored, a reader or a broker of its contents. From then on it must be
// readable, the same, or be in a gap that is told.
type known struct {
	ring     string
	seq      uint64
	contents uint64 // a hash; 0: only a client was told, who knows the mark
	mark     mark   // of a writer's event
	load     bool
	at       int // which of all it was, in the order that they became known in
}

// history is what was told of one store, over all its starts, and what was found
// wrong with it. It is safe for concurrent use.
type history struct {
	seed maphash.Seed

	mu           sync.Mutex
	events       map[string]*known // those that must be readable
	gone         map[string]*known // those that a gap tells of; they may come back, the same
	count        int
	byMark       map[mark]string      // the id that a writer's event has
	receptions   map[string]int       // of each id at the broker
	high         map[string]uint64    // the highest seq of each ring there
	skipped      map[string][]wireGap // the gaps that it was told: what a gap tells may come yet, where a cut took back the eviction
	acknowledged int
	duplicated   int
	lost         int
	faults       []string
}

func newHistory() *history {
	return &history{seed: maphash.MakeSeed(), events: make(map[string]*known), gone: make(map[string]*known), byMark: make(map[mark]string),
		receptions: make(map[string]int), high: make(map[string]uint64), skipped: make(map[string][]wireGap)}
}

// fault notes a broken promise. h.mu must be held.
func (h *history) fault(format string, args ...any) {
	if len(h.faults) < 20 {
		h.faults = append(h.faults, fmt.Sprintf(format, args...))
	}
}

// note adds what was found wrong elsewhere.
func (h *history) note(fault string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault("%s", fault)
}

// Acknowledged notes that a writer was told that its event m is stored.
func (h *history) Acknowledged(n numbered, m mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acknowledged++
	if want := markRing(m); n.Ring != want {
		h.fault("event %s was sent to ring %s and acknowledged in %s", n.ID, want, n.Ring)
	}
	e := h.find(n.ID)
	if e == nil {
		e = h.add(n.ID, known{ring: n.Ring, seq: n.Seq, mark: m, load: true})
	}
	if !e.load || e.mark != m || e.ring != n.Ring || e.seq != n.Seq {
		h.fault("id %s was acknowledged for %s %d, %v, and stands for %s %d, %v", n.ID, n.Ring, n.Seq, m, e.ring, e.seq, e.mark)
	}
	h.named(n.ID, m)
}

// find gives what is known of an id. h.mu must be held.
func (h *history) find(id string) *known {
	if e := h.events[id]; e != nil {
		return e
	}
	return h.gone[id]
}

// add makes an event known. h.mu must be held.
func (h *history) add(id string, k known) *known {
	h.count++
	k.at = h.count
	h.events[id] = &k
	return &k
}

// Known is how many events are known so far. What becomes known later need not be
// in a reading that begins now.
func (h *history) Known() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// named notes the id of a writer's event, and that it has only one.
func (h *history) named(id string, m mark) {
	if other, ok := h.byMark[m]; ok && other != id {
		h.fault("the event %v is stored under two ids, %s and %s: its Idempotency-Key did not hold", m, other, id)
		return
	}
	h.byMark[m] = id
}

// Received notes a message that the broker acknowledged: an event, or an array.
func (h *history) Received(payload []byte) error {
	payload = bytes.TrimSpace(payload)
	events := make([]wireEvent, 1)
	var err error
	if len(payload) > 0 && payload[0] == '[' {
		err = json.Unmarshal(payload, &events)
	} else {
		err = json.Unmarshal(payload, &events[0])
	}
	if err != nil {
		return fmt.Errorf("read message: %w: %.200s", err, payload)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range events {
		e := &events[i]
		h.receptions[e.ID]++
		if h.receptions[e.ID] > 1 {
			h.duplicated++
			continue
		}
		if e.Kind == "gap" {
			var g wireGap
			if err := json.Unmarshal(e.Data, &g); err != nil {
				h.fault("gap %s: %v", e.ID, err)
			}
			h.skipped[e.Ring] = append(h.skipped[e.Ring], g)
			continue
		}
		if e.Seq <= h.high[e.Ring] && !inGap(h.skipped[e.Ring], e.Seq) {
			h.fault("%s %d reached the broker for the first time after %d had", e.Ring, e.Seq, h.high[e.Ring])
		}
		h.high[e.Ring] = max(h.high[e.Ring], e.Seq)
		h.seen(e)
	}
	return nil
}

// inGap reports whether one of the gaps tells of a seq.
func inGap(gaps []wireGap, seq uint64) bool {
	return slices.ContainsFunc(gaps, func(g wireGap) bool { return g.From <= seq && seq <= g.To })
}

// seen compares an event that a reader got with all that is known. h.mu must be held.
func (h *history) seen(e *wireEvent) {
	sum := h.hash(e)
	k := h.find(e.ID)
	if k == nil {
		k = h.add(e.ID, known{ring: e.Ring, seq: e.Seq, load: e.load()})
		if k.load {
			if err := json.Unmarshal(e.Data, &k.mark); err != nil {
				h.fault("event %s can't be read: %v", e.ID, err)
			}
			h.named(e.ID, k.mark)
		}
	}
	switch {
	case k.ring != e.Ring || k.seq != e.Seq:
		h.fault("id %s was %s %d and is %s %d", e.ID, k.ring, k.seq, e.Ring, e.Seq)
	case k.contents != 0 && k.contents != sum:
		h.fault("id %s has two contents: now %s %d %s boot %s %.80s", e.ID, e.Ring, e.Seq, e.Name, e.Boot, e.Data)
	case k.contents == 0 && k.load:
		if why := differs(e, k.mark); why != "" {
			h.fault("event %s is not what was sent: %s", e.ID, why)
		}
	}
	k.contents = sum
}

// differs compares an event with what its writer sent; "" where it is the same.
func differs(e *wireEvent, m mark) string {
	switch {
	case e.Name != markName(m):
		return fmt.Sprintf("name %q", e.Name)
	case e.Ring != markRing(m):
		return fmt.Sprintf("ring %q", e.Ring)
	case e.Kind != eventKind(e.Ring):
		return fmt.Sprintf("kind %q", e.Kind)
	case !bytes.Equal(e.Data, markData(m)):
		return fmt.Sprintf("data %.80s", e.Data)
	}
	return ""
}

// hash is of all that must be the same each time that an event is read. It is
// never 0.
func (h *history) hash(e *wireEvent) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	for _, s := range []string{e.ID, e.Ring, e.Name, e.Kind, e.Boot, e.From, e.Cause, string(e.Data)} {
		maphash.WriteComparable(&m, len(s))
		m.WriteString(s)
	}
	maphash.WriteComparable(&m, [3]uint64{e.N, e.Seq, uint64(e.Mono)})
	return max(m.Sum64(), 1)
}

// Compare holds one reading of the whole store against all that is known.
func (h *history) Compare(r *reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range r.faults {
		h.fault("%s", f)
	}
	read := make(map[string]bool, len(r.events))
	for i := range r.events {
		e := &r.events[i]
		if read[e.ID] {
			h.fault("id %s was read twice", e.ID)
		}
		read[e.ID] = true
		if e.ID != fmt.Sprintf("%.8s-%d", e.ID, e.N) {
			h.fault("event %s has n %d", e.ID, e.N)
		}
		h.seen(e)
	}
	for id, k := range h.events {
		switch {
		case read[id] || k.at > r.known:
			continue
		case !r.told(k.ring, k.seq):
			h.lost++
			h.fault("event %s (%s %d, %v) is lost, and no gap tells", id, k.ring, k.seq, k.mark)
		}
		h.gone[id] = k // a loss is told once
		delete(h.events, id)
	}
}

// Undelivered counts events that were acknowledged and reached no broker, but for
// those that a gap tells of.
func (h *history) Undelivered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for id, k := range h.events {
		if k.load && h.receptions[id] == 0 {
			n++
		}
	}
	return n
}

// addTo gives what was found to a line of the table.
func (h *history) addTo(r *result, where string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.acknowledged += h.acknowledged
	r.lost += h.lost
	r.duplicated += h.duplicated
	for _, f := range h.faults {
		r.failed("%s: %s", where, f)
	}
	h.acknowledged, h.lost, h.duplicated, h.faults = 0, 0, 0, nil
}

// reading is the whole store as one reader saw it.
type reading struct {
	events []wireEvent
	gaps   map[string][]wireGap
	faults []string
	known  int // events that were known when it began
}

// told reports whether a gap tells of the seq of a ring.
func (r *reading) told(ring string, seq uint64) bool { return inGap(r.gaps[ring], seq) }
