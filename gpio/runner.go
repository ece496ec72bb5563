package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/edge"
)

// A device that stopped is tried again after firstWait, then each time after
// twice as long, up to lastWait. One that ran for stable begins anew.
const (
	firstWait = time.Second
	lastWait  = time.Minute
	stable    = time.Minute
)

// runner is one device of a fleet. A reload that changes what is only told of the
// device makes another runner of the same post.
type runner struct {
	spec Spec
	*post
}

// post runs one device, alone.
type post struct {
	dev  Device
	out  *Outlet
	held *heldLines
	tap  *tap
	twin *Twin
	log  *slog.Logger

	away  atomic.Bool // a reload stops it: it takes no command
	shift *shift      // the present run, or the last; the Source's turn guards it
}

// shift is one run of a post, from its start until it was told to stop and did.
type shift struct {
	stop  context.CancelFunc
	done  chan struct{} // closed when it has left its hardware, and told all
	tried chan struct{} // closed when it has its lines, works, or failed
}

// do commands the device.
func (p *post) do(a Action) (Result, error) {
	if p.away.Load() {
		return Result{}, fmt.Errorf("%w: the device is being reloaded: try again", edge.ErrAbsent)
	}
	return p.dev.(Commander).Do(a)
}

// heldLines are the lines that a device requested in its present run.
type heldLines struct {
	mu      sync.Mutex
	lines   []Line
	refused error // why the board gave it no line last; nil where it did
	want    int   // so many lines are all
	all     func()
}

func newHeldLines() *heldLines { return &heldLines{all: func() {}} }

// expect calls all once a run has its lines.
func (h *heldLines) expect(lines int, all func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.want, h.all, h.refused = lines, all, nil
}

func (h *heldLines) add(l Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = nil
	if h.lines = append(h.lines, l); len(h.lines) == h.want {
		h.all()
	}
}

// refuse notes that the board gave a line to nobody.
func (h *heldLines) refuse(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = err
}

// refusal is why the device has no line; nil where it has.
func (h *heldLines) refusal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

// release closes what a run left open, as one that panicked does. A line that
// was closed or parked stays as it is.
func (h *heldLines) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lines {
		_ = l.Close() // why the run ended is what matters
	}
	h.lines = nil
}

// run runs the device again and again until ctx is done.
func (r *runner) run(ctx context.Context) {
	chance := r.twin.begin(ctx, r)
	for wait := firstWait; ; {
		began := time.Now()
		r.tap.begin(r.out.clock.Stamp().Mono)
		err := r.once(func() error { return r.dev.Run(ctx, r.out) })
		r.tap.done()
		if ctx.Err() != nil {
			if err != nil {
				r.log.Error("device stopped badly", "err", err)
			}
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		how := "failed"
		if errors.Is(err, edge.ErrAbsent) {
			how = "absent"
		}
		if r.out.fail(how, err) {
			r.log.Warn("device is "+how, "err", err)
		}
		if time.Since(began) >= stable {
			wait = firstWait
		}
		pause(ctx, wait/2+chance(wait/2))
		if ctx.Err() != nil {
			r.leave()
			return
		}
		wait = min(2*wait, lastWait)
	}
}

// leave leaves the hardware safe after a run that could not.
func (r *runner) leave() {
	l, ok := r.dev.(leaver)
	if !ok {
		return
	}
	if err := r.once(l.leave); err != nil {
		r.log.Error("device is not left as stop says", "err", err)
	}
}

// once has the device do something; a panic is its failure, not the agent's.
func (r *runner) once(do func() error) (err error) {
	defer r.held.release()
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("device panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

// pins are the lines of the device.
func (r *runner) pins() []edge.Pin {
	if h, ok := r.dev.(holder); ok {
		return h.Pins()
	}
	return nil
}

// status is the device as others see it.
func (r *runner) status() edge.DeviceStatus {
	d := r.out.device()
	for _, p := range r.pins() {
		d.Pins = append(d.Pins, string(p))
	}
	if c, ok := r.dev.(Commander); ok {
		d.Commands, d.Remote = c.Verbs(), c.Remote()
	}
	return d
}
