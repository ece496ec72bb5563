package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/edge/dial"
	"fieldpost/localapi"
	"fieldpost/uplink"
)

// dialTimeout bounds one TCP connection of an uplink.
const dialTimeout = 15 * time.Second

// lane is one uplink that runs.
type lane struct {
	name string
	cfg  *config.Uplink
	f    *uplink.Forwarder
	wake chan struct{} // a token: a route or address changed
	stop context.CancelFunc
	done chan struct{} // closed when it has said goodbye
}

// uplinkSet is all uplinks.
type uplinkSet struct {
	stage    *stage // nil before start
	watching bool   // over the routes

	mu  sync.RWMutex
	all []*lane // sorted by name
}

// newUplinks makes the uplinks of the config. Nothing is dialed yet.
func (a *agent) newUplinks() (*uplinkSet, error) {
	set := &uplinkSet{}
	for _, name := range slices.Sorted(maps.Keys(a.opt.Config.Uplinks)) {
		l, err := a.newLane(a.opt.Config.Uplinks[name])
		if err != nil {
			return nil, err
		}
		set.all = append(set.all, l)
	}
	return set, nil
}

// newLane makes one uplink.
func (a *agent) newLane(u *config.Uplink) (*lane, error) {
	l := &lane{name: u.Name, cfg: u, wake: make(chan struct{}, 1), done: make(chan struct{})}
	var err error
	l.f, err = uplink.NewForwarder(uplink.ForwarderOptions{
		Spec: uplinkSpec(u), Log: a.read, Store: a.store, Pump: a.pump, Agent: a.id,
		Devices: a.source.Devices, Command: a.remoteCommand(u.Name), About: a.about, Wake: l.wake,
		Dial: &dial.Dialer{Timeout: dialTimeout}, TLS: dialTLS(u.TLS), Logger: a.log,
	})
	return l, err
}

func uplinkSpec(u *config.Uplink) uplink.Spec {
	return uplink.Spec{
		Name: u.Name, Sender: u.Sender, Options: u.Options,
		Rings: u.Rings, Order: u.Order, FromNow: u.From == "now",
		BatchEvents: u.Batch.Events, BatchWait: u.Batch.Wait.D(), Prefix: u.Prefix,
	}
}

func dialTLS(t config.TLSConfig) dial.TLS {
	return dial.TLS{CA: t.CA, Cert: t.Cert, Key: t.Key, Insecure: t.Insecure, ServerName: t.ServerName}
}

// remoteCommand marks what an uplink received, so that a device has to allow it.
func (a *agent) remoteCommand(name string) func(context.Context, edge.Command) (edge.Outcome, error) {
	return func(ctx context.Context, c edge.Command) (edge.Outcome, error) {
		c.Remote, c.From = true, "uplink:"+name
		return a.source.Command(ctx, c)
	}
}

// about is the inventory that uplinks publish, retained.
func (a *agent) about() json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"agent": a.id, "version": a.opt.Version, "board": a.board.Model, "config": a.config().Hash,
		"epoch": epochText(a.store.Epoch()), "disk": map[string]any{"free": a.store.Health().Free, "rings": len(a.store.Rings())},
	})
	if err != nil {
		return nil // can't happen: texts and numbers
	}
	return raw
}

// start runs the uplinks, and wakes all of them when a route or address changes.
func (s *uplinkSet) start(st *stage) {
	s.stage = st
	for _, l := range s.lanes() {
		s.run(l, nil)
	}
}

// run runs one uplink, once the one before it of the same name is done.
func (s *uplinkSet) run(l *lane, before *lane) {
	ctx, stop := context.WithCancel(s.stage.ctx)
	l.stop = stop
	s.stage.run("uplink "+l.name, func(context.Context) error {
		defer close(l.done)
		defer stop()
		if before != nil {
			<-before.done
			l.f.Follow(before.f)
		}
		return l.f.Run(ctx)
	})
	if !s.watching {
		s.watching = true
		s.stage.run("the watch of routes", s.watchRoutes)
	}
}

// lanes are the uplinks that there are.
func (s *uplinkSet) lanes() []*lane {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all
}

func (s *uplinkSet) watchRoutes(ctx context.Context) error {
	changed := dial.WatchRoutes(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-changed:
			if !ok {
				return nil
			}
			for _, l := range s.lanes() {
				select {
				case l.wake <- struct{}{}:
				default: // it has one to take already
				}
			}
		}
	}
}

// Uplinks is the state of all uplinks.
func (s *uplinkSet) Uplinks() []edge.UplinkStatus {
	all := s.lanes()
	out := make([]edge.UplinkStatus, 0, len(all))
	for _, l := range all {
		out = append(out, l.f.Status())
	}
	return out
}

// Fates tells how far a record has come at each uplink.
func (s *uplinkSet) Fates(ring string, seq uint64) []edge.UplinkFate {
	all := s.lanes()
	out := make([]edge.UplinkFate, 0, len(all))
	for _, l := range all {
		out = append(out, edge.UplinkFate{Uplink: l.name, Fate: l.f.Fate(ring, seq)})
	}
	return out
}

// Test sends a canary through one uplink. What went wrong on the way is its last
// step; an error means that it could not be tried.
func (s *uplinkSet) Test(ctx context.Context, name string) ([]localapi.Step, error) {
	all := s.lanes()
	i := slices.IndexFunc(all, func(l *lane) bool { return l.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no uplink %q", name)
	}
	steps, err := all[i].f.Probe(ctx)
	out := make([]localapi.Step, 0, len(steps))
	for _, st := range steps {
		step := localapi.Step{Name: st.Name, OK: st.Error == "", Detail: st.Detail, TookMS: st.Millis}
		if !step.OK {
			step.Detail = st.Error
		}
		out = append(out, step)
	}
	if len(out) > 0 && !out[len(out)-1].OK {
		return out, nil
	}
	return out, err
}
