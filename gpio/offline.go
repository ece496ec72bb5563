package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	rows    rows
	uplinks func() []edge.UplinkStatus
	asks    func() time.Duration // the shortest that a device asks for; 0: none does

	mu    sync.Mutex
	names []string
	last  map[string]queue.Stamp
	kept  map[string]queue.Stamp // what is stored of last
	acked map[string]uint64
}

// newHeard makes one that knows no uplink yet.
func newHeard(opt *SourceOptions, asks func() time.Duration) *heard {
	return &heard{clock: opt.Clock, pump: opt.Pump, rows: opt.Rows, uplinks: opt.Uplinks, asks: asks,
		last: map[string]queue.Stamp{}, kept: map[string]queue.Stamp{}, acked: map[string]uint64{}}
}

// name says which uplinks there are at a start. What was heard before is read; who was
// never heard was so just now.
func (h *heard) name(names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = names
	for _, name := range names {
		var at queue.Stamp
		if b, ok := h.rows.Get(heardTable, name); ok && json.Unmarshal(b, &at) == nil {
			h.last[name], h.kept[name] = at, at
			continue
		}
		h.last[name] = h.clock.Stamp()
	}
}

// rename says which uplinks there are from a reload on, and gives those before. One that
// was not there was heard just now, and so were all where nobody asked for them: that
// nothing is known of a time is no reason to go offline.
func (h *heard) rename(names []string, asked bool) (before []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, h.names = h.names, names
	for _, name := range names {
		if !asked || !slices.Contains(before, name) {
			h.last[name] = h.clock.Stamp()
		}
	}
	return before
}

// restore takes back a rename: what was heard counts as before it.
func (h *heard) restore(names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = names
}

// check refuses uplinks that are not there.
func (o *Offline) check(names []string) error {
	if o.After == 0 {
		return nil
	}
	if len(names) == 0 {
		return errors.New("offline: there is no uplink that could acknowledge anything")
	}
	for _, name := range o.Uplinks {
		if !slices.Contains(names, name) {
			return fmt.Errorf("offline: there is no uplink %q; there is %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// checkHeard finds outputs that go by an uplink that is not there.
func (f *fleet) checkHeard(uplinks []string) (bad []*DeviceError) {
	for _, r := range f.all {
		if d, ok := r.dev.(*output); ok {
			if err := d.cfg.Offline.check(uplinks); err != nil {
				bad = append(bad, &DeviceError{r.spec.Name, err})
			}
		}
	}
	return bad
}

// asksOffline is the shortest time without an uplink that a device goes by; 0: none does.
func (s *Source) asksOffline() (least time.Duration) {
	for _, r := range s.now().all {
		d, ok := r.dev.(*output)
		if !ok {
			continue
		}
		if after := d.cfg.Offline.After.D(); after > 0 && (least == 0 || after < least) {
			least = after
		}
	}
	return least
}

// age is how long ago the latest of some uplinks was heard; no names: of all.
func (h *heard) age(names []string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(names) == 0 {
		names = h.names
	}
	least := never
	for _, name := range names {
		least = min(least, h.clock.Age(h.last[name]))
	}
	return least
}

// run asks the uplinks until ctx is done, while a device wants to know.
func (h *heard) run(ctx context.Context) {
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
	if h.uplinks == nil || h.asks() == 0 {
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
	every := h.asks() / 4
	if every == 0 {
		return
	}
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
