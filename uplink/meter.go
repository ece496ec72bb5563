package uplink

import (
	"sync"
	"time"
)

// meterSpan is how many seconds the rate is taken over.
const meterSpan = 30

// meter keeps what was acknowledged and what is left, second by second. It is
// safe for concurrent use.
type meter struct {
	mu      sync.Mutex
	total   uint64
	samples []sample // at most meterSpan+1, oldest first, a second apart
}

type sample struct {
	at      time.Time
	total   uint64
	backlog uint64
}

func (m *meter) add(events int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += uint64(events)
}

// tick takes a sample. It is called once a second.
func (m *meter) tick(now time.Time, backlog uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples = append(m.samples, sample{now, m.total, backlog})
	if over := len(m.samples) - meterSpan - 1; over > 0 {
		m.samples = append(m.samples[:0], m.samples[over:]...)
	}
}

// read gives the total, the events a second over the last 30 s, and the seconds
// until the backlog is gone, where it shrinks.
func (m *meter) read(now time.Time, backlog uint64) (total uint64, rate float64, empty *float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples) == 0 {
		return m.total, 0, nil
	}
	first := m.samples[0]
	span := now.Sub(first.at).Seconds()
	if span <= 0 {
		return m.total, 0, nil
	}
	rate = float64(m.total-first.total) / span
	switch {
	case backlog == 0:
		empty = new(float64)
	case backlog < first.backlog:
		left := float64(backlog) * span / float64(first.backlog-backlog)
		empty = &left
	}
	return m.total, rate, empty
}
