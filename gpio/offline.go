package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Offline is what an output does when no uplink has acknowledged anything for a time.
type Offline struct {
	After   edge.Duration `mapstructure:"after"`   // 0: it does nothing
	Set     Rest          `mapstructure:"set"`     // off or on; off
	Uplinks []string      `mapstructure:"uplinks"` // those that count; none: all
}

// heardTable holds when an uplink was heard last, by its name.
const heardTable = "heard"

// heardEvery is how often the uplinks are asked.
const heardEvery = time.Second

// heard knows when each uplink acknowledged something last, or was up with nothing
// left to acknowledge. That is durable: an agent that is killed again and again must
// not begin anew each time.
type heard struct {
	clock   Clock
	pump    emitter
	names   []string
	uplinks func() []edge.UplinkStatus
	after   []time.Duration // of the devices that ask; none: nobody does

	mu    sync.Mutex
	last  map[string]queue.Stamp
	kept  map[string]queue.Stamp // what is stored of last
	acked map[string]uint64
}

// newHeard reads what was heard before. Who was never heard was so just now.
func newHeard(opt *SourceOptions) *heard {
	h := &heard{clock: opt.Clock, pump: opt.Pump, names: opt.UplinkNames, uplinks: opt.Uplinks, last: map[string]queue.Stamp{}, kept: map[string]queue.Stamp{}, acked: map[string]uint64{}}
	for _, name := range h.names {
		var at queue.Stamp
		if b, ok := opt.Rows.Get(heardTable, name); ok && json.Unmarshal(b, &at) == nil {
			h.last[name], h.kept[name] = at, at
			continue
		}
		h.last[name] = h.clock.Stamp()
	}
	return h
}

// ask notes what a device wants to know, and refuses an uplink that is not there.
func (h *heard) ask(o Offline) error {
	if o.After == 0 {
		return nil
	}
	if len(h.names) == 0 {
		return errors.New("offline: there is no uplink that could acknowledge anything")
	}
	for _, name := range o.Uplinks {
		if !slices.Contains(h.names, name) {
			return fmt.Errorf("offline: there is no uplink %q; there is %v", name, h.names)
		}
	}
	h.after = append(h.after, o.After.D())
	return nil
}

// age is how long ago the latest of some uplinks was heard; no names: of all.
func (h *heard) age(names []string) time.Duration {
	if len(names) == 0 {
		names = h.names
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	least := never
	for _, name := range names {
		least = min(least, h.clock.Age(h.last[name]))
	}
	return least
}

// run asks the uplinks until ctx is done, where a device wants to know.
func (h *heard) run(ctx context.Context) {
	if len(h.after) == 0 {
		return
	}
	tick := time.NewTicker(heardEvery)
	defer tick.Stop()
	for {
		h.keep()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.poll()
		}
	}
}

// poll asks the uplinks once.
func (h *heard) poll() {
	if len(h.after) == 0 || h.uplinks == nil {
		return
	}
	all, now := h.uplinks(), h.clock.Stamp()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range all {
		last, ok := h.acked[u.Name]
		h.acked[u.Name] = u.Acknowledged
		if ok && u.Acknowledged > last || u.State == "up" && u.Backlog == 0 && u.InFlight == 0 {
			h.last[u.Name] = now
		}
	}
}

// keep stores what is older than a quarter of the shortest time: so much sooner may a
// deadline come after a restart.
func (h *heard) keep() {
	every := slices.Min(h.after) / 4
	var rows []queue.Row
	h.mu.Lock()
	for _, name := range h.names {
		at, kept := h.last[name], h.kept[name]
		if kept == at || kept.Boot == at.Boot && time.Duration(at.Mono-kept.Mono) < every {
			continue
		}
		b, err := json.Marshal(at)
		if err != nil {
			continue // a stamp is two numbers, so this can't be
		}
		h.kept[name] = at
		rows = append(rows, queue.Row{Table: heardTable, Key: name, Value: b})
	}
	h.mu.Unlock()
	if len(rows) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what waits for its flush is stored though nobody waits
	if err := h.pump.Commit(ctx, rows...); err != nil && !errors.Is(err, context.Canceled) {
		h.mu.Lock()
		clear(h.kept) // again the next time
		h.mu.Unlock()
	}
}
