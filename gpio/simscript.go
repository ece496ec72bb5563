package gpio

import (
	"fmt"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// SimScript is a line of a simulated board that does what a real one did, as Record
// told it: its request has the recorded name, and its edges are given by Replay,
// with the kernel's stamps and numbers and behind its debounce.
type SimScript struct {
	Request string // the name of the line's request then
	Level   bool   // the logical level, after debounce, at the beginning
}

// Script makes a line a recorded one. It is for a line that nobody holds. An unknown
// line is edge.ErrAbsent.
func (b *SimBoard) Script(pin edge.Pin, s SimScript) error {
	i, err := b.offset(string(pin))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines[i].req != nil {
		return &BusyError{b.lines[i].name, b.lines[i].req.cfg.Consumer}
	}
	b.lines[i].script = &s
	return nil
}

// begin makes a new request the recorded one. The caller holds the board's mutex.
func (s *SimScript) begin(r *simRequest) {
	if s == nil || r.cfg.Output {
		return
	}
	r.id = s.Request
	level := s.Level != r.cfg.ActiveLow
	r.line.driven = &level
}

// Replay gives the holder of a recorded line an edge as it was. A line that nobody
// listens to loses it, as a real one would. It fails where the line is not a recorded
// one, or is an output.
func (b *SimBoard) Replay(pin edge.Pin, e Edge) error {
	i, err := b.offset(string(pin))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &b.lines[i]
	switch {
	case l.script == nil:
		return fmt.Errorf("replay an edge of %s: it is no recorded line", pin)
	case l.req == nil:
		l.script.Level = e.Rising
		return nil
	case l.req.cfg.Output:
		return fmt.Errorf("replay an edge of %s: %s uses it as an output: %w", pin, l.req.cfg.Consumer, unix.EPERM)
	}
	level := e.Rising != l.req.cfg.ActiveLow
	l.script.Level, l.driven, l.req.debounced = e.Rising, &level, level
	b.settle(l)
	l.req.queue(e)
	return nil
}
