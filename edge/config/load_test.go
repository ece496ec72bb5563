package config

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

const full = `
agent: {id: greenhouse}
devices:
  door:
    line: P1_11
    label: Front door
    room: Living Room
    tags: [entry, 1.50, off]
    at: {lat: 52.5, lon: -1e1}
    ring: alarms
    debounce: 30ms
    states: {On: open, off.now: closed, 0x76: 0123}
    scale: 1e3
    offline: {after: 5m, set: off}
  air: {chip: 0x76, every: 0s, pins: [GPIO20], accept: {min: -40}}
  lamp: {empty: {}}
store:
  rings:
    alarms: {keep: 5k events}
    remote: {age: 2w}
  headroom: 1GiB
uplink_defaults: {tls: {ca: file:/ca.pem, server_name: up}, prefix: site7, password: env:PASS}
uplinks:
  cloud:
    wire: mqtts://me:hunter2@broker:8883
    user: yes
    tls: {server_name: own}
    rings: [alarms, events]
    order: live-first
    from: now
    batch: {events: 200, wait: 1s}
    headers: {X-Api-Key: hunter3, Content.Type: a}
    body: {Kitchen.Temp: {Deep: [1, 0x10, 1.5, true, "1", ~]}}
    raw: {A.b: [1, x]}
    routes: [{topic: a/#, ring: remote, only: {Big.Key: v}}]
    modes: [c]
    limit: 5MB
  copy: {tube: /tmp/x}
api: {listen: off, base_path: /pi, hosts: pi.example.org}
keys: {app: {role: write, secret: 0123, names: ["kitchen/*"]}}
mailboxes: {app: {names: [door], keep: 0}, all: {}}
`

