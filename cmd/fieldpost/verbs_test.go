package main

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"fieldpost/edge"
)

const boxDevices = `
devices:
  door: {digital_in: GPIO17, pull: up, states: {on: open, off: closed}, ring: alarms}
  pump: {digital_out: GPIO27, max_on: 10m}
mailboxes: {app: {names: ["door"], keep: 50}}
uplinks: {cloud: {mqtt: "mqtt://127.0.0.1:1"}}
`

// TestVerbs walks the verbs over one agent that runs.
func TestVerbs(t *testing.T) {
	s := newSandbox(t, boxDevices)
	s.agent()
	s.until("the door is read", func() bool { return strings.Contains(s.run("devices").out, "true (open)") })

	for _, c := range []struct {
		verb string
		test func(*testing.T, *sandbox)
	}{
		{"devices", verbDevices},
		{"set", verbSet},
		{"pins", verbPins},
		{"events", verbEvents},
		{"claim", verbClaimed},
		{"keys", verbKeys},
		{"rings", verbRings},
		{"mailboxes and uplinks", verbMailboxesAndUplinks},
		{"status", verbStatus},
		{"export", verbExport},
		{"doctor", verbDoctor},
		{"gap", verbGap},
	} {
		t.Run(c.verb, func(t *testing.T) { c.test(t, s) })
	}
}

func verbDevices(t *testing.T, s *sandbox) {
	s.run("devices").want(t, 0, "NAME", "door", "digital_in", "GPIO17")
	list := decode[struct{ Devices []edge.DeviceStatus }](t, s.run("devices", "-o", "json").want(t, 0))
	if len(list.Devices) != 2 {
		t.Errorf("%+v", list)
	}
}

func verbSet(t *testing.T, s *sandbox) {
	s.run("set", "pump", "on").want(t, 0, "pump: true (on)")
	s.run("set", "pump", "toggle").want(t, 0, "pump: false (off)")
	s.run("set", "pump", "pulse", "90s").want(t, 0, "pump: true (on)")
	s.run("set", "pump", "set", "false").want(t, 0, "pump: false (off)")
	s.run("set", "pump", "true").want(t, 0, "pump: true (on)")
	out := decode[edge.Outcome](t, s.run("set", "pump", "off", "-o", "json").want(t, 0))
	if !out.Done || string(out.Value) != "false" {
		t.Errorf("%+v", out)
	}
	s.run("set", "pump", "7").want(t, 1, "true or false")
	s.run("set", "nobody", "on").want(t, 1, "no such device")
	s.run("set", "pump", "pulse", "soon").want(t, 2, "soon")
	s.run("set", "pump", "on", "now").want(t, 2, "takes no value")
	s.run("set", "pump").want(t, 2, "takes a device")
}

func verbPins(t *testing.T, s *sandbox) {
	s.run("pins").want(t, 0, "GPIO17", "3V3", "GND", "pump")
	s.run("pins", "drive", "GPIO17", "low").want(t, 0, "GPIO17: low")
	s.run("pins", "drive", "GPIO27", "low").want(t, 1)
	s.run("pins", "drive", "GPIO99", "low").want(t, 2, "GPIO99")
	s.run("pins", "drive", "GPIO17", "sideways").want(t, 2, "high or low")
}

func verbEvents(t *testing.T, s *sandbox) {
	s.until("the door is closed", func() bool { return strings.Contains(s.run("events", "--ring", "alarms").out, "false (closed)") })
	s.run("events").want(t, 0, "alarms/1", "true (open)", "system", "boot")
	lines := strings.Split(strings.TrimSpace(s.run("events", "--name", "do*", "-o", "json").want(t, 0).out), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `"state":"closed"`) {
		t.Errorf("%q", lines)
	}
	if r := s.run("events", "-n", "1", "--kind", "change", "--name", "door"); strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, "closed") {
		t.Errorf("the newest door is %q", r.out)
	}
	if r := s.run("events", "--ring", "alarms", "--after", "1"); strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, "alarms/2") {
		t.Errorf("after 1: %q", r.out)
	}
	if r := s.run("events", "--since", "1h", "--kind", "system"); !strings.Contains(r.out, "boot") {
		t.Errorf("since an hour: %q", r.out)
	}
	if r := s.run("events", "--until", "1h").want(t, 0); r.out != "" {
		t.Errorf("older than an hour: %q", r.out)
	}
	s.run("events", "--since", "banana").want(t, 2, "banana")
	s.run("events", "--after", "x.y").want(t, 2, "--after")
	s.run("events", "--kind", "loud").want(t, 1, "loud")
	s.run("events", "-o", "xml").want(t, 2, "text or json")
}

