package main

import (
	"fmt"
	"strings"
	"testing"

	"fieldpost/edge"
)

// config writes the sandbox's config anew.
func (s *sandbox) config(text string) {
	s.t.Helper()
	s.write("fieldpost.yaml", fmt.Sprintf("agent: {id: box}\ndata_dir: %s\napi: {listen: off, socket: %s}\n%s", s.path("data"), s.socket, text))
}

// TestReload: the verb says what changed, and of a mistake what check says; the agent
// runs on with what it had.
func TestReload(t *testing.T) {
	const devices = "devices:\n  door: {digital_in: GPIO17}\n  pump: {digital_out: GPIO27, boot: on}\n"
	s := newSandbox(t, devices+"uplinks: {cloud: {mqtt: \"mqtt://127.0.0.1:1\"}}\n")
	p := s.agent("--set", "store.headroom=3MB")
	s.until("the pump is on", func() bool { return strings.Contains(s.run("devices").out, "true (on)") })
	if r := s.run("reload").want(t, 0); r.out != "nothing changed: 2 devices untouched; 1 uplink untouched\n" {
		t.Errorf("%q", r.out)
	}
	s.config(devices + "  bell: {digital_in: GPIO22}\n  gate: {digital_in: GPIO23}\nkeys: {app: {role: read, secret: hush}}\n")
	if r := s.run("reload").want(t, 0); r.out != "reloaded: 2 devices added (bell, gate), 2 untouched; 1 uplink removed (cloud); changed too: keys\n" {
		t.Errorf("%q", r.out)
	}

	s.config(devices + "  bell: {digital_in: GPIO22, debounce: 3}\n  gate: {digital_in: GPIO27}\n")
	check, refused := s.run("check").want(t, 2), s.run("reload").want(t, 2)
	if check.err != refused.err || strings.Count(check.err, "\n") != 2 {
		t.Errorf("check says %q, reload %q", check.err, refused.err)
	}
	s.config(devices + "api: {}\n")
	s.run("reload").want(t, 2, "fieldpost.yaml:7:", "api")
	s.write("fieldpost.yaml", "data_dir: "+s.path("data")+"\n")
	s.run("reload").want(t, 1, "fieldpost.yaml: agent.id can't change while the agent runs: systemctl restart fieldpost", "api.listen")
	s.run("status").want(t, 1, "The config on the disk was not taken", "api.listen")
	s.run("devices").want(t, 0, "bell", "gate", "true (on)")

	s.config(devices)
	p.signal(sigHup)
	s.until("the signal is followed", func() bool { return !strings.Contains(s.run("devices").out, "bell") })
	s.run("status").want(t, 0)
	done := decode[edge.Reloaded](t, s.run("reload", "-o", "json").want(t, 0))
	if !done.Nothing() || done.Config == "" || done.Config != done.Before {
		t.Errorf("%+v", done)
	}
	if got := strings.Count(s.run("events", "--ring", "audit", "-o", "json").want(t, 0, "system:reload", "client:local").out, `"name":"reload"`); got < 2 {
		t.Errorf("%d reloads are told", got)
	}
	p.signal(sigTerm)
	p.exits(0, stopTime)
	if text := p.text(); !strings.Contains(text, "the config is taken") || !strings.Contains(text, "the config is not taken") || strings.Contains(text, "hush") {
		t.Error(text)
	}
}
