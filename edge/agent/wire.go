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
	opt := gpio.SourceOptions{Specs: specs(a.opt.Config.Devices), Own: ownLines(a.opt.Config), Pump: a.pump, Rows: a.store, Clock: a.clock, Twin: a.twin, Log: a.log}
	opt.UplinkNames = slices.Sorted(maps.Keys(a.opt.Config.Uplinks))
	opt.Uplinks = func() []edge.UplinkStatus {
		if a.uplinks == nil {
			return nil // a twin has none; elsewhere they are there once devices run
		}
		return a.uplinks.Uplinks()
	}
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
		if a.twin == nil {
			a.twin = gpio.NewTwin(gpio.TwinOptions{Board: a.opt.Pins, Seed: a.opt.Seed, Sensor: gpio.UsualSensor()})
		}
		opt.Twin = a.twin
	case a.opt.Simulate:
		var board *gpio.SimBoard
		sim := gpio.SimOptions{Seed: a.opt.Seed, Bounce: a.opt.Bounce}
		if board, err = gpio.Simulate(sim); err == nil {
			opt.Lookup = board.Lookup
			a.twin = gpio.NewTwin(gpio.TwinOptions{Board: board, Seed: a.opt.Seed, Sensor: gpio.UsualSensor()})
			opt.Twin = a.twin
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
	if err := a.twin.Close(); err != nil {
		a.log.Warn("take away the simulated sensors", "err", err)
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
	opt, err := a.apiOptions(a.opt.Config)
	if err != nil {
		return nil, err
	}
	deps := localapi.Deps{
		Log: a.read, Pump: a.pump, Store: a.store, Clock: a.clock,
		Devices: a.source, Uplinks: a.uplinks, Cut: a.opt.Cut, Problems: a.problems, Wear: a.wear.status,
		Light: func() string { return a.front.shows() }, Backup: a.backup, Record: a.record,
	}
	if a.opt.Load != nil {
		deps.Reload = a.reload
	}
	return localapi.New(deps, opt)
}

// apiOptions are what a config says of the API.
func (a *agent) apiOptions(cfg *config.Config) (localapi.Options, error) {
	shown, err := serverTLS(cfg.API.TLS)
	if err != nil {
		return localapi.Options{}, fmt.Errorf("read api.tls: %w", err)
	}
	return localapi.Options{
		Agent: a.id, Version: a.opt.Version, Revision: a.opt.Revision,
		Reserved: func(ring string) bool { return a.config().Store.Reserved(ring) },
		Socket:   cfg.API.Socket, BasePath: cfg.API.BasePath, Hosts: cfg.API.Hosts, Origins: cfg.API.Origins,
		TrustedProxies: cfg.API.TrustedProxies, TLS: shown,
		ClaimFile: a.claimFile(), Keys: apiKeys(cfg.Keys), Mailboxes: apiMailboxes(cfg.Mailboxes), Demo: a.opt.Demo, Log: a.log,
	}, nil
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
	all = slices.Clone(a.opt.Notices)
	if a.doors != nil {
		all = append(all, a.doors.problems()...)
	}
	if why := a.reloads.refused(); why != "" {
		all = append(all, fmt.Sprintf("The config on the disk was not taken, the one before runs on: %s.", strings.TrimSuffix(why, ".")))
	}
	if why := a.source.Safe(); a.starts != nil && why != "" {
		all = append(all, strings.ToUpper(why[:1])+why[1:]+".")
	}
	if a.lines != nil {
		if err := a.lines.Problem(a.source.Lines()); err != nil {
			all = append(all, fmt.Sprintf("Not every line can be used: %v.", err))
		}
	}
	return append(all, a.front.problems()...)
}
