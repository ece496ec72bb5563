package agent

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/queue"
)

// uplinkPlan is another set of uplinks. Those that are the same are in it as they run.
type uplinkPlan struct {
	changes edge.Changes
	all     []*lane          // sorted by name
	enter   []*lane          // start
	leave   map[string]*lane // stop, by name

	store *queue.Store
	fresh []string // cursors that were made for it
}

// planUplinks compares the uplinks of a config with those that run, and makes those
// that are new or changed. Nothing is dialed. A plan is given beside an error too.
func (a *agent) planUplinks(next *config.Config) (*uplinkPlan, error) {
	p := &uplinkPlan{leave: map[string]*lane{}, store: a.store}
	for _, l := range a.uplinks.lanes() {
		p.leave[l.name] = l
	}
	known := a.store.Cursors()
	for _, name := range slices.Sorted(maps.Keys(next.Uplinks)) {
		u, old := next.Uplinks[name], p.leave[name]
		if old != nil && reflect.DeepEqual(old.cfg, u) {
			p.all = append(p.all, old)
			delete(p.leave, name)
			p.changes.Untouched++
			continue
		}
		l, err := a.newLane(u)
		if err != nil {
			return p, err
		}
		if !slices.Contains(known, name) {
			p.fresh = append(p.fresh, name)
		}
		p.all, p.enter = append(p.all, l), append(p.enter, l)
		if old == nil {
			p.changes.Added = append(p.changes.Added, name)
		} else {
			p.changes.Changed = append(p.changes.Changed, name)
		}
	}
	for name := range p.leave {
		if next.Uplinks[name] == nil {
			p.changes.Removed = append(p.changes.Removed, name)
		}
	}
	p.changes.Sort()
	return p, nil
}

// drop gives up a plan: where a new uplink begins is settled when it is taken.
func (p *uplinkPlan) drop() {
	for _, name := range p.fresh {
		_ = p.store.DropCursor(name) // it is there: the plan made it
	}
}

// swap stops the uplinks that left or changed, each within the budget of a stop, and
// starts the new ones. One that does not end in time goes on ending: the one in its
// place waits for it, as two must not move one cursor. What left keeps its cursor.
func (s *uplinkSet) swap(ctx context.Context, p *uplinkPlan) {
	s.mu.Lock()
	s.all = p.all
	s.mu.Unlock()
	for _, l := range p.leave {
		l.stop()
	}
	wait := time.NewTimer(uplinkBudget)
	defer wait.Stop()
	late := false
	for _, l := range p.leave {
		if late {
			break
		}
		select {
		case <-l.done:
		case <-wait.C:
			late = true
		case <-ctx.Done():
			late = true
		}
	}
	if s.stage.ctx.Err() != nil {
		return
	}
	for _, l := range p.enter {
		s.run(l, p.leave[l.name])
	}
}
