package gpio

import (
	"context"
	"errors"
	"time"

	"fieldpost/edge"
)

// holdDebounce is how long the level of the agent's button is stable before it counts.
const holdDebounce = 30 * time.Millisecond

// HoldOptions say how the agent's own button is held. Pin, Steps and Tell are needed.
type HoldOptions struct {
	Pin       edge.Pin
	ActiveLow bool            // pressed is a low voltage, and the pull is up; else the pull is down
	Steps     []time.Duration // ascending: how long it is held to do the first, the second...
	Stuck     time.Duration   // held for longer than this it does nothing
	Ready     func()          // called once the line is ours; may be nil
	// Tell hears of the press, of each step while it is held, and of its end. The next
	// edge is looked at when it has returned: those until then wait in the kernel.
	Tell func(Hold)
}

// Hold is one press of the agent's button.
type Hold struct {
	Down  bool          // it is held now
	Step  int           // how many of the steps it has reached; 0: none
	Stuck bool          // it is held for too long: the press does nothing
	For   time.Duration // of a press that is over, how long it took; 0: how long is not known, and it does nothing
}

// Hold follows the agent's button until ctx is done, or it fails. A press that began
// before is ignored until it is let go of, as is one of which an edge was lost. Times are
// between the kernel's stamps.
func (s *Source) Hold(ctx context.Context, opt HoldOptions) error {
	cfg := LineConfig{ActiveLow: opt.ActiveLow, Bias: BiasDown, Edges: Both, Debounce: holdDebounce}
	if opt.ActiveLow {
		cfg.Bias = BiasUp
	}
	line, err := s.ownLine("button", opt.Pin, cfg)
	if err != nil {
		return err
	}
	h := &press{ctx: ctx, opt: opt, line: line, clock: s.opt.Clock}
	if h.level, err = line.Level(); err == nil {
		if opt.Ready != nil {
			opt.Ready()
		}
		err = follow(ctx, line, h)
	}
	h.void()
	return errors.Join(err, line.Close())
}

// press judges the edges of the agent's button.
type press struct {
	ctx   context.Context
	opt   HoldOptions
	line  Line
	clock Clock

	level bool
	seqno uint32 // of the last edge
	down  int64  // when the press that counts began; 0: there is none
	step  int
	stuck bool
}

var _ judge = (*press)(nil)

// edge takes an edge. One after a hole ends the press before it.
func (h *press) edge(e Edge) {
	if e.Rising == h.level || e.LineSeqno != 0 && e.LineSeqno != h.seqno+1 {
		h.void()
	}
	h.level, h.seqno = e.Rising, e.LineSeqno
	switch {
	case h.ctx.Err() != nil: // the agent stops: nothing is begun
	case e.Rising:
		h.down, h.step, h.stuck = e.Mono, 0, false
		h.opt.Tell(Hold{Down: true})
	case h.down != 0:
		held := time.Duration(e.Mono - h.down)
		h.down = 0
		h.opt.Tell(Hold{Step: h.reached(held), Stuck: held > h.opt.Stuck, For: held})
	}
}

// void ends a press that can't be judged.
func (h *press) void() {
	if h.down == 0 {
		return
	}
	h.down = 0
	h.opt.Tell(Hold{})
}

// reached counts the steps that a time reaches.
func (h *press) reached(held time.Duration) (n int) {
	for n < len(h.opt.Steps) && held >= h.opt.Steps[n] {
		n++
	}
	return n
}

// wait is until the next step at most.
func (h *press) wait(settled bool) time.Duration {
	wait := askEvery
	if !settled {
		wait = settleAfter
	}
	if h.down == 0 || h.stuck {
		return wait
	}
	next := h.opt.Stuck + time.Nanosecond
	if h.step < len(h.opt.Steps) {
		next = h.opt.Steps[h.step]
	}
	return min(wait, max(0, next-h.passed()))
}

// passed is how long it is held by now.
func (h *press) passed() time.Duration { return time.Duration(h.clock.Stamp().Mono - h.down) }

// quiet looks at the level, and tells the steps that a press has reached. A level that no
// edge told of ends a press, and begins none.
func (h *press) quiet(ctx context.Context) (settled bool, err error) {
	level, err := h.line.Level()
	if err != nil {
		return false, err
	}
	if level == h.level {
		h.advance()
		return true, nil
	}
	e, err := within(ctx, h.line, missWithin)
	switch {
	case err == nil:
		h.edge(e)
		return false, nil
	case !errors.Is(err, context.DeadlineExceeded):
		return false, err
	}
	if level, err = h.line.Level(); err == nil && level != h.level {
		h.void()
		h.level = level
		h.seqno++ // of the edge that is missing
	}
	return false, err
}

// advance tells of the steps that time alone reaches.
func (h *press) advance() {
	if h.down == 0 || h.stuck || h.ctx.Err() != nil {
		return
	}
	held := h.passed()
	step, stuck := h.reached(held), held > h.opt.Stuck
	if step == h.step && !stuck {
		return
	}
	h.step, h.stuck = step, stuck
	h.opt.Tell(Hold{Down: true, Step: step, Stuck: stuck})
}
