package agent

import (
	"context"
	"errors"
	"syscall"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

const (
	watchEvery = time.Second
	// steady is how long the store must be well before it counts as recovered: a
	// disk that comes and goes does not fill the ring with its own story.
	steady = 5 * time.Second
)

// The states that a store event tells.
const (
	storeOK       = "ok"
	storeFull     = "full"
	storeReadOnly = "read-only"
	storeDegraded = "degraded"
)

// storeState is the state that the store and the Pump are in, and why.
func storeState(h queue.Health, p edge.PumpStats) (state, why string) {
	err := h.Err
	if err == nil {
		err = p.Err
	}
	switch { // the Pump's error is older than the store's health at times, and is what clients get
	case h.ReadOnly || errors.Is(err, syscall.EROFS):
		state = storeReadOnly
	case h.Full || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		state = storeFull
	case err != nil:
		state = storeDegraded
	default:
		return storeOK, ""
	}
	if err != nil {
		why = err.Error()
	}
	return state, why
}

// watchStore tells of each change of the store's state, in the log at once and
// as an event as soon as it can be stored.
func (a *agent) watchStore(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	told, since := storeOK, time.Time{} // since: when it was first seen well again
	for {
		state, why := storeState(a.store.Health(), a.pump.Stats())
		switch {
		case state == told:
			since = time.Time{}
		case state != storeOK:
			a.log.Error("the store is "+state, "err", why)
			a.pump.Emit(systemEvent("store", map[string]any{"state": state, "error": why}), nil)
			told, since = state, time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= steady:
			a.log.Info("the store works again", "was", told)
			a.pump.Emit(systemEvent("store", map[string]any{"state": state, "was": told}), nil)
			told, since = state, time.Time{}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
