package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/card"
	"fieldpost/queue"
)

const (
	wearEvery = time.Minute
	// wearSettles is how long a start writes more than it will: a new journal is
	// written ahead. It counts, but not for what the day will come to.
	wearSettles = 5 * time.Minute
	// wearSays is how much of a day must be known to say what it will come to.
	wearSays = time.Hour

	wearTable = "wear"
	wearKey   = "days"
)

// wear counts what the agent and the device under the store write, day by day of
// uptime, and says once a day when that will be more than store.wear.
type wear struct {
	budget int64 // bytes a day; 0: none
	name   string
	boot   string
	mono   func() int64
	own    func() (int64, error) // of this process, since it began
	device func() (int64, error) // nil: none is known
	events func() uint64         // stored since the start
	log    *slog.Logger

	mu      sync.Mutex // guards the rest, and the budget
	row     wearRow
	started int64 // on the monotonic clock
	written int64 // by the agent since the start, at most what the device took
	base    wearCounts
	seen    wearCounts
	blind   bool // a counter can't be read, and that was told
}

// wearCounts are the counters at one look.
type wearCounts struct {
	own, device int64
	events      uint64
}

// newWear makes one for the store's folder, and takes up what an earlier run kept.
func (a *agent) newWear() *wear {
	sys := card.System{}
	w := &wear{budget: a.opt.Config.Store.Wear.PerDay(), boot: a.board.BootID, mono: a.board.Mono, own: sys.OwnWrites,
		events: func() uint64 { return a.pump.Stats().Events }, log: a.log.With("part", "wear")}
	place, err := sys.Find(a.opt.Config.DataDir)
	switch {
	case err != nil:
		w.log.Warn("what the device writes is not counted", "err", err)
	case place.Device() == nil:
		w.log.Debug("what the device writes is not counted", "why", place.NoDevice)
	default:
		d := place.Device()
		w.name = d.Name
		w.device = func() (int64, error) {
			c, err := d.Counters()
			return c.Written, err
		}
	}
	if _, err := w.own(); err != nil && w.device != nil {
		w.log.Warn("what the agent writes is not counted: all that the device takes counts as its own", "err", err)
		w.own = w.device
	}
	row, _ := a.store.Get(wearTable, wearKey) // none: nothing was kept yet
	w.begin(row)
	return w
}

// begin takes up what a row kept: also what the device took while no agent ran.
func (w *wear) begin(kept []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = w.mono()
	w.base, _ = w.counters()
	w.seen = w.base
	row, ok := parseWear(kept)
	if ok && row.Device == w.name {
		w.row = row
		elapsed, device := w.started, w.base.device // of this boot, where it is a new one
		if row.Boot == w.boot {
			elapsed -= row.Mono
			if w.base.device >= row.Counter {
				device -= row.Counter
			}
		}
		w.row.add(time.Duration(max(0, elapsed)), wearDay{Device: device}, false)
	}
	w.mark()
}

// mark notes in the row how far it has counted.
func (w *wear) mark() {
	w.row.Boot, w.row.Mono, w.row.Device, w.row.Counter = w.boot, w.mono(), w.name, w.seen.device
}

// counters reads all counters; one that can't be read stays where it was.
func (w *wear) counters() (wearCounts, error) {
	c := wearCounts{own: w.seen.own, device: w.seen.device, events: w.events()}
	own, err := w.own()
	if err == nil {
		c.own = own
	}
	if w.device != nil {
		device, derr := w.device()
		if derr == nil {
			c.device = device
		} else {
			err = derr
		}
	}
	return c, err
}

// look counts what was written since the last look.
func (w *wear) look() {
	c, err := w.counters()
	if err != nil && !w.blind {
		w.log.Warn("what is written can't be counted", "err", err)
	}
	w.blind = err != nil
	day := wearDay{Device: c.device - w.seen.device, Events: c.events - w.seen.events}
	if day.Device < 0 { // it was taken out and came back
		day.Device = c.device
		w.base.device -= w.seen.device
	}
	w.seen = c
	total := max(w.written, c.own-w.base.own) // it falls where a file is removed before it was written
	if w.device != nil {                      // whole folios may be counted for a process: see card.OwnWrites
		total = max(w.written, min(total, c.device-w.base.device))
	}
	day.Agent, w.written = total-w.written, total
	now := w.mono()
	w.row.add(time.Duration(max(0, now-w.row.Mono)), day, now-w.started <= int64(wearSettles))
	w.mark()
}

