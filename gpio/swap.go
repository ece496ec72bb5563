package gpio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The bounds of a swap. A device leaves its hardware within a transaction or two;
// lines are had at once, but for those that come out of systemd's descriptor store.
const (
	leaveWithin = 5 * time.Second
	lineWithin  = 3 * time.Second
	flushWithin = 2 * time.Second
)

// begin starts a device. The caller has s.turn.
func (s *Source) begin(r *runner) {
	before := r.shift
	ctx, stop := context.WithCancel(s.ctx)
	sh := &shift{stop: stop, done: make(chan struct{}), tried: make(chan struct{})}
	tried := sync.OnceFunc(func() { close(sh.tried) })
	r.shift = sh
	r.out.begin(tried)
	r.held.expect(len(r.pins()), tried)
	r.away.Store(false)
	s.wg.Go(func() {
		defer close(sh.done)
		defer stop()
		if before != nil {
			<-before.done // it hangs, where it has not left by now
		}
		if ctx.Err() == nil {
			r.run(ctx)
			r.out.drain() // before the one in its place tells anything
		}
	})
}

// Swap puts the plan in force: devices that left or changed leave their hardware as
// their stop says, then the others start, while all that are the same run on. Where
// one gets no line the old devices are started again, and the error says why; so it
// is where a device does not stop. It blocks until the lines are had, for 11 s at
// most, and is given up once ctx or Run's is done.
func (p *Plan) Swap(ctx context.Context) error {
	s := p.source
	select {
	case <-s.ran:
	case <-ctx.Done():
		return fmt.Errorf("swap devices: they don't run: %w", ctx.Err())
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("swap devices: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	if s.ctx == nil || s.ctx.Err() != nil {
		return errors.New("swap devices: they don't run")
	}
	if s.now() != p.old {
		return errSwapped
	}
	if err := s.dismiss(ctx, p.leave); err != nil {
		return errors.Join(err, s.back(p.leave))
	}
	for _, r := range p.enter {
		if old := p.before[r.post]; old != nil {
			r.out.inherit(old.out)
		}
	}
	p.uplinks = s.heard.rename(p.uplinks, s.asksOffline() > 0)
	s.fleet.Store(p.next)
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.undo())
	}
	for _, settle := range p.settle {
		settle()
	}
	s.part(p.leave, p.next)
	s.flush()
	return nil
}

// dismiss stops devices and waits until they have left their hardware.
func (s *Source) dismiss(ctx context.Context, leave []*runner) error {
	for _, r := range leave {
		r.away.Store(true)
		r.shift.stop()
	}
	wait := time.NewTimer(leaveWithin)
	defer wait.Stop()
	for _, r := range leave {
		select {
		case <-r.shift.done:
			continue
		default: // a select may choose what is not the device's end
		}
		select {
		case <-r.shift.done:
		case <-wait.C:
			return fmt.Errorf("stop device %s: it does not end within %s", r.spec.Name, leaveWithin)
		case <-ctx.Done():
			return fmt.Errorf("stop device %s: %w", r.spec.Name, ctx.Err())
		}
	}
	return nil
}

// back starts devices again that were stopped.
func (s *Source) back(left []*runner) error {
	if s.ctx.Err() != nil {
		return errors.New("start the old devices again: the agent stops")
	}
	for _, r := range left {
		s.begin(r)
	}
	return nil
}

// start starts the new devices and waits until they have their lines. One that has
// none in time is slow, and no reason to go back; nor is one whose line the device
// before it did not have either.
func (p *Plan) start(ctx context.Context) error {
	s := p.source
	for _, r := range p.enter {
		s.begin(r)
	}
	wait := time.NewTimer(lineWithin)
	defer wait.Stop()
	late := false
	for _, r := range p.enter {
		if len(r.pins()) == 0 {
			continue
		}
		if !late {
			select {
			case <-r.shift.tried:
			case <-wait.C:
				late = true
			case <-ctx.Done():
				return fmt.Errorf("start device %s: %w", r.spec.Name, ctx.Err())
			}
		}
		if err := r.held.refusal(); err != nil && !p.lame[r.spec.Name] {
			return &DeviceError{r.spec.Name, err}
		}
	}
	return nil
}

// undo puts the old devices in the place of the new ones. ctx may be what ended the
// new ones, and does not end this.
func (p *Plan) undo() error {
	s := p.source
	err := s.dismiss(context.Background(), p.enter)
	s.part(p.enter, p.old)
	for _, r := range p.enter {
		if old := p.before[r.post]; old != nil {
			old.out.inherit(r.out)
		}
	}
	s.fleet.Store(p.old)
	s.heard.restore(p.uplinks)
	return errors.Join(err, s.back(p.leave))
}

// flush lets the rows of devices that left reach the store: one of the same name
// that comes later goes on with them.
func (s *Source) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := s.opt.Pump.Commit(ctx); err != nil {
		s.opt.Log.Warn("store what the devices that left told last", "err", err)
	}
}

// part ends what went by devices that are no more: who records one is told, and what
// they parked is released.
func (s *Source) part(left []*runner, next *fleet) {
	for _, r := range left {
		switch now := next.byName[r.spec.Name]; {
		case now == nil:
			r.tap.end("a reload took the device away")
		case now.post != r.post:
			r.tap.end("a reload put another device in its place")
		}
	}
	s.forget(left, next)
}

// forgetter is a chip that keeps parked requests by itself. Those of the kernel's
// board are KernelBoard.Release's.
type forgetter interface{ forget(offset int) }

// forget releases the lines that devices parked and that no device has any more.
func (s *Source) forget(left []*runner, next *fleet) {
	kept := next.lines()
	for _, r := range left {
		for _, pin := range r.pins() {
			p, ok := find(s.opt.Lookup, pin).(*linePin)
			if !ok || slices.Contains(kept, pin) {
				continue
			}
			if c, ok := p.chip.(forgetter); ok {
				c.forget(p.offset)
			}
		}
	}
}
