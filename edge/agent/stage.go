package agent

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// The budgets of the drain. Their sum stays below the unit's TimeoutStopSec.
const (
	reloadBudget = 1 * time.Second // one that is under way is given up
	intakeBudget = 2 * time.Second // devices leave their outputs safe
	pumpBudget   = 3 * time.Second // what waits is flushed
	uplinkBudget = 7 * time.Second // 4 s for the last batches, 3 s for saying goodbye; the rest stays on disk
	apiBudget    = 3 * time.Second // requests end, within the API's own 2 s; streams are ended
)

// stage is a set of goroutines that end together.
type stage struct {
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan<- error // gets the first error of a part that ended by itself
}

// newStage makes a stage whose parts run until end is called.
func newStage(name string, failed chan<- error) *stage {
	s := &stage{name: name, failed: failed}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// run starts one part. A part that ends with an error, or panics, ends the agent.
func (s *stage) run(what string, part func(context.Context) error) {
	s.wg.Go(func() {
		if err := guarded(s.ctx, part); err != nil && s.ctx.Err() == nil {
			select {
			case s.failed <- fmt.Errorf("run %s: %w", what, err):
			default: // one reason to stop is enough
			}
		}
	})
}

// guarded turns a panic into an error: the agent then drains what it can.
func guarded(ctx context.Context, part func(context.Context) error) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("panic: %v\n%s", x, debug.Stack())
		}
	}()
	return part(ctx)
}

// end tells the parts to stop and waits for them, at most for the budget.
func (s *stage) end(budget time.Duration) error {
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(budget):
		return fmt.Errorf("stop %s: not done within %v", s.name, budget)
	}
}
