package gpio

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/edge"
)

// What a recorder may hold that its reader has not taken, and how long a line must
// rest until what the device stored is of its last edge.
const (
	tapHolds = 4096
	tapRests = 20 * time.Millisecond
	tapTries = 50
)

// tap sits between a device and its hardware. It costs two atomic loads an edge
// while nobody records.
type tap struct {
	to    atomic.Pointer[recorder] // nil: nobody records
	began atomic.Int64             // when the schedule of the present run began, on CLOCK_MONOTONIC
	over  chan struct{}            // closed when the device is no more

	mu    sync.Mutex
	lines []*tappedLine // of the present run
	why   string        // it is no more; "" while it is
}

func newTap() *tap { return &tap{over: make(chan struct{})} }

// end is the end of the device, whose hardware it has left.
func (t *tap) end(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == "" {
		t.why = why
		close(t.over)
	}
}

// ended is why the device is no more; "" while it is.
func (t *tap) ended() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why
}

// recorder is one who records. What it can't hold is counted, and told in its place.
type recorder struct {
	mu    sync.Mutex
	steps chan TraceStep
	lost  uint64
}

// put never blocks: it is on the way of an input pin.
func (r *recorder) put(s TraceStep) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost > 0 {
		select {
		case r.steps <- TraceStep{Lost: r.lost}:
			r.lost = 0
		default:
		}
	}
	if r.lost == 0 {
		select {
		case r.steps <- s:
			return
		default:
		}
	}
	r.lost++
}

// tappedLine is an input whose edges can be recorded.
type tappedLine struct {
	Line
	tap   *tap
	pin   edge.Pin
	cfg   LineConfig
	given atomic.Uint64 // edges so far
}

// wrap gives a device a line that can be recorded. An output is told by the device's
// own events.
func (t *tap) wrap(pin edge.Pin, cfg LineConfig, line Line) Line {
	if cfg.Output {
		return line
	}
	l := &tappedLine{Line: line, tap: t, pin: pin, cfg: cfg}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, l)
	return l
}

// ticks is when the schedule of the present run began.
func (t *tap) ticks(mono int64) { t.began.Store(mono) }

// begin is the start of a run of the device.
func (t *tap) begin(mono int64) {
	t.ticks(mono)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = nil
}

// done is the end of a run: it has closed or parked its lines.
func (t *tap) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = nil
}

// NextEdge gives the edge, and records it.
func (l *tappedLine) NextEdge(ctx context.Context) (Edge, error) {
	e, err := l.Line.NextEdge(ctx)
	if err != nil {
		return e, err
	}
	l.given.Add(1)
	if to := l.tap.to.Load(); to != nil {
		to.put(TraceStep{Edge: &TraceEdge{Pin: l.pin, Rising: e.Rising, High: e.Rising != l.cfg.ActiveLow, Mono: e.Mono,
			Seqno: e.Seqno, LineSeqno: e.LineSeqno, Request: l.ID(), ByAgent: e.ByAgent}})
	}
	return e, nil
}

// reading records what a sensor said.
func (t *tap) reading(mono int64, r reading, err error) {
	to := t.to.Load()
	if to == nil {
		return
	}
	step := &TraceReading{Mono: mono, Other: r.other, Why: r.why, Doubt: r.doubt}
	if r.other == nil && r.why == "" && err == nil {
		step.Value = &r.value
	}
	for _, f := range r.more {
		step.More = append(step.More, fmt.Appendf(nil, "{%s:%s}", quote(f.Key), f.Value))
	}
	if err != nil {
		step.Error = err.Error()
	}
	if !finite(step.Value) { // JSON has no such number
		step.Value, step.Why = nil, "reading "+fmt.Sprint(r.value)
	}
	to.put(TraceStep{Reading: step})
}

// finite reports whether JSON can tell a number; none is fine.
func finite(v *float64) bool { return v == nil || !math.IsNaN(*v) && !math.IsInf(*v, 0) }

