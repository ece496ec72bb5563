package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// Recorder watches a link and keeps the payload of each event message that the
// broker acknowledged: a PUBLISH going up whose PUBACK comes down on the same
// connection. It notes a PUBACK before the agent gets it, so what the agent
// believes delivered is never more than what is on record.
type Recorder struct {
	Path string // NDJSON: a line is one message, an event or an array of them

	mu      sync.Mutex
	file    *os.File
	w       *bufio.Writer
	seen    func(payload []byte) error // told of each payload on record
	err     error
	waiting atomic.Int64 // event messages published and not acknowledged, over all connections
	total   atomic.Int64
}

var _ Watcher = (*Recorder)(nil)

// newRecorder records into the file; seen may be nil.
func newRecorder(path string, seen func([]byte) error) (*Recorder, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("open record: %w", err)
	}
	return &Recorder{Path: path, file: f, w: bufio.NewWriterSize(f, 256<<10), seen: seen}, nil
}

// Watch follows one connection.
func (r *Recorder) Watch() Watched {
	return &recorded{to: r, flight: make(map[uint16][]byte)}
}

// Waiting is how many event messages are under way: sent and not acknowledged.
func (r *Recorder) Waiting() int64 { return r.waiting.Load() }

// Total is how many acknowledged event messages are on record.
func (r *Recorder) Total() int64 { return r.total.Load() }

// Flush brings the record to its file.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.w.Flush()
	}
	return r.err
}

// Close flushes and ends the record.
func (r *Recorder) Close() error {
	err := r.Flush()
	if cerr := r.file.Close(); err == nil {
		err = cerr
	}
	return err
}

func (r *Recorder) record(payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		_, r.err = r.w.Write(payload)
	}
	if r.err == nil {
		r.err = r.w.WriteByte('\n')
	}
	if r.err == nil && r.seen != nil {
		r.err = r.seen(payload)
	}
	r.total.Add(1)
	return r.err
}

// recorded is one connection under watch.
type recorded struct {
	to *Recorder

	upward, downward splitter

	mu     sync.Mutex
	flight map[uint16][]byte // by packet id; only event messages
}

// Up notes the event messages that leave the agent.
func (c *recorded) Up(b []byte) error {
	var bad error
	err := c.upward.feed(b, func(first byte, body []byte) {
		if first&0xf0 != mqttPublish || first&mqttQoS == 0 {
			return
		}
		topic, payload, id, err := parsePublish(first, body)
		if err != nil {
			bad = err
			return
		}
		if !carriesEvents(string(topic)) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, again := c.flight[id]; !again {
			c.to.waiting.Add(1)
		}
		c.flight[id] = append([]byte(nil), payload...)
	})
	if err == nil {
		err = bad
	}
	return err
}

// Down puts on record what a PUBACK acknowledges.
func (c *recorded) Down(b []byte) error {
	var bad error
	err := c.downward.feed(b, func(first byte, body []byte) {
		if first&0xf0 != mqttPuback || len(body) < 2 {
			return
		}
		id := uint16(body[0])<<8 | uint16(body[1])
		c.mu.Lock()
		payload, ok := c.flight[id]
		delete(c.flight, id)
		c.mu.Unlock()
		if !ok {
			return
		}
		c.to.waiting.Add(-1)
		if err := c.to.record(payload); err != nil {
			bad = err
		}
	})
	if err == nil {
		err = bad
	}
	return err
}

// End forgets what was under way.
func (c *recorded) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to.waiting.Add(int64(-len(c.flight)))
	clear(c.flight)
}

// carriesEvents tells an event message from state, status and inventory, by its
// topic: <prefix>/<agent>/events/<ring>/<name>, .../history/..., .../batch/<ring>.
func carriesEvents(topic string) bool {
	level := strings.Split(topic, "/")
	for i, l := range level {
		if i < 2 {
			continue
		}
		switch l {
		case "events", "history", "batch":
			return i+1 < len(level)
		case "state", "status", "about", "command", "result":
			return false
		}
	}
	return false
}
