package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

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
			"fieldpost.yaml":  "api: {listen: off, tls: {cert: file:/a, key: file:/b}}\n",
			"conf.d/one.yaml": "api: {tls: {client_ca: file:/c}}\n",
		}, []string{"conf.d/one.yaml:1:7: api.tls is also in fieldpost.yaml:1:20: keep one of them"}},
		{"in the order of the sources", map[string]string{
			"fieldpost.yaml":  "nope: 1\nstore: {rings: {A: {}}}\n",
			"conf.d/one.yaml": "never: 2\n",
			"conf.d/two.yaml": "devices: {door: {line: [}}\n",
		}, []string{
			`fieldpost.yaml:1:1: the config has no key "nope": it can be agent, api, button, data_dir, devices, keys, led, mailboxes, store, uplink_defaults or uplinks`,
			`fieldpost.yaml:2:17: ring name "A" can't be used: write a`,
			`conf.d/one.yaml:1:1: the config has no key "never": it can be agent, api, button, data_dir, devices, keys, led, mailboxes, store, uplink_defaults or uplinks`,
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