// status is what is known now.
func (w *wear) status() edge.WearStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	today, yesterday, n, mean := w.row.Today, wearDay{}, len(w.row.Days), w.row.mean()
	if n > 0 {
		yesterday = w.row.Days[n-1]
	}
	return edge.WearStatus{
		Device: w.name, Budget: w.budget, Today: today.Agent, DeviceToday: today.Device, Projected: w.row.projected(), Hours: w.row.Uptime.Hours(),
		Yesterday: yesterday.Agent, DeviceYesterday: yesterday.Device,
		Days: n, PerDayAverage: mean.Agent, DevicePerDayAverage: mean.Device, Events: today.Events,
		BytesPerEvent: w.row.perEvent(), Written: w.written, DeviceWritten: w.seen.device,
	}
}

// rows keeps the counts, in the flush of whatever they ride with.
func (w *wear) rows() []queue.Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return []queue.Row{w.row.row()}
}

// allow changes the budget, in bytes a day; 0: none.
func (w *wear) allow(budget int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budget = budget
}

// over reports, once a day, that the day comes to more than the budget.
func (w *wear) over() (edge.WearStatus, bool) {
	s := w.status()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.budget == 0 || w.row.Told || max(s.Today, s.Projected) <= w.budget {
		return s, false
	}
	w.row.Told = true
	return s, true
}

// watchWear looks each minute, and tells when the budget does not last.
func (a *agent) watchWear(ctx context.Context) error {
	tick := time.NewTicker(wearEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s, over := a.wear.over(); over {
			a.tellWear(s)
		}
	}
}

// tellWear tells that a day comes to more than the budget, with what asked for most
// flushes, and what to do.
func (a *agent) tellWear(s edge.WearStatus) {
	causes := wearCauses(a.pump.Asks())
	advice := wearAdvice(causes, s, a.syncOf)
	a.log.Warn("more is written to the flash than store.wear allows", "budget", s.Budget, "written", s.Today, "projected", s.Projected, "device", s.DeviceToday, "advice", advice)
	data := map[string]any{"budget": s.Budget, "written": s.Today, "device_written": s.DeviceToday, "flushes": causes, "advice": advice}
	if s.Projected > 0 {
		data["projected"] = s.Projected
	}
	a.pump.EmitWith(systemEvent("wear", data), nil, a.wear.rows()...)
}

// row is the table's row for it.
func (r *wearRow) row() queue.Row {
	raw, err := json.Marshal(r)
	if err != nil {
		raw = nil // can't happen: numbers and texts
	}
	return queue.Row{Table: wearTable, Key: wearKey, Value: raw}
}

// wearAdvice says what would lessen the wear.
func wearAdvice(causes []wearCause, s edge.WearStatus, sync func(string) time.Duration) string {
	advice := wearCure(causes, sync)
	if s.Device != "" && s.DeviceToday > 3*s.Today {
		advice += fmt.Sprintf("; and most of what %s took is not the agent's: look what else writes there", s.Device)
	}
	return advice
}

// wearCure is what would lessen the agent's own share of it.
func wearCure(causes []wearCause, sync func(string) time.Duration) string {
	if len(causes) == 0 {
		return "nothing asked for a flush yet: it is the start that writes"
	}
	c := causes[0]
	if c.Ring == "" {
		return fmt.Sprintf("%.0f %% of the flushes were asked for by API calls and rows: post several events in one call", 100*c.Share)
	}
	longer := max(10*time.Second, 5*sync(c.Ring))
	return fmt.Sprintf("%.0f %% of the flushes were asked for by events of the ring %s: with store.rings.%s.sync: %s (now %s) they share one",
		100*c.Share, c.Ring, c.Ring, edge.Duration(longer), edge.Duration(sync(c.Ring)))
}