func TestLoad(t *testing.T) {
	cfg := mustLoad(t, one(t, full))
	if cfg.Agent.ID != "greenhouse" || len(cfg.Devices) != 3 || !slices.Equal(cfg.Files, []string{"fieldpost.yaml"}) {
		t.Errorf("agent %q, %d devices, files %q", cfg.Agent.ID, len(cfg.Devices), cfg.Files)
	}
	t.Run("device", func(t *testing.T) {
		for _, d := range cfg.Devices {
			d.defaults = nil
		}
		same(t, cfg.Devices["door"], &Device{
			Name: "door", Driver: "line", Label: "Front door", Room: "Living Room",
			Tags: []string{"entry", "1.50", "off"}, At: &edge.Place{Lat: 52.5, Lon: -10}, Ring: "alarms",
			Options: &lineOptions{
				Pin: "GPIO17", Pull: "up", Debounce: edge.Duration(30 * time.Millisecond), Scale: 1000,
				States:  map[string]string{"On": "open", "off.now": "closed", "0x76": "0123"},
				Offline: &offlineOptions{After: edge.Duration(5 * time.Minute), Set: "off"},
			},
		})
		air := &chipOptions{Address: 0x76, Bus: "I2C1", Every: 0, Pins: []edge.Pin{"GPIO20"}}
		air.Accept.Min, air.Accept.Max = -40, math.Inf(1)
		same(t, cfg.Devices["air"].Options, any(air))
		same(t, cfg.Devices["lamp"], &Device{Name: "lamp", Driver: "empty", Options: &emptyOptions{}})
	})
	t.Run("uplink", func(t *testing.T) {
		u := cfg.Uplinks["cloud"]
		o, limit := u.Options.(*wireOptions), edge.Size(5_000_000)
		if src := u.TLS.CA.Source(); src != "file:/ca.pem" || u.TLS.ServerName != "own" {
			t.Errorf("tls from %s for %s", src, u.TLS.ServerName)
		}
		if u.Prefix != "site7" || o.Prefix != "site7" || u.Sender != "wire" || u.Order != "live-first" || u.From != "now" || u.Batch.Events != 200 {
			t.Errorf("uplink %+v", u)
		}
		o.Pass = edge.Secret{}
		same(t, o, &wireOptions{
			URL: "mqtts://me:hunter2@broker:8883", User: "yes", Window: 256, Prefix: "site7", Modes: []string{"c"}, Limit: &limit,
			Headers: map[string]string{"X-Api-Key": "hunter3", "Content.Type": "a"},
			Body:    map[string]any{"Kitchen.Temp": map[string]any{"Deep": []any{int64(1), int64(16), 1.5, true, "1", nil}}},
			Raw:     []byte(`{"A.b":[1,"x"]}`),
			Receive: []receiveOptions{{Topic: "a/#", Ring: "remote", Only: map[string]string{"Big.Key": "v"}}},
		})
		same(t, cfg.Uplinks["copy"].Options, any(&tubeOptions{Path: "/tmp/x"}))
		if c := cfg.Uplinks["copy"]; c.Order != "in-order" || c.From != "oldest" || c.Rings != nil || c.Prefix != "site7" {
			t.Errorf("copy %+v", c)
		}
	})
	t.Run("store", func(t *testing.T) {
		same(t, cfg.Store.Rings["alarms"], RingConfig{Keep: 5000, WhenFull: "evict"})
		same(t, cfg.Store.Rings["remote"], RingConfig{Keep: 100_000, Size: 64_000_000, Age: edge.Duration(14 * 24 * time.Hour), WhenFull: "evict"})
		if cfg.Store.Headroom != 1<<30 {
			t.Errorf("headroom %v", cfg.Store.Headroom)
		}
	})
	t.Run("rest", func(t *testing.T) {
		if len(cfg.API.Listen) != 0 || cfg.API.BasePath != "/pi" || !slices.Equal(cfg.API.Hosts, []string{"pi.example.org"}) {
			t.Errorf("api %+v", cfg.API)
		}
		if s, err := cfg.Keys["app"].Secret.Reveal(); s != "0123" || err != nil {
			t.Errorf("secret is not what was written: %v", err)
		}
		if k := cfg.Mailboxes["app"].Keep; k == nil || *k != 0 || cfg.Mailboxes["all"] == nil || cfg.Mailboxes["all"].Keep != nil {
			t.Errorf("mailboxes %+v", cfg.Mailboxes)
		}
	})
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	src := one(t, "")
	src.Path = ""
	cfg := mustLoad(t, src)
	day := edge.Duration(24 * time.Hour)
	want := map[string]RingConfig{
		"alarms":     {Keep: 100_000, WhenFull: "evict"},
		"events":     {Keep: 1_000_000, Size: 256_000_000, WhenFull: "evict"},
		"samples":    {Keep: 1_000_000, Size: 256_000_000, Age: 30 * day, Sync: edge.Duration(time.Second), WhenFull: "evict"},
		"audit":      {Keep: 100_000, Size: 32_000_000, WhenFull: "evict"},
		"quarantine": {Keep: 10_000, Size: 64_000_000, WhenFull: "evict"},
		"logs":       {Keep: 100_000, Size: 32_000_000, WhenFull: "evict"},
	}
	same(t, cfg.Store.Rings, want)
	same(t, cfg.API.Listen, []string{":8716"})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir != filepath.Join(dir, "state", "fieldpost") || cfg.API.Socket != filepath.Join(dir, "fieldpost.sock") {
		t.Errorf("data_dir %s, socket %s", cfg.DataDir, cfg.API.Socket)
	}
	src.Plain = false
	cfg = mustLoad(t, src)
	if cfg.DataDir != "/var/lib/fieldpost" || cfg.API.Socket != "/run/fieldpost/fieldpost.sock" {
		t.Errorf("data_dir %s, socket %s", cfg.DataDir, cfg.API.Socket)
	}
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		name                string
		plain               bool
		env                 []string
		wantData, wantSocke string
	}{
		{"system", false, []string{"HOME=/h"}, "/var/lib/fieldpost", "/run/fieldpost/fieldpost.sock"},
		{"home", true, []string{"HOME=/h"}, "/h/.local/state/fieldpost", "/h/.local/state/fieldpost/fieldpost.sock"},
		{"xdg", true, []string{"HOME=/h", "XDG_STATE_HOME=/s", "XDG_RUNTIME_DIR=/r"}, "/s/fieldpost", "/r/fieldpost.sock"},
		{"relative xdg", true, []string{"HOME=/h", "XDG_STATE_HOME=s"}, "/h/.local/state/fieldpost", "/h/.local/state/fieldpost/fieldpost.sock"},
	} {
		if d, s := DefaultDataDir(c.plain, c.env), DefaultSocket(c.plain, c.env); d != c.wantData || s != c.wantSocke {
			t.Errorf("%s: %s and %s", c.name, d, s)
		}
	}
	if PlainUser(0, nil) || !PlainUser(1000, nil) || PlainUser(1000, []string{"STATE_DIRECTORY=/var/lib/fieldpost"}) {
		t.Error("who is a plain user")
	}
}

