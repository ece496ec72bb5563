package gpio

import (
	"fmt"

	"fieldpost/edge"
)

// simFaults is the failure dial of one line; the board's mutex guards it.
type simFaults struct {
	holder   string // another program holds the line
	requests int    // so many requests fail with reqErr
	reqErr   error
	sets     int // so many Sets fail with setErr
	setErr   error
	drop     int // so many edges are counted and not queued
	swallow  int // so many edges are neither
}

// request is the dial's answer to a request.
func (f *simFaults) request(name string) error {
	if f.holder != "" {
		return &BusyError{name, f.holder}
	}
	if f.requests > 0 {
		f.requests--
		return fmt.Errorf("request line %s: %w", name, f.reqErr)
	}
	return nil
}

// set is the dial's answer to a Set.
func (f *simFaults) set(name string) error {
	if f.sets > 0 {
		f.sets--
		return fmt.Errorf("set %s: %w", name, f.setErr)
	}
	return nil
}

// fault changes the dial of a line; an unknown line has none.
func (b *SimBoard) fault(pin edge.Pin, change func(*simFaults)) {
	i, err := b.offset(string(pin))
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.lines[i].faults)
}

// Hold lets another program hold a line that is free, until holder is "".
func (b *SimBoard) Hold(pin edge.Pin, holder string) {
	b.fault(pin, func(f *simFaults) { f.holder = holder })
}

// FailRequests makes the next n requests of a line fail with err, an errno.
func (b *SimBoard) FailRequests(pin edge.Pin, n int, err error) {
	b.fault(pin, func(f *simFaults) { f.requests, f.reqErr = n, err })
}

// FailSets makes the next n Sets of a line fail with err, an errno.
func (b *SimBoard) FailSets(pin edge.Pin, n int, err error) {
	b.fault(pin, func(f *simFaults) { f.sets, f.setErr = n, err })
}

// DropEdges loses the next n edges in the queue: a hole in line_seqno.
func (b *SimBoard) DropEdges(pin edge.Pin, n int) {
	b.fault(pin, func(f *simFaults) { f.drop = n })
}

// SwallowEdges loses the next n edges above the queue, as a stalled interrupt
// thread does (FACTS.md 8, T1): after an odd number the next edge that is told
// is the same as the one before.
func (b *SimBoard) SwallowEdges(pin edge.Pin, n int) {
	b.fault(pin, func(f *simFaults) { f.swallow = n })
}

// Unplug takes the chip away: what holds a line gets ENODEV, as do new requests.
func (b *SimBoard) Unplug() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	for i := range b.lines {
		l := &b.lines[i]
		if l.req == nil {
			continue
		}
		l.req.stop()
		if o := l.req.owner; o != nil {
			o.gone = true
			o.letGo()
		}
		l.req = nil
		b.settle(l)
	}
}

// Plug brings the chip back. Nothing is held.
func (b *SimBoard) Plug() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = false
}
