package agent

import (
	"crypto/tls"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/edge/dial"
	"fieldpost/gpio"
	"fieldpost/localapi"
)

// simulated reports whether the board is not a real one.
func (a *agent) simulated() bool { return a.opt.Simulate || a.opt.Pins != nil }

// newSource makes the devices of the config, on the board that there is. What an
// earlier process parked of lines that the config has no longer is released.
func (a *agent) newSource() (*gpio.Source, error) {
	opt := gpio.SourceOptions{Specs: specs(a.opt.Config.Devices), Pump: a.pump, Rows: a.store, Clock: a.clock, Log: a.log}
	opt.UplinkNames = slices.Sorted(maps.Keys(a.opt.Config.Uplinks))
	opt.Uplinks = func() []edge.UplinkStatus { return a.uplinks.Uplinks() } // once devices run, there are uplinks
	if a.starts != nil {
		opt.Safe = a.starts.why()
	}
	if err := a.openLines(&opt); err != nil {
		return nil, err
	}
	s, err := gpio.NewSource(opt)
	if err == nil && a.lines != nil {
		a.lines.Release(s.Lines())
	}
	return s, err
}

// openLines finds the lines of the board, the simulated or the real one.
func (a *agent) openLines(opt *gpio.SourceOptions) (err error) {
	switch {
	case a.opt.Pins != nil:
		opt.Lookup = a.opt.Pins.Lookup
	case a.opt.Simulate:
		var board *gpio.SimBoard
		if board, err = gpio.Simulate(); err == nil {
			opt.Lookup = board.Lookup
		}
	default:
		lines := gpio.KernelOptions{Log: a.log.With("part", "gpio")}
		if store, parked := newShelf(); store.addr != "" {
			lines.Shelf, lines.Parked = store, parked
		} else {
			a.log.Debug("lines are released when this process ends: systemd did not start it")
		}
		if a.lines, err = gpio.OpenBoard(lines); err == nil {
			opt.Missing = a.lines.Missing
		}
	}
	return err
}

// closeLines gives the chips back, where there are any.
func (a *agent) closeLines() {
	if a.lines != nil {
		a.lines.Close()
	}
}

// specs are the devices of the config, by name.
func specs(devices map[string]*config.Device) []gpio.Spec {
	var out []gpio.Spec
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		d := devices[name]
		out = append(out, gpio.Spec{
			Name: d.Name, Label: d.Label, Room: d.Room, Tags: d.Tags, At: d.At, Ring: d.Ring, Driver: d.Driver, Options: d.Options,
		})
	}
	return out
}

// newAPI makes the local API over all the other parts.
func (a *agent) newAPI() (*localapi.Server, error) {
	cfg := a.opt.Config
	shown, err := serverTLS(cfg.API.TLS)
	if err != nil {
		return nil, fmt.Errorf("read api.tls: %w", err)
	}
	return localapi.New(localapi.Deps{
		Log: a.read, Pump: a.pump, Store: a.store, Clock: a.clock,
		Devices: a.source, Uplinks: a.uplinks, Cut: a.opt.Cut, Problems: a.problems, Wear: a.wear.status, Backup: a.backup,
	}, localapi.Options{
		Agent: a.id, Version: a.opt.Version, Revision: a.opt.Revision, Reserved: cfg.Store.Reserved,
		Socket: cfg.API.Socket, BasePath: cfg.API.BasePath, Hosts: cfg.API.Hosts, Origins: cfg.API.Origins,
		TrustedProxies: cfg.API.TrustedProxies, TLS: shown,
		ClaimFile: a.claimFile(), Keys: apiKeys(cfg.Keys), Mailboxes: apiMailboxes(cfg.Mailboxes), Demo: a.opt.Demo, Log: a.log,
	})
}

// claimFile is where the claim code is kept. A simulated board, which answers on
// loopback alone, needs no claim.
func (a *agent) claimFile() string {
	if a.simulated() {
		return ""
	}
	return filepath.Join(a.opt.Config.DataDir, "claim")
}

// serverTLS is what the API shows and asks of its clients; nil: plain HTTP.
func serverTLS(t config.ServerTLS) (*tls.Config, error) {
	d := dial.ServerTLS{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA, ClientCerts: t.ClientCerts}
	if !d.Set() {
		return nil, nil
	}
	return d.Config()
}

func apiKeys(keys map[string]*config.Key) []localapi.Key {
	var out []localapi.Key
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		k := keys[name]
		out = append(out, localapi.Key{Name: k.Name, Role: k.Role, Secret: k.Secret, Names: k.Names})
	}
	return out
}

func apiMailboxes(boxes map[string]*config.Mailbox) []localapi.Mailbox {
	var out []localapi.Mailbox
	for _, name := range slices.Sorted(maps.Keys(boxes)) {
		b := boxes[name]
		out = append(out, localapi.Mailbox{Name: b.Name, Names: b.Names, Rings: b.Rings, Keep: b.Keep})
	}
	return out
}

// problems is what the parts that the API asks don't know of.
func (a *agent) problems() (all []string) {
	if a.doors != nil {
		all = a.doors.problems()
	}
	if why := a.source.Safe(); a.starts != nil && why != "" {
		all = append(all, strings.ToUpper(why[:1])+why[1:]+".")
	}
	if a.lines != nil {
		if err := a.lines.Problem(a.source.Lines()); err != nil {
			all = append(all, fmt.Sprintf("Not every line can be used: %v.", err))
		}
	}
	return all
}
