package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/queue"
)

const (
	// reloadWithin bounds a reload: devices have 16 s at most to leave, start and go
	// back, uplinks their budget of a stop. A client waits 30 s for its answer.
	reloadWithin = 25 * time.Second
	// auditWithin bounds the wait for the flush of the event that tells it.
	auditWithin = 2 * time.Second
)

// fromSignal is who asked for a reload with a signal.
const fromSignal = "system:reload"

// reloads lets one reload at a time go on, until the agent stops.
type reloads struct {
	turn chan struct{} // has a token while one is under way, before begin, and for good after end
	over context.Context
	stop context.CancelFunc

	mu  sync.Mutex
	why string // the last one was refused; "" where it was not
}

func newReloads() *reloads {
	r := &reloads{turn: make(chan struct{}, 1)}
	r.over, r.stop = context.WithCancel(context.Background())
	r.turn <- struct{}{}
	return r
}

// begin lets the first reload go on.
func (r *reloads) begin() { <-r.turn }

// end gives up the reload that is under way, and lets no other begin.
func (r *reloads) end(budget time.Duration) error {
	r.stop()
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-time.After(budget):
		return fmt.Errorf("stop the reload: not done within %v", budget)
	}
}

// refused is why the last reload was; "" where it was not, and where none was.
func (r *reloads) refused() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

func (r *reloads) say(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why = ""; err != nil {
		r.why = err.Error()
	}
}

// config is the config that counts now.
func (a *agent) config() *config.Config {
	if cfg := a.taken.Load(); cfg != nil {
		return cfg
	}
	return a.opt.Config
}

// takeReloads reloads at each signal. One that comes while a client's reload is under
// way waits for it: what is on the disk now may be newer than what that one read.
func (a *agent) takeReloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-a.opt.Reload:
			if !ok {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case a.reloads.turn <- struct{}{}:
		}
		_, _ = a.reloadNow(context.WithoutCancel(ctx), fromSignal) // the log and the status tell what came of it
		<-a.reloads.turn
	}
}

// reload is a client's. It is refused while another is under way.
func (a *agent) reload(ctx context.Context, from string) (edge.Reloaded, error) {
	select {
	case a.reloads.turn <- struct{}{}:
	default:
		return edge.Reloaded{}, fmt.Errorf("reload the config: %w", edge.ErrReloading)
	}
	defer func() { <-a.reloads.turn }()
	return a.reloadNow(ctx, from)
}

// reloadNow loads the config and puts it in force. On any error the one before runs
// on. The caller has the turn.
func (a *agent) reloadNow(ctx context.Context, from string) (edge.Reloaded, error) {
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	defer context.AfterFunc(a.reloads.over, cancel)()
	a.notify.reloading(a.board.Mono())
	defer func() {
		if a.reloads.over.Err() == nil { // else it is stopping
			a.notify.ready()
		}
	}()
	done, err := a.exchange(ctx, from)
	a.reloads.say(err)
	if err != nil {
		a.log.Error("the config is not taken, the one before runs on", "from", from, "err", err)
		return done, err
	}
	for _, w := range done.Warnings {
		a.log.Warn(w)
	}
	a.log.Info("the config is taken", "from", from, "config", done.Config, "devices", done.Devices, "uplinks", done.Uplinks, "other", done.Other)
	return done, nil
}

// exchange does the work of a reload: load, check all, then the devices, which may
// still fail, then what can't.
func (a *agent) exchange(ctx context.Context, from string) (edge.Reloaded, error) {
	if a.opt.Load == nil {
		return edge.Reloaded{}, &edge.ReloadError{Reasons: []string{"this agent was started with a config that can't be loaded again"}}
	}
	next, err := a.opt.Load()
	if err != nil {
		return edge.Reloaded{}, loadError(err)
	}
	t, err := a.plan(next)
	if err != nil {
		return edge.Reloaded{}, err
	}
	if t.devices.TakesCommands() {
		a.countStart()
	}
	if err := t.devices.Swap(ctx); err != nil {
		t.uplinks.drop()
		return edge.Reloaded{}, &edge.ReloadError{Reasons: []string{err.Error()}}
	}
	before := a.config().Hash
	late := a.put(ctx, t)
	done := edge.Reloaded{Config: next.Hash, Before: before, Devices: t.devices.Changes, Uplinks: t.uplinks.changes,
		Other: append([]string{}, t.other...), Warnings: append(append([]string{}, next.Warnings...), late...)}
	if !done.Nothing() {
		a.tellReload(&done, from)
	}
	return done, nil
}

// loadError gives what Load returned its lines.
func loadError(err error) error {
	var probs *config.Problems
	if !errors.As(err, &probs) {
		return &edge.ReloadError{Config: true, Reasons: []string{err.Error()}}
	}
	no := &edge.ReloadError{Config: true}
	for _, p := range probs.List {
		no.Reasons = append(no.Reasons, p.String())
	}
	if probs.More > 0 {
		no.Reasons = append(no.Reasons, fmt.Sprintf("and %d more", probs.More))
	}
	return no
}

// put puts in force what can't fail any more. What takes long ends once ctx is done. late
// is what comes only with the next start or reload.
func (a *agent) put(ctx context.Context, t *turnover) (late []string) {
	a.taken.Store(t.next)
	if t.store {
		a.store.SetLimits(limitsOf(&t.next.Store))
		a.store.SetHeadroom(int64(t.next.Store.Headroom))
		a.wear.allow(t.next.Store.Wear.PerDay())
	}
	if err := t.api(ctx); err != nil {
		late = append(late, fmt.Sprintf("the mailboxes of the config are not all stored, which the next reload or start tries again: %v", err))
	}
	a.uplinks.swap(ctx, t.uplinks)
	if a.lines != nil {
		a.lines.Release(a.source.Lines())
	}
	return late
}

// tellReload tells what changed, into the ring of what people look up later.
func (a *agent) tellReload(done *edge.Reloaded, from string) {
	ev := systemEvent("reload", map[string]any{"config": done.Config, "before": done.Before, "devices": done.Devices, "uplinks": done.Uplinks, "other": done.Other})
	ev.Ring, ev.From = edge.RingAudit, from
	ctx, cancel := context.WithTimeout(context.Background(), auditWithin)
	defer cancel()
	if _, err := a.pump.CommitWith(ctx, []edge.Event{ev}, []queue.Row{}); err != nil {
		a.log.Warn("store the event of a reload", "err", err)
	}
}
