package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/edge/dial"
	"fieldpost/localapi"
	"fieldpost/uplink"
)

// dialTimeout bounds one TCP connection of an uplink.
const dialTimeout = 15 * time.Second

// uplinkSet is all uplinks, sorted by name.
type uplinkSet struct {
	all   []*uplink.Forwarder
	names []string
	wakes []chan struct{} // a token: a route or address changed
}

// newUplinks makes the uplinks of the config. Nothing is dialed yet.
func (a *agent) newUplinks() (*uplinkSet, error) {
	set := &uplinkSet{}
	for _, name := range slices.Sorted(maps.Keys(a.opt.Config.Uplinks)) {
		u := a.opt.Config.Uplinks[name]
		wake := make(chan struct{}, 1)
		f, err := uplink.NewForwarder(uplink.ForwarderOptions{
			Spec: uplinkSpec(u), Log: a.read, Store: a.store, Pump: a.pump, Agent: a.id,
			Devices: a.source.Devices, Command: a.remoteCommand(name), About: a.about, Wake: wake,
			Dial: &dial.Dialer{Timeout: dialTimeout}, TLS: dialTLS(u.TLS), Logger: a.log,
		})
		if err != nil {
			return nil, err
		}
		set.all, set.names, set.wakes = append(set.all, f), append(set.names, name), append(set.wakes, wake)
	}
	return set, nil
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
		"agent": a.id, "version": a.opt.Version, "board": a.board.Model, "config": a.opt.Config.Hash,
		"epoch": epochText(a.store.Epoch()), "disk": map[string]any{"free": a.store.Health().Free, "rings": len(a.store.Rings())},
	})
	if err != nil {
		return nil // can't happen: texts and numbers
	}
	return raw
}

// start runs the uplinks, and wakes all of them when a route or address changes.
func (s *uplinkSet) start(st *stage) {
	for i, f := range s.all {
		st.run("uplink "+s.names[i], f.Run)
	}
	if len(s.all) > 0 {
		st.run("the watch of routes", s.watchRoutes)
	}
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
			for _, wake := range s.wakes {
				select {
				case wake <- struct{}{}:
				default: // it has one to take already
				}
			}
		}
	}
}

// Uplinks is the state of all uplinks.
func (s *uplinkSet) Uplinks() []edge.UplinkStatus {
	out := make([]edge.UplinkStatus, 0, len(s.all))
	for _, f := range s.all {
		out = append(out, f.Status())
	}
	return out
}

// Fates tells how far a record has come at each uplink.
func (s *uplinkSet) Fates(ring string, seq uint64) []edge.UplinkFate {
	out := make([]edge.UplinkFate, 0, len(s.all))
	for i, f := range s.all {
		out = append(out, edge.UplinkFate{Uplink: s.names[i], Fate: f.Fate(ring, seq)})
	}
	return out
}

// Test sends a canary through one uplink. What went wrong on the way is its last
// step; an error means that it could not be tried.
func (s *uplinkSet) Test(ctx context.Context, name string) ([]localapi.Step, error) {
	i, ok := slices.BinarySearch(s.names, name)
	if !ok {
		return nil, fmt.Errorf("there is no uplink %q", name)
	}
	steps, err := s.all[i].Probe(ctx)
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