// verbClaimed: a simulated board needs no claim.
func verbClaimed(t *testing.T, s *sandbox) {
	s.run("claim").want(t, 0, "Panel: none", "claimed; fieldpost keys create")
	s.run("claim", "-o", "json").want(t, 0, `"claimed": true`)
	if _, err := os.Stat(s.path("data/claim")); err == nil {
		t.Error("there is a code")
	}
}

// TestClaim: the code of a real board, from the first start to its end.
func TestClaim(t *testing.T) {
	s := newSandbox(t, "")
	a := s.board()
	var c claim
	if c = decode[claim](t, s.run("claim", "-o", "json").want(t, 0)); c.Claimed || len(c.Code) != 9 {
		t.Fatalf("%+v", c)
	}
	s.run("claim").want(t, 0, "Panel: none (api.listen has no TCP address) - claim code "+c.Code+"\n")
	s.run("status").want(t, 0, "not claimed yet: fieldpost claim")
	a.signal(sigTerm)
	a.exits(0, stopTime)
	s.board()
	s.run("claim").want(t, 0, c.Code)
	var k apiKey
	if err := s.call(http.MethodPost, "/v1/claim", map[string]string{"code": c.Code, "name": "me"}, &k); err != nil || k.Key == "" || k.Role != "admin" {
		t.Fatalf("%+v %v", k, err)
	}
	s.run("keys").want(t, 0, "me", "admin")
	r := s.run("claim").want(t, 0, "claimed; fieldpost keys create")
	if strings.Contains(r.out+s.run("status").out, c.Code) || strings.Contains(s.run("status").out, "CLAIM") {
		t.Error("it is not claimed")
	}
	s.run("keys", "delete", "me").want(t, 0)
	if again := decode[claim](t, s.run("claim", "-o", "json").want(t, 0)); again.Claimed || again.Code == c.Code {
		t.Errorf("%+v", again)
	}
}

func verbKeys(t *testing.T, s *sandbox) {
	made := decode[apiKey](t, s.run("keys", "create", "--name", "panel", "--role", "read", "--names", "kitchen/*", "-o", "json").want(t, 0))
	if made.ID == "" || made.Name != "panel" || made.Role != "read" || len(made.Key) < 32 {
		t.Errorf("%+v", made)
	}
	s.run("keys", "create", "--name", "panel", "--role", "read").want(t, 1, "panel")
	s.run("keys", "create", "--name", "x", "--role", "king").want(t, 2, "king")
	s.run("keys", "create", "--name", "x").want(t, 2, "--role")
	list := s.run("keys", "list").want(t, 0, "panel", "read", "kitchen/*")
	if strings.Contains(list.out, made.Key) {
		t.Error("the list shows a key")
	}
	s.run("keys", "delete", "panel").want(t, 0, "deleted")
	s.run("keys", "delete", "panel").want(t, 1, "panel")
}

func verbRings(t *testing.T, s *sandbox) {
	s.run("rings").want(t, 0, "RING", "alarms", "events", "audit")
	s.run("rings", "-o", "json").want(t, 0, `"name": "alarms"`)
	s.run("rings", "delete", "events").want(t, 1, "can't be deleted")
	s.run("rings", "delete", "nothing").want(t, 1, "nothing")
}

func verbMailboxesAndUplinks(t *testing.T, s *sandbox) {
	s.run("mailboxes").want(t, 0, "app", "door", "50", "config")
	s.run("uplinks").want(t, 0, "cloud", "mqtt", "mqtt://127.0.0.1:1")
	s.run("uplinks", "test", "cloud").want(t, 1, "tcp", "failed", "refused")
	s.run("uplinks", "test", "nobody").want(t, 1, "nobody")
}

func verbStatus(t *testing.T, s *sandbox) {
	s.until("the uplink was tried", func() bool { return s.run("status").code == 1 })
	s.run("status").want(t, 1, "box", "degraded", "2 ok", "Uplink cloud is down")
	s.run("status", "-o", "json").want(t, 1, `"id": "box"`)
}

func verbExport(t *testing.T, s *sandbox) {
	s.run("export", "--file", "all.ndjson").want(t, 0)
	s.run("verify", "all.ndjson").want(t, 0, "alarms", "audit", "closed: every event")
	s.run("export", "--dir", s.path("data")).want(t, 1, "another process has the store open")
	if left, _ := os.ReadDir(s.dir); strings.Contains(strings.Join(names(left), " "), "export-") {
		t.Errorf("export left %v", names(left))
	}
}