// Record writes a trace of a device, line by line, until ctx is done, or a reload takes
// the device away or puts another in its place, as the last line then says: head fills in
// what the Source does not know, and write gets each line with its newline. It blocks
// nothing of the device: what write is too slow for is told as lost. The error is
// edge.ErrNoDevice, edge.ErrRefused where another records it, or write's.
func (s *Source) Record(ctx context.Context, device string, head func(*TraceHead), write func(line []byte) error) error {
	r, ok := s.now().byName[device]
	if !ok {
		return fmt.Errorf("device %q: %w", device, edge.ErrNoDevice)
	}
	rec := &recorder{steps: make(chan TraceStep, tapHolds)}
	if !r.tap.to.CompareAndSwap(nil, rec) {
		return fmt.Errorf("%w: %s is being recorded already", edge.ErrRefused, device)
	}
	defer r.tap.to.CompareAndSwap(rec, nil) // once it has ended, another may record
	h, err := r.traceHead(ctx, rec, s.opt.Clock)
	if err != nil {
		return err
	}
	head(h)
	if err := writeStep(h, write); err != nil {
		return err
	}
	for {
		select {
		case step := <-rec.steps:
			if err := writeStep(step, write); err != nil {
				return err
			}
		case <-r.tap.over:
			return rec.end(r.tap, s.opt.Clock.Stamp().Mono, write)
		case <-ctx.Done():
			return rec.end(r.tap, s.opt.Clock.Stamp().Mono, write)
		}
	}
}

// end writes what is left, and the last line. The lock is not held over a write: an edge
// that is on its way may still want it.
func (r *recorder) end(t *tap, mono int64, write func(line []byte) error) error {
	t.to.CompareAndSwap(r, nil)
	r.mu.Lock()
	left := make([]TraceStep, 0, len(r.steps)+1)
	for len(r.steps) > 0 {
		left = append(left, <-r.steps)
	}
	if r.lost > 0 {
		left = append(left, TraceStep{Lost: r.lost})
	}
	r.mu.Unlock()
	for _, step := range left {
		if err := writeStep(step, write); err != nil {
			return err
		}
	}
	return writeStep(TraceStep{End: mono, Why: t.ended()}, write)
}

func writeStep(v any, write func(line []byte) error) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return write(append(b, '\n'))
}

// traceHead is where the device stands, between two of its edges: its stored state is
// that after the last one. A line that never rests is taken as it is.
func (r *runner) traceHead(ctx context.Context, rec *recorder, clock Clock) (*TraceHead, error) {
	for n := 1; ; n++ {
		before := r.tap.edges()
		pause(ctx, tapRests)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		h := &TraceHead{Format: "trace", Version: TraceVersion, Device: r.spec.Name, Driver: r.spec.Driver, Began: r.tap.began.Load()}
		stamp := clock.Stamp()
		h.Mono = stamp.Mono
		h.Time, _, _ = clock.Time(stamp)
		r.out.trace(h)
		if err := r.tap.trace(h); err != nil {
			return nil, err
		}
		rec.mu.Lock()
		if rest := r.tap.edges() == before; rest || n == tapTries {
			for n := len(rec.steps); n > 0; n-- {
				if step := <-rec.steps; !rest && !h.stored(step) { // else from before the head
					rec.steps <- step
				}
			}
			rec.mu.Unlock()
			return h, nil
		}
		for len(rec.steps) > 0 {
			<-rec.steps
		}
		rec.lost = 0
		rec.mu.Unlock()
	}
}

// stored reports whether the device had stored an edge when the head was taken: its twin
// would have it twice.
func (h *TraceHead) stored(s TraceStep) bool {
	var row struct {
		State struct {
			Request   string `json:"request"`
			LineSeqno uint32 `json:"line_seqno"`
		} `json:"state"`
	}
	return s.Edge != nil && json.Unmarshal(h.State, &row) == nil &&
		s.Edge.Request == row.State.Request && int32(s.Edge.LineSeqno-row.State.LineSeqno) <= 0 // wraps as the kernel's number does
}

// edges is how many edges the device got in this run.
func (t *tap) edges() (n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		n += l.given.Load()
	}
	return n
}

// trace fills in the lines.
func (t *tap) trace(h *TraceHead) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		level, err := l.Level()
		if err != nil {
			return fmt.Errorf("read %s: %w", l.pin, err)
		}
		line := TraceLine{Pin: l.pin, Request: l.ID(), Level: level, ActiveLow: l.cfg.ActiveLow}
		if l.cfg.Debounce > 0 {
			line.Debounced = l.cfg.Debounce.String()
		}
		h.Lines = append(h.Lines, line)
	}
	return nil
}

// trace fills in what was stored and told.
func (o *Outlet) trace(h *TraceHead) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h.State = o.stored
	if h.State == nil {
		h.State, _ = o.rows.Get(stateTable, o.key())
	}
	h.Unit = o.status.unit
	var v *float64 // null stays nil
	if o.status.since != nil && json.Unmarshal(o.status.value, &v) == nil {
		h.Told, h.ToldAt = v, o.status.since.Mono
	}
}
