package uplink

import "time"

// The window's bounds.
const (
	startWindow = 64      // events in flight on a new connection
	mostWindow  = 4096    // events
	mostBytes   = 1 << 20 // bytes; one event may exceed it alone

	quickAck = 250 * time.Millisecond // below it the window may grow
	lateAck  = 2 * time.Second        // above it the window is halved
)

// window bounds what is in flight by how long acknowledgements take: a fast line
// is filled, and on a slow one little has to be sent twice. It is not safe for
// concurrent use.
type window struct {
	size        int // events that may be in flight
	least, most int
	events      int // in flight
	bytes       int
	marks       []mark // one a batch, oldest first
	shrunk      time.Time
}

type mark struct {
	events, bytes int
	at            time.Time
	full          bool // the window was full when this went
}

// newWindow makes a window for messages of per events.
func newWindow(start, per int) *window {
	per = max(per, 1)
	w := &window{least: per, most: max(mostWindow, 8*per)}
	w.size = min(max(start, w.least), w.most)
	return w
}

// room is how many more events may go.
func (w *window) room() int {
	if w.bytes >= mostBytes {
		return 0
	}
	return max(w.size-w.events, 0)
}

func (w *window) sent(events, bytes int, now time.Time) {
	w.events += events
	w.bytes += bytes
	w.marks = append(w.marks, mark{events, bytes, now, w.room() == 0})
}

// acked takes n events off, the oldest first, and adapts.
func (w *window) acked(n int, now time.Time) {
	for n > 0 && len(w.marks) > 0 {
		m := &w.marks[0]
		if n < m.events {
			part := m.bytes * n / m.events
			m.events -= n
			m.bytes -= part
			w.events -= n
			w.bytes -= part
			return
		}
		n -= m.events
		w.events -= m.events
		w.bytes -= m.bytes
		w.adapt(*m, now)
		w.marks = w.marks[1:]
	}
}

func (w *window) adapt(m mark, now time.Time) {
	switch took := now.Sub(m.at); {
	case took < quickAck && m.full:
		w.size = min(w.size*2, w.most)
	case took > lateAck && !m.at.Before(w.shrunk):
		// Once a window: the marks behind this one went out at the same pace.
		w.size = max(w.size/2, w.least)
		w.shrunk = now
	}
}

// oldest is when the oldest event in flight went out.
func (w *window) oldest() (time.Time, bool) {
	if len(w.marks) == 0 {
		return time.Time{}, false
	}
	return w.marks[0].at, true
}