func verbGap(t *testing.T, s *sandbox) {
	s.run("rings", "delete", "alarms").want(t, 0, "deleted the events of ring alarms")
	s.run("events", "--ring", "alarms").want(t, 0, "-- gap in alarms: 1 to")
	s.run("export", "--file", "gap.ndjson").want(t, 0)
	s.run("verify", "gap.ndjson").want(t, 0, "closed: every event")
}

func names(entries []os.DirEntry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestFollow: what comes is shown as it comes, through a restart of the agent.
func TestFollow(t *testing.T) {
	s := newSandbox(t, "")
	a := s.agent()
	s.mustPublish("before", 1)
	f := s.start("events", "-f", "-o", "json", "--kind", "message")
	s.until("the stored one is shown", func() bool { return strings.Contains(f.text(), `"before"`) })
	s.mustPublish("live", 2)
	s.until("the live one is shown", func() bool { return strings.Contains(f.text(), `"live"`) })
	a.signal(sigTerm)
	a.exits(0, stopTime)
	s.until("the loss is told", func() bool { return strings.Contains(f.text(), "waiting for it") })
	s.agent()
	s.mustPublish("after", 3)
	s.until("the one after the restart is shown", func() bool { return strings.Contains(f.text(), `"after"`) })
	if n := strings.Count(f.text(), `"kind":"message"`); n != 3 {
		t.Errorf("%d events were shown, 3 were stored: %s", n, f.text())
	}
	f.signal(sigInt)
	f.exits(0, stopTime)
}

// TestNoAgent: a verb that needs one says so, with the code for it.
func TestNoAgent(t *testing.T) {
	s := newSandbox(t, "")
	for _, args := range [][]string{
		{"status"}, {"events"}, {"events", "-f"}, {"devices"}, {"set", "a", "on"}, {"why", "a"}, {"pins"}, {"pins", "drive", "17", "high"},
		{"keys"}, {"keys", "create", "--name", "a", "--role", "read"}, {"keys", "delete", "a"}, {"rings"}, {"rings", "delete", "a"},
		{"mailboxes"}, {"uplinks"}, {"uplinks", "test", "a"}, {"export"}, {"claim"}, {"backup", "b"}, {"reload"}, {"record", "a"},
	} {
		s.run(args...).want(t, 3, "no agent at "+s.socket)
	}
}

// TestManual: the page fieldpost(8) has every verb.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../packaging/deb/files/fieldpost.8")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), ".SH VERBS\n")
	list, _, _ = strings.Cut(list, ".SH ")
	for _, verb := range newRoot(&shell{}).Commands() {
		if verb.Name() == "help" {
			continue // cobra's own
		}
		if !regexp.MustCompile(`(?m)^\.B[RI]? .*\b` + verb.Name() + `\b`).MatchString(list) {
			t.Errorf("%s is not among its verbs", verb.Name())
		}
	}
}

// TestUsage: a mistake in the arguments is told in one line, with the code for it.
func TestUsage(t *testing.T) {
	s := newSandbox(t, "")
	for _, args := range [][]string{
		{"evnts"}, {"status", "now"}, {"status", "--loud"}, {"verify"}, {"run", "now"}, {"run", "--set", "x"}, {"run", "--seed", "7"}, {"run", "--simulate", "--bounce", "soon"}, {"check", "a", "b"},
		{"demo", "--outage", "soon"}, {"demo", "--for", "-1s"}, {"keys", "create"}, {"claim", "now"}, {"pins", "drive"}, {"why"}, {"why", "a", "b"}, {"uplinks", "test"}, {"events", "-n", "-1"}, {"backup"}, {"restore"}, {"reset", "now"}, {"firstboot", "now"}, {"reload", "now"}, {"record"}, {"record", "a", "--for", "soon"}, {"sim"}, {"sim", "nothing.yaml"}, {"help", "evnts"}, {"help", "keys", "crate"},
	} {
		s.run(args...).want(t, 2)
	}
	s.run("evnts").want(t, 2, "did you mean events?")
	if r := s.run(); r.code != 2 || !strings.Contains(r.err, "Available Commands") {
		t.Errorf("alone: %+v", r)
	}
	for _, v := range []string{"events", "demo", "keys"} {
		s.run(v, "--help").want(t, 0, "Usage:")
		s.run("help", v).want(t, 0, "Usage:")
	}
	s.run("help", "keys", "create").want(t, 0, "fieldpost keys create")
	s.run("version").want(t, 0, "fieldpost ", "go1.")
	s.run("version", "-o", "json").want(t, 0, `"version"`)
}
