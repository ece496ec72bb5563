package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
)

// mark names an event by who sent it and which of the sender's it was; it rides
// in the event's data.
type mark struct {
	Client int `json:"client"`
	K      int `json:"k"`
}

// Ledger holds what the agent acknowledged to its clients and what a receiver
// got, each event by its id, and compares the two.
type Ledger struct {
	mu       sync.Mutex
	acked    map[string]mark
	received map[string]mark // events of the load only
	times    map[string]int  // how often each id came, all events
	byMark   map[mark]string
	high     map[string]uint64 // the highest seq of each ring
	open     int               // acknowledged and not received
	tally    Tally
}

// Tally is what a run comes to.
type Tally struct {
	Acknowledged int // events that a client was told are stored
	Received     int // different events that the receiver got, the load's only
	Lost         int // acknowledged and never received
	Duplicated   int // receptions of an event that had been received before
	Changed      int // one id with two contents, or another content than was acknowledged
	Twice        int // stored under two ids: a repeated Idempotency-Key did not hold
	Disordered   int // first receptions with a lower seq than one before, in one ring
	Gaps         int // gaps that were told
}

func newLedger() *Ledger {
	return &Ledger{acked: make(map[string]mark), received: make(map[string]mark), times: make(map[string]int),
		byMark: make(map[mark]string), high: make(map[string]uint64)}
}

// Acknowledged notes that a client was told of its event's id.
func (l *Ledger) Acknowledged(id string, m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.acked[id]; known {
		l.tally.Changed++ // two events with one id
		return
	}
	l.acked[id] = m
	if got, ok := l.received[id]; !ok {
		l.open++
	} else if got != m {
		l.tally.Changed++
	}
}

// Received notes one message: an event, or an array of them.
func (l *Ledger) Received(payload []byte) error {
	payload = bytes.TrimSpace(payload)
	type event struct {
		ID   string
		Kind string
		Ring string
		Seq  uint64
		Name string
		Data json.RawMessage
	}
	events := make([]event, 1)
	var err error
	if len(payload) > 0 && payload[0] == '[' {
		err = json.Unmarshal(payload, &events)
	} else {
		err = json.Unmarshal(payload, &events[0])
	}
	if err != nil {
		return fmt.Errorf("read message: %w: %.200s", err, payload)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range events {
		l.times[ev.ID]++
		if l.times[ev.ID] > 1 {
			l.tally.Duplicated++
		} else {
			if ev.Seq < l.high[ev.Ring] {
				l.tally.Disordered++
			}
			l.high[ev.Ring] = max(l.high[ev.Ring], ev.Seq)
		}
		if ev.Kind == "gap" {
			l.tally.Gaps++
		}
		if ev.Kind != "message" && ev.Kind != "sample" {
			continue
		}
		var m mark
		if err := json.Unmarshal(ev.Data, &m); err != nil {
			return fmt.Errorf("read event %s: %w: %.200s", ev.ID, err, ev.Data)
		}
		l.receive(ev.ID, m)
	}
	return nil
}

func (l *Ledger) receive(id string, m mark) {
	if before, ok := l.received[id]; ok {
		if before != m {
			l.tally.Changed++
		}
		return
	}
	l.received[id] = m
	if other, ok := l.byMark[m]; ok && other != id {
		l.tally.Twice++
	}
	l.byMark[m] = id
	if told, ok := l.acked[id]; ok {
		l.open--
		if told != m {
			l.tally.Changed++
		}
	}
}

// Open is how many acknowledged events have not been received yet.
func (l *Ledger) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Receptions is how many events came so far, each as often as it came.
func (l *Ledger) Receptions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times) + l.tally.Duplicated
}

// Tally is the comparison as it stands.
func (l *Ledger) Tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.Acknowledged, t.Received, t.Lost = len(l.acked), len(l.received), l.open
	return t
}

// String is the tally in one line.
func (t Tally) String() string {
	return fmt.Sprintf("acknowledged %d, received %d, lost %d, duplicated %d (changed %d, stored twice %d, out of order %d, gaps %d)",
		t.Acknowledged, t.Received, t.Lost, t.Duplicated, t.Changed, t.Twice, t.Disordered, t.Gaps)
}

// Broken is what must not be, or nil.
func (t Tally) Broken() error {
	if t.Acknowledged == 0 || t.Lost+t.Changed+t.Twice+t.Disordered+t.Gaps > 0 {
		return fmt.Errorf("the ledger is broken: %v", t)
	}
	return nil
}