func TestSearchList(t *testing.T) {
	src := write(t, map[string]string{
		"here/fieldpost.yaml":          "agent: {id: here}",
		"home/.fieldpost.yaml":         "agent: {id: home}",
		"xdg/fieldpost/fieldpost.yaml": "agent: {id: xdg}",
	})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	src.Path = ""
	src.Env = []string{"HOME=" + filepath.Join(dir, "home"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "xdg")}
	t.Chdir("here")
	for _, want := range []string{"here", "home", "xdg"} {
		cfg := mustLoad(t, src)
		if cfg.Agent.ID != want {
			t.Fatalf("agent %q, want %q", cfg.Agent.ID, want)
		}
		if err := os.Remove(cfg.Files[0]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat("/etc/fieldpost/fieldpost.yaml"); err == nil {
		t.Skip("this machine has a config of its own")
	}
	if cfg := mustLoad(t, src); len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0], "no config file") {
		t.Errorf("warnings %q", cfg.Warnings)
	}
}

func TestManyProblems(t *testing.T) {
	var b strings.Builder
	for i := range 150 {
		b.WriteString("x" + strings.Repeat("z", i) + ": 1\n")
	}
	got := problems(t, one(t, b.String()))
	if len(got) != maxProblems+1 || got[maxProblems] != "and 50 more" {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

func TestDeep(t *testing.T) {
	got := problems(t, one(t, "agent: "+strings.Repeat("[", 200)+strings.Repeat("]", 200)+"\n"))
	if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "nested over 32 deep") }) {
		t.Errorf("got %q", got)
	}
}

func TestHeadroomOff(t *testing.T) {
	if cfg := mustLoad(t, one(t, "store: {headroom: 0, wear: 100MB/day}\n")); cfg.Store.Headroom != -1 || len(cfg.Warnings) != 0 || cfg.Store.Wear.PerDay() != 100_000_000 {
		t.Errorf("headroom %d, warnings %q", cfg.Store.Headroom, cfg.Warnings)
	}
	if cfg := mustLoad(t, one(t, "")); cfg.Store.Headroom != 0 {
		t.Errorf("headroom %d", cfg.Store.Headroom)
	}
}

func TestOpenSecrets(t *testing.T) {
	src := one(t, "keys: {app: {role: read, secret: hunter2}, b: {role: read, secret: file:/x}}\n")
	if cfg := mustLoad(t, src); len(cfg.Warnings) != 0 {
		t.Errorf("warnings %q", cfg.Warnings)
	}
	if err := os.Chmod("fieldpost.yaml", 0o644); err != nil {
		t.Fatal(err)
	}
	same(t, mustLoad(t, src).Warnings, []string{
		"fieldpost.yaml:1:34: keys.app.secret is written out in a file that everyone may read: chmod 640, or write file:PATH",
	})
}
