package config

import (
	"maps"
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

func TestFiles(t *testing.T) {
	src := write(t, map[string]string{
		"fieldpost.yaml":       "devices: {door: {line: GPIO17}}\nstore: {rings: {alarms: {keep: 5}}}\n",
		"conf.d/10-more.yaml":  "devices: {gate: {line: GPIO18}}\nstore: {rings: {b: {keep: 5}}, headroom: 1GB}\n",
		"conf.d/20-other.yaml": "api: {listen: off}\n",
		"conf.d/empty.yaml":    "# nothing yet\n",
		"conf.d/README":        "not: [yaml\n",
	})
	cfg := mustLoad(t, src)
	same(t, cfg.Files, []string{"fieldpost.yaml", "conf.d/10-more.yaml", "conf.d/20-other.yaml", "conf.d/empty.yaml"})
	if len(cfg.Devices) != 2 || cfg.Store.Rings["b"].Keep != 5 || cfg.Store.Rings["alarms"].Keep != 5 || cfg.Store.Headroom != 1e9 {
		t.Errorf("merged to\n%s", cfg)
	}
}

func TestFileProblems(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"missing", nil, []string{"fieldpost.yaml: can't be read: no such file or directory: give --config the file that you mean"}},
		{"folder", map[string]string{"fieldpost.yaml/x": ""}, []string{"fieldpost.yaml: can't be read: it is a folder"}},
		{"same device", map[string]string{
			"fieldpost.yaml":  "devices:\n  door: {line: GPIO17}\n",
			"conf.d/one.yaml": "devices:\n  door: {line: GPIO18}\n",
		}, []string{"conf.d/one.yaml:2:3: devices.door is also in fieldpost.yaml:2:3: keep one of them"}},
		{"same key", map[string]string{
			"fieldpost.yaml":  "api: {listen: off, tls: {cert: a, key: b}}\n",
			"conf.d/one.yaml": "api: {tls: {client_ca: c}}\n",
		}, []string{"conf.d/one.yaml:1:7: api.tls is also in fieldpost.yaml:1:20: keep one of them"}},
		{"in the order of the sources", map[string]string{
			"fieldpost.yaml":  "nope: 1\nstore: {rings: {A: {}}}\n",
			"conf.d/one.yaml": "never: 2\n",
			"conf.d/two.yaml": "devices: {door: {line: [}}\n",
		}, []string{
			`fieldpost.yaml:1:1: the config has no key "nope": it can be agent, api, data_dir, devices, keys, mailboxes, store, uplink_defaults or uplinks`,
			`fieldpost.yaml:2:17: ring name "A" can't be used: write a`,
			`conf.d/one.yaml:1:1: the config has no key "never": it can be agent, api, data_dir, devices, keys, mailboxes, store, uplink_defaults or uplinks`,
			`conf.d/two.yaml:1:1: not YAML: did not find expected node content: see the indentation, quotes and brackets of this line and the one before`,
		}},
		{"too large", map[string]string{"fieldpost.yaml": "#" + strings.Repeat("x", maxFile)},
			[]string{"fieldpost.yaml: can't be read: it is over 1048576 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			same(t, problems(t, write(t, c.files)), c.want)
		})
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

func TestEnvironmentAndFlags(t *testing.T) {
	src := one(t, "api: {listen: [\":1\"], base_path: /file}\ndevices: {night-light: {line: GPIO17, debounce: 1s}}\n"+
		"uplinks: {cloud: {wire: x, headers: {Big.Key: a}}}\nagent: {id: file}\n")
	src.Env = append(src.Env,
		"FIELDPOST_CONFIG=elsewhere.yaml", "FIELDPOST_SOCKET=/elsewhere.sock", "FIELDPOST_API__HOSTS=", "OTHER=1",
		"FIELDPOST_API__LISTEN=:80, 127.0.0.1:81", "FIELDPOST_API__BASE_PATH=/env", "FIELDPOST_AGENT__ID=env",
		"FIELDPOST_DEVICES__NIGHT_LIGHT__DEBOUNCE=70ms", "FIELDPOST_DEVICES__NIGHT_LIGHT__INVERT=true",
		"FIELDPOST_DEVICES__AIR__CHIP=0x76", "FIELDPOST_DEVICES__NIGHT_LIGHT__LABEL=null",
		"FIELDPOST_STORE__RINGS__SAMPLES__SYNC=0", "FIELDPOST_UPLINKS__CLOUD__HEADERS__NEW=b",
		"FIELDPOST_UPLINK_DEFAULTS__PREFIX=site", "FIELDPOST_UPLINKS__CLOUD__TLS__CA=file:/x")
	src.Flags = map[string]string{"agent.id": "flag", "api.socket": "/flag.sock"}
	cfg := mustLoad(t, src)
	same(t, cfg.API.Listen, []string{":80", "127.0.0.1:81"})
	if cfg.API.BasePath != "/env" || cfg.Agent.ID != "flag" || cfg.API.Socket != "/flag.sock" || cfg.API.Hosts != nil {
		t.Errorf("api %+v, agent %q", cfg.API, cfg.Agent.ID)
	}
	light := cfg.Devices["night-light"]
	o := light.Options.(*lineOptions)
	if o.Debounce.D() != 70*time.Millisecond || !o.Invert || o.Pin != "GPIO17" || light.Label != "null" {
		t.Errorf("device %+v %+v", light, o)
	}
	if cfg.Devices["air"].Options.(*chipOptions).Address != 0x76 {
		t.Errorf("air %+v", cfg.Devices["air"].Options)
	}
	if s := cfg.Store.Rings["samples"]; s.Sync != 0 || s.Keep != 1_000_000 {
		t.Errorf("samples %+v", s)
	}
	u := cfg.Uplinks["cloud"]
	same(t, u.Options.(*wireOptions).Headers, map[string]string{"Big.Key": "a", "new": "b"})
	if u.Prefix != "site" || u.TLS.CA.Source() != "file:/x" {
		t.Errorf("uplink %+v", u)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"FIELDPOST_API__LISTEN=nowhere", `environment FIELDPOST_API__LISTEN: api.listen[0]: "nowhere" is no address: write it like ":8716", "127.0.0.1:8716" or unix:PATH`},
		{"FIELDPOST_API__LISTN=:1", `environment FIELDPOST_API__LISTN: api has no key "listn": did you mean listen?`},
		{"FIELDPOST_FOO=1", `environment FIELDPOST_FOO: the config has no key "foo": it can be agent, api, data_dir, devices, keys, mailboxes, store, uplink_defaults or uplinks`},
		{"FIELDPOST_DEVICES__DOOR__DEBOUNCE=5", `environment FIELDPOST_DEVICES__DOOR__DEBOUNCE: devices.door.debounce: duration "5" has no unit: write it like 30ms, 10s, 10m, 1h, 30d or 2w`},
		{"FIELDPOST_DEVICES__DOOR__INVERT=yes", `environment FIELDPOST_DEVICES__DOOR__INVERT: devices.door.invert: "yes" is neither true nor false: write true`},
		{"FIELDPOST_DEVICES__DOOR=x", `environment FIELDPOST_DEVICES__DOOR: devices.door needs a map, this is a single value: set its keys one by one`},
		{"FIELDPOST_DEVICES__DOOR__LINE__PIN=x", `environment FIELDPOST_DEVICES__DOOR__LINE__PIN: devices.door.line is a single value in fieldpost.yaml:1:24, it has no keys: set it as a whole`},
		{"FIELDPOST___X=1", `environment FIELDPOST___X: there is a part without a name: write it like FIELDPOST_API__LISTEN`},
		{"FIELDPOST_KEYS__APP__SECRET=hunter2", lines(`environment FIELDPOST_KEYS__APP__SECRET: keys.app has no role: write  role: read, write, admin or forward`)},
	} {
		t.Run(c.env, func(t *testing.T) {
			src := one(t, "devices: {door: {line: GPIO17}}\n")
			src.Env = append(src.Env, c.env)
			same(t, problems(t, src), strings.Split(c.want, "\n"))
		})
	}
	src := one(t, "")
	src.Flags = map[string]string{"api.base_path": "pi"}
	same(t, problems(t, src), []string{`flag api.base_path: api.base_path: "pi" is no path: write it like /pi`})
}

