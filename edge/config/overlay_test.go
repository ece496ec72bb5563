package config

import (
	"strings"
	"testing"
	"time"
)

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
		{"FIELDPOST_FOO=1", `environment FIELDPOST_FOO: the config has no key "foo": it can be agent, api, button, data_dir, devices, keys, led, mailboxes, store, uplink_defaults or uplinks`},
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
