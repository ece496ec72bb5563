package gpio

import (
	"bytes"
	"time"
)

// The bounds of what a device on a serial line can cost. A line over maxLine is lost.
// Of the lines of one second linesPerSecond are looked at, and bytesPerSecond of them,
// which is more than a GPS receiver or a meter sends; the others are lost. So a device
// that floods the line costs the store as much at most, and no memory.
const (
	maxLine        = 4096
	linesPerSecond = 100
	bytesPerSecond = 4 * maxLine
)

// lineSplitter cuts what a port reads into lines. A line ends with CR, LF or both;
// empty ones are left out.
type lineSplitter struct {
	line []byte // what came of the present line, maxLine at most
	skip bool   // to the end of the line
	long uint64 // lines that were too long, so far
}

// feed takes what was read, and hands each line to tell, which may not keep it.
func (s *lineSplitter) feed(b []byte, tell func(line []byte)) {
	for len(b) > 0 {
		end := bytes.IndexAny(b, "\r\n")
		part := b
		if end >= 0 {
			part = b[:end]
		}
		if !s.skip && len(s.line)+len(part) > maxLine {
			s.long++
			s.skip = true
		}
		if s.skip {
			s.line = s.line[:0]
		} else {
			s.line = append(s.line, part...)
		}
		if end < 0 {
			return
		}
		if len(s.line) > 0 {
			tell(s.line)
		}
		s.line, s.skip = s.line[:0], false
		b = b[end+1:]
	}
}

// lineBudget bounds the lines of a second, and counts what is over it and what else
// was lost.
type lineBudget struct {
	since   time.Time // when the present second began
	looked  int       // lines in it
	bytes   int       // and their bytes
	flood   uint64    // lost and not told yet
	long    uint64    // the same, for their length
	pending time.Time // when those are to be told; zero: there are none
}

// allow reports whether one more line of size bytes may be looked at now.
func (b *lineBudget) allow(now time.Time, size int) bool {
	if now.Sub(b.since) >= time.Second {
		b.since, b.looked, b.bytes = now, 0, 0
	}
	if b.looked >= linesPerSecond || b.bytes+size > bytesPerSecond {
		b.flood++
		b.owe(now)
		return false
	}
	b.looked, b.bytes = b.looked+1, b.bytes+size
	return true
}

// owe has the losses told in a second: one event a second of each cause is enough.
func (b *lineBudget) owe(now time.Time) {
	if b.pending.IsZero() {
		b.pending = now.Add(time.Second)
	}
}