func TestDataDirFirst(t *testing.T) {
	files := map[string]string{
		"fieldpost.yaml":          "data_dir: a\nagent: {id: file}\n",
		"a/config.d/panel.yaml":   "agent: {id: in-a}\n",
		"b/config.d/panel.yaml":   "agent: {id: in-b}\n",
		"c/config.d/panel.yaml":   "agent: {id: in-c}\n",
		"conf.d/no-data-dir.yaml": "",
	}
	src := write(t, files)
	for _, want := range []string{"in-a", "in-b", "in-c"} {
		switch want {
		case "in-b":
			src.Env = append(src.Env, "FIELDPOST_DATA_DIR=b")
		case "in-c":
			src.Flags = map[string]string{"data_dir": "c"}
		}
		if cfg := mustLoad(t, src); cfg.Agent.ID != want || cfg.DataDir != want[3:] {
			t.Errorf("agent %q in %q, want %q", cfg.Agent.ID, cfg.DataDir, want)
		}
	}
}

func TestPanel(t *testing.T) {
	main := "data_dir: d\ndevices:\n  door: {line: GPIO17, label: Old}\n  gate: {line: GPIO18}\n  bell: {line: GPIO19}\n" +
		"api: {listen: [\":1\"], base_path: /x}\nstore: {rings: {events: {keep: 7}, extra: {keep: 9}}}\n"
	src := write(t, map[string]string{
		"fieldpost.yaml":        main,
		"d/config.d/panel.yaml": "devices:\n  door: {chip: 5}\n  gate: null\n  new: {line: GPIO18}\n  gone: null\napi: {base_path: /y}\nstore: {rings: {extra: null, events: {size: 2MB}}}\n",
	})
	cfg := mustLoad(t, src)
	if d := cfg.Devices["door"]; d.Driver != "chip" || d.Label != "" {
		t.Errorf("door %+v: a replaced entry keeps nothing", d)
	}
	same(t, slices.Sorted(maps.Keys(cfg.Devices)), []string{"bell", "door", "new"})
	if cfg.API.BasePath != "/y" || cfg.API.Listen[0] != ":1" || cfg.Store.Rings["events"].Size != 2e6 {
		t.Errorf("config\n%s", cfg)
	}
	if _, ok := cfg.Store.Rings["extra"]; ok {
		t.Error("the ring is still there")
	}
	same(t, slices.Sorted(maps.Keys(cfg.Replaced)), []string{"api.base_path", "devices.door", "devices.gate", "store.rings.events", "store.rings.extra"})
	same(t, cfg.Warnings, []string{"d/config.d/panel.yaml:5:3: devices.gone is deleted here, and no file has it"})

	t.Run("changed since", func(t *testing.T) {
		panel := "devices: {door: {chip: 5}}\nreplaced: {devices.door: " + cfg.Replaced["devices.door"] + "}\n"
		src := write(t, map[string]string{"fieldpost.yaml": main, "d/config.d/panel.yaml": panel})
		if cfg := mustLoad(t, src); len(cfg.Warnings) != 0 {
			t.Errorf("warnings %q", cfg.Warnings)
		}
		src = write(t, map[string]string{"fieldpost.yaml": strings.Replace(main, "Old", "Newer", 1), "d/config.d/panel.yaml": panel})
		same(t, mustLoad(t, src).Warnings, []string{"d/config.d/panel.yaml:1:11: devices.door has changed in fieldpost.yaml since this replaced it; this one counts"})
	})
	t.Run("problems", func(t *testing.T) {
		src := write(t, map[string]string{"fieldpost.yaml": main, "d/config.d/panel.yaml": "data_dir: e\ndevices: null\napi: {listen: [x]}\n"})
		same(t, problems(t, src), []string{
			"d/config.d/panel.yaml:1:1: data_dir can't be set in a file that is in the data_dir: set it in the main file",
			"d/config.d/panel.yaml:2:1: devices has no value: null deletes what is in a section, never a section",
			`d/config.d/panel.yaml:3:16: api.listen[0]: "x" is no address: write it like ":8716", "127.0.0.1:8716" or unix:PATH`,
		})
	})
}

func TestHeadroomOff(t *testing.T) {
	if cfg := mustLoad(t, one(t, "store: {headroom: 0, wear: 100MB/day}\n")); cfg.Store.Headroom != -1 || len(cfg.Warnings) != 1 {
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
