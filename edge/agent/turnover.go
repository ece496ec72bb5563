package agent

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/gpio"
)

// turnover is another config, checked and not in force.
type turnover struct {
	next    *config.Config
	devices *gpio.Plan
	uplinks *uplinkPlan
	api     func(context.Context) error
	store   bool     // what is said of the store changed
	other   []string // keys beside devices and uplinks that changed
}

// part is a key of the config, and its value.
type part struct {
	key string
	of  func(*config.Config) any
}

// fixed are the keys that only a restart changes.
func fixed() []part {
	return []part{
		{"agent.id", func(c *config.Config) any { return c.Agent.ID }},
		{"data_dir", func(c *config.Config) any { return c.DataDir }},
		{"led", func(c *config.Config) any { return c.LED }},
		{"button", func(c *config.Config) any { return c.Button }},
		{"api.socket", func(c *config.Config) any { return c.API.Socket }},
		{"api.listen", func(c *config.Config) any { return strings.Join(c.API.Listen, " ") }},
		{"api.base_path", func(c *config.Config) any { return c.API.BasePath }},
		{"api.tls.cert", func(c *config.Config) any { return c.API.TLS.Cert.Set() }}, // begin or end to speak it
	}
}

// live are the keys beside devices and uplinks that a reload changes.
func live() []part {
	return []part{
		{"store.rings", func(c *config.Config) any { return c.Store.Rings }},
		{"store.headroom", func(c *config.Config) any { return c.Store.Headroom }},
		{"store.wear", func(c *config.Config) any { return c.Store.Wear }},
		{"api.hosts", func(c *config.Config) any { return c.API.Hosts }},
		{"api.origins", func(c *config.Config) any { return c.API.Origins }},
		{"api.trusted_proxies", func(c *config.Config) any { return c.API.TrustedProxies }},
		{"api.tls", func(c *config.Config) any { return c.API.TLS }},
		{"keys", func(c *config.Config) any { return c.Keys }},
		{"mailboxes", func(c *config.Config) any { return c.Mailboxes }},
	}
}

// plan checks a config against the one that counts. It touches no hardware, and
// changes nothing. The error has all reasons, each with its place.
func (a *agent) plan(next *config.Config) (*turnover, error) {
	now, t := a.config(), &turnover{next: next}
	no := &edge.ReloadError{}
	for _, p := range fixed() {
		if !reflect.DeepEqual(p.of(now), p.of(next)) {
			no.Reasons = append(no.Reasons, next.Problem(p.key+" can't change while the agent runs", "systemctl restart fieldpost", strings.Split(p.key, ".")...).String())
		}
	}
	for _, p := range live() {
		if !reflect.DeepEqual(p.of(now), p.of(next)) {
			t.other = append(t.other, p.key)
			t.store = t.store || strings.HasPrefix(p.key, "store.")
		}
	}
	wrong := func(err error, key ...string) {
		no.Config = true
		no.Reasons = append(no.Reasons, next.Problem(strings.Join(key, ".")+": "+err.Error(), "", key...).String())
	}
	var mistakes, busy gpio.DeviceErrors
	t.devices, mistakes, busy = a.source.Plan(specs(next.Devices), slices.Sorted(maps.Keys(next.Uplinks)))
	for _, e := range mistakes {
		wrong(e.Err, "devices", e.Device)
	}
	for _, e := range busy {
		no.Reasons = append(no.Reasons, next.Problem("devices."+e.Device+": "+e.Err.Error(), "", "devices", e.Device).String())
	}
	opt, err := a.apiOptions(next)
	if err == nil {
		var changed []string
		t.api, changed, err = a.api.Prepare(opt)
		for _, key := range changed { // behind the same file: or env:
			if !slices.Contains(t.other, key) {
				t.other = append(t.other, key)
			}
		}
	}
	if err != nil && len(no.Reasons) == 0 { // else it may be said already: api.tls.cert
		wrong(err, "api")
	}
	if t.uplinks, err = a.planUplinks(next); err != nil {
		wrong(err, "uplinks")
	}
	if len(no.Reasons) > 0 {
		t.uplinks.drop()
		return nil, no
	}
	return t, nil
}
