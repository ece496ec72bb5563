package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// MaxBuffer is the most edges that wait in a line's queue: the kernel gives no
// request more (FACTS.md 8).
const MaxBuffer = 1024

// Bias is the pull resistor of a line.
type Bias uint8

// The biases.
const (
	BiasAsIs Bias = iota
	BiasOff
	BiasUp
	BiasDown
)

// EdgeMask says which edges of an input are told. The zero mask tells none.
type EdgeMask uint8

// The masks.
const (
	Rising  EdgeMask = 1
	Falling EdgeMask = 2
	Both             = Rising | Falling
)

// Initial is the level that an output is requested with, in the same step, so
// that it is never at another.
type Initial uint8

// The initial levels. Keep takes over the level that the line has.
const (
	Low Initial = iota
	High
	Keep
)

// LineConfig says what is asked of a line. Levels and edges are logical: with
// ActiveLow, true means a low voltage.
type LineConfig struct {
	Consumer  string // who holds it, as others see it: "fieldpost:door"
	Park      string // the name under which the request may outlive its owner; "" never
	Output    bool
	Initial   Initial       // outputs only
	ActiveLow bool          //
	Bias      Bias          //
	Edges     EdgeMask      // inputs only
	Debounce  time.Duration // inputs only; 0 off
	Buffer    int           // edges that wait; 0 means MaxBuffer, and more than that is cut to it
}

// Edge is one change of an input's level.
type Edge struct {
	Rising    bool   // to true
	Mono      int64  // nanoseconds on CLOCK_MONOTONIC: the kernel's stamp, after the debounce period
	Seqno     uint32 // counts the edges of the request, from 1
	LineSeqno uint32 // counts the edges of the line in this request, from 1; 0 where nobody counts
	ByAgent   bool   // stamped by the agent when it noticed, not by the kernel
}

// Line is one request of one line. NextEdge is for one goroutine at a time; all
// else may be called from any.
type Line interface {
	// ID names the request. It is the same after the line was parked and taken
	// over again, and only then do LineSeqnos go on from those seen before.
	ID() string
	// Kernel reports whether edges are queued, stamped and counted outside of
	// this process. If not, edges are seen only while NextEdge waits.
	Kernel() bool
	// NextEdge waits for an edge until ctx is done. An edge that waits already is
	// given even under a done ctx, so that a done one drains the queue.
	NextEdge(ctx context.Context) (Edge, error)
	// Level is the present logical level; of an output, the one that it was set to.
	Level() (bool, error)
	// Set sets an output and gives the time just after it was done.
	Set(level bool) (mono int64, err error)
	// Close releases the line. A second one does nothing.
	Close() error
	// Park lets go of the line without releasing it, where LineConfig.Park names
	// it; else it is Close.
	Park() error
}

// LineInfo is what a chip tells of a line without holding it.
type LineInfo struct {
	Consumer  string // "" where nobody holds it
	Output    bool
	ActiveLow bool
	Level     *bool // the physical level, where it can be known without a request
}

// Chip hands out lines by their offset. The simulated board is one, the kernel's
// character device is the other.
type Chip interface {
	// Request takes a line. The error is a *BusyError where another holds it, and
	// wraps edge.ErrAbsent where the line or the chip is gone.
	Request(offset int, cfg LineConfig) (Line, error)
	// Info may be asked of any line at any time; it changes nothing.
	Info(offset int) (LineInfo, error)
}

// BusyError says that another holds a line. It is unix.EBUSY to errors.Is.
type BusyError struct {
	Line   string
	Holder string // "" where the kernel didn't say
}

// Error names the holder.
func (e *BusyError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("request line %s: another program or the kernel holds it", e.Line)
	}
	return fmt.Sprintf("request line %s: %s holds it", e.Line, e.Holder)
}

// Unwrap gives the errno.
func (e *BusyError) Unwrap() error { return unix.EBUSY }

// absence is edge.ErrAbsent with its cause, which says more than that word.
type absence struct {
	what  string
	cause error
}

// Error says what was tried, and why it can't be.
func (e *absence) Error() string { return e.what + ": " + e.cause.Error() }

// Unwrap gives edge.ErrAbsent and the cause, such as an errno.
func (e *absence) Unwrap() []error { return []error{edge.ErrAbsent, e.cause} }

// absentError says that something is not there; a nil cause adds nothing to that.
func absentError(what string, cause error) error {
	if cause == nil {
		cause = edge.ErrAbsent
	}
	return &absence{what, cause}
}

// check refuses a config that no kernel would take.
func (c *LineConfig) check() error {
	switch {
	case c.Output && (c.Edges != 0 || c.Debounce != 0):
		return fmt.Errorf("an output has no edges and no debounce: %w", unix.EINVAL)
	case c.Debounce < 0:
		return fmt.Errorf("debounce %s is negative: %w", c.Debounce, unix.EINVAL)
	}
	return nil
}

// buffer is the number of edges that the queue holds.
func (c *LineConfig) buffer() int {
	if c.Buffer <= 0 || c.Buffer > MaxBuffer {
		return MaxBuffer
	}
	return c.Buffer
}

// drain takes the edges that wait in a line's queue, at most a queue full.
func drain(l Line) (es []Edge, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for len(es) < MaxBuffer {
		e, err := l.NextEdge(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

// within waits for an edge of a line for d.
func within(ctx context.Context, l Line, d time.Duration) (Edge, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return l.NextEdge(ctx)
}

// judge makes something of the edges of one line.
type judge interface {
	// edge takes an edge.
	edge(e Edge)
	// wait is how long to wait for the next one; settled is what quiet said last,
	// and false after an edge.
	wait(settled bool) time.Duration
	// quiet looks at the line when none came.
	quiet(ctx context.Context) (settled bool, err error)
}

// follow gives a judge the edges of its line until ctx is done, and those that
// wait then.
func follow(ctx context.Context, l Line, j judge) error {
	for settled, after := false, 0; after <= MaxBuffer; { // a line that never rests must not hold up the stop
		e, err := within(ctx, l, j.wait(settled))
		switch {
		case err == nil:
			j.edge(e)
			settled = false
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			if settled, err = j.quiet(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		default:
			return err
		}
		if ctx.Err() != nil {
			after++
		}
	}
	return nil
}
