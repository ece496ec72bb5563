package gpio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"fieldpost/edge"
)

// TraceVersion is the version of the format of a trace. Another is refused.
const TraceVersion = 1

// maxTraceLine is the longest line of a trace, in bytes.
const maxTraceLine = 256 << 10

// Bounds of the times in a trace: of its beginning since the boot, in ns, and of how long
// it is.
const (
	maxTraceMono = int64(100 * 366 * 24 * time.Hour)
	maxTraceSpan = 366 * 24 * time.Hour
)

// TraceHead is the first line of a trace: what was recorded, and where it stood.
type TraceHead struct {
	Format  string          `json:"fieldpost"` // "trace"
	Version int             `json:"version"`   // TraceVersion
	Device  string          `json:"device"`
	Driver  string          `json:"driver"`
	Config  json.RawMessage `json:"config,omitempty"`  // the device's entry of the config, without secrets
	Agent   string          `json:"agent,omitempty"`   // its id
	Release string          `json:"release,omitempty"` // of the agent
	Board   string          `json:"board,omitempty"`   // its model
	Boot    string          `json:"boot,omitempty"`
	Time    time.Time       `json:"time"`              // the wall time at Mono
	Mono    int64           `json:"mono"`              // CLOCK_MONOTONIC at the beginning, ns
	Began   int64           `json:"began"`             // when the device began its present run: its schedule goes by that
	State   json.RawMessage `json:"state,omitempty"`   // the device's durable row at the beginning
	Told    *float64        `json:"told,omitempty"`    // the number that was reported last; none: that there is no value, or nothing, where ToldAt is 0
	ToldAt  int64           `json:"told_at,omitempty"` // when, on CLOCK_MONOTONIC
	Unit    string          `json:"unit,omitempty"`    // of readings
	Lines   []TraceLine     `json:"lines,omitempty"`   // the inputs that the device holds
}

// TraceLine is one input.
type TraceLine struct {
	Pin       edge.Pin `json:"pin"`
	Request   string   `json:"request"`
	Level     bool     `json:"level"`               // logical, after debounce, at the beginning
	ActiveLow bool     `json:"active_low"`          // the physical level is the other one
	Debounced string   `json:"debounced,omitempty"` // the edges are behind this debounce, and are replayed without one
}

// TraceEdge is an edge as the kernel gave it.
type TraceEdge struct {
	Pin       edge.Pin `json:"pin"`
	Rising    bool     `json:"rising"` // logical
	High      bool     `json:"high"`   // the physical level after it
	Mono      int64    `json:"mono"`   // the kernel's stamp
	Seqno     uint32   `json:"seqno"`
	LineSeqno uint32   `json:"line_seqno"`
	Request   string   `json:"request"`
	ByAgent   bool     `json:"by_agent,omitempty"` // stamped by the agent
}

// TraceReading is what a sampled sensor said, before anything judged it.
type TraceReading struct {
	Mono  int64             `json:"mono"`
	Value *float64          `json:"value,omitempty"`
	Other json.RawMessage   `json:"other,omitempty"` // in place of a number
	More  []json.RawMessage `json:"more,omitempty"`  // further members, each as {"key": value}
	Why   string            `json:"why,omitempty"`   // why there is no value
	Doubt string            `json:"doubt,omitempty"` // why it can't be true
	Error string            `json:"error,omitempty"` // the reading failed
}

// TraceStep is a line of a trace after the first: one of these.
type TraceStep struct {
	Edge    *TraceEdge    `json:"edge,omitempty"`
	Reading *TraceReading `json:"reading,omitempty"`
	Lost    uint64        `json:"lost,omitempty"` // so many steps were not written: the reader was too slow
	End     int64         `json:"end,omitempty"`  // the last line: CLOCK_MONOTONIC at the end
	Why     string        `json:"why,omitempty"`  // of the last line: it ended before it was to
}

// mono is when the step was; 0 where it has no time.
func (s *TraceStep) mono() int64 {
	switch {
	case s.Edge != nil:
		return s.Edge.Mono
	case s.Reading != nil:
		return s.Reading.Mono
	}
	return s.End
}

// Trace is what was recorded of one device.
type Trace struct {
	Head  TraceHead
	Steps []TraceStep
	Lost  uint64 // steps that the recorder could not keep
	Whole bool   // it has its last line
	Why   string // why it ended before it was to; "" where it did not
}

// End is the time of the last step, on the recorded board's CLOCK_MONOTONIC.
func (t *Trace) End() int64 {
	end := t.Head.Mono
	for i := range t.Steps {
		end = max(end, t.Steps[i].mono())
	}
	return end
}

// ReadTrace reads a trace. The error names the line. One that was cut off, in the midst
// of a line too, is fine, and is not Whole.
func ReadTrace(r io.Reader) (*Trace, error) {
	t := &Trace{}
	head, err := ScanTrace(r, func(s TraceStep) {
		t.Lost += s.Lost
		if s.End != 0 {
			t.Whole, t.Why = true, s.Why
		}
		t.Steps = append(t.Steps, s)
	})
	if err != nil {
		return nil, err
	}
	t.Head = head
	return t, nil
}

// ScanTrace is ReadTrace that keeps no step: each gets one after the other.
func ScanTrace(r io.Reader, each func(TraceStep)) (head TraceHead, err error) {
	in, torn := bufio.NewScanner(r), false
	in.Buffer(nil, maxTraceLine)
	in.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		torn = atEOF && len(data) > 0 && !bytes.Contains(data, []byte("\n"))
		return bufio.ScanLines(data, atEOF)
	})
	n := 1
	for ; in.Scan(); n++ {
		line := bytes.TrimSpace(in.Bytes())
		var s TraceStep
		switch {
		case n == 1:
			err = head.read(line)
		case len(line) == 0:
			continue
		default:
			s, err = head.step(line)
		}
		switch {
		case err != nil && n > 1 && torn:
			return head, nil
		case err != nil:
			return head, fmt.Errorf("read trace, line %d: %w", n, err)
		case n > 1:
			each(s)
		}
	}
	if err := in.Err(); err != nil {
		return head, fmt.Errorf("read trace, line %d: %w", n, err)
	}
	if head.Format == "" {
		return head, errors.New("read trace: it is empty")
	}
	return head, nil
}

// read reads the first line.
func (h *TraceHead) read(line []byte) error {
	if err := json.Unmarshal(line, h); err != nil {
		return err
	}
	switch {
	case h.Format != "trace":
		return errors.New(`it is no trace: that begins with {"fieldpost":"trace"`)
	case h.Version != TraceVersion:
		return fmt.Errorf("it is of version %d, this program knows %d", h.Version, TraceVersion)
	case h.Device == "" || h.Driver == "":
		return errors.New("it names no device and driver")
	case h.Mono < 0 || h.Mono > maxTraceMono:
		return fmt.Errorf("mono is %d: no board runs so long", h.Mono)
	}
	return nil
}

// step reads a line after the first. What waited in a line's queue when the recording
// began is older than the head.
func (h *TraceHead) step(line []byte) (s TraceStep, err error) {
	if err := json.Unmarshal(line, &s); err != nil {
		return s, err
	}
	switch mono := s.mono(); {
	case s.Edge == nil && s.Reading == nil && s.Lost == 0 && s.End == 0:
		return s, errors.New("it is neither an edge, a reading, what was lost nor the end")
	case mono < 0 || mono > h.Mono+int64(maxTraceSpan):
		return s, fmt.Errorf("its time is %d, and that of the first line %d: a trace lasts %s at most", mono, h.Mono, maxTraceSpan)
	}
	return s, nil
}
