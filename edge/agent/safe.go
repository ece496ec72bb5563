package agent

import (
	"context"
	"path/filepath"
	"time"
)

// readStarts finds out whether this is a safe start. What can't be read does not
// keep the agent from starting. On a simulated board there is nothing to keep safe.
func (a *agent) readStarts() {
	if a.opt.Simulate {
		return
	}
	s, err := readStarts(filepath.Join(a.opt.Config.DataDir, "running"), a.board)
	if err != nil {
		a.log.Warn("read how the last run ended", "err", err)
	}
	a.starts = s
}

// beginStart notes that this run begins, where a device drives something. Without
// one a crash can do no harm that less work would prevent. A safe start is noted and ends
// all the same: a reload may bring devices that wait for its end.
func (a *agent) beginStart() {
	if a.starts == nil || !a.source.TakesCommands() && a.source.Safe() == "" {
		a.starts = nil
		return
	}
	if err := a.starts.begin(); err != nil {
		a.log.Error("note that the agent runs: a crash of it would not count", "err", err)
	}
	if why := a.source.Safe(); why != "" {
		a.log.Error(why)
	}
}

// countStart notes that this run counts from now on, where a reload gives it the first
// device that drives something. The caller has the turn of reloads.
func (a *agent) countStart() {
	if a.opt.Simulate || a.starts != nil || a.counted != nil {
		return
	}
	a.counted = &starts{file: filepath.Join(a.opt.Config.DataDir, "running"), row: startsRow{Boot: a.board.BootID, Up: uptime(a.board)}}
	if err := a.counted.begin(); err != nil {
		a.log.Error("note that the agent runs: a crash of it would not count", "err", err)
	}
}

// endStart notes that this run ends in good order.
func (a *agent) endStart() {
	for _, s := range []*starts{a.starts, a.counted} {
		if s == nil {
			continue
		}
		if err := s.end(); err != nil {
			a.log.Error("note that the agent ends in good order: it counts as a crash", "err", err)
		}
	}
}

// waitForCalm ends a safe start, or forgets the crashes before this one, once the
// agent has run for long enough.
func (a *agent) waitForCalm(ctx context.Context) error {
	if a.starts == nil || a.starts.calm() == 0 {
		return nil
	}
	calm := a.starts.calm()
	if a.opt.calm > 0 {
		calm = a.opt.calm
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(calm):
	}
	if a.source.Safe() != "" {
		a.log.Info("the safe start is over: devices do what their boot says, and commands are taken")
		a.pump.Emit(systemEvent("safe_start", map[string]any{"safe": false, "why": "the agent ran long enough"}), nil)
		a.source.Resume()
	}
	if err := a.starts.forget(); err != nil {
		a.log.Error("note that earlier crashes count no longer", "err", err)
	}
	return nil
}

// tellSafe tells of a safe start.
func (a *agent) tellSafe() {
	if why := a.source.Safe(); a.starts != nil && why != "" {
		a.pump.Emit(systemEvent("safe_start", map[string]any{"safe": true, "crashes": len(a.starts.row.Crashes), "why": why}), nil)
	}
}
