package config

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"fieldpost/edge/config/configtest"
)

const packaged = "../../packaging/fieldpost.yaml"

// TestPackaged: the config of the package loads as it is, without any plug-in,
// and nothing in it acts.
func TestPackaged(t *testing.T) {
	cfg := mustLoad(t, Source{Path: packaged})
	if len(cfg.Devices)+len(cfg.Uplinks)+len(cfg.Keys) != 0 || len(cfg.Warnings) != 0 {
		t.Errorf("it has\n%s\n%q", cfg, cfg.Warnings)
	}
	without := mustLoad(t, one(t, ""))
	same(t, cfg.API.Listen, without.API.Listen)
	if cfg.DataDir != systemDataDir || cfg.API.Socket != systemSocket {
		t.Errorf("data_dir %s, socket %s", cfg.DataDir, cfg.API.Socket)
	}
}

// TestPackagedHasEveryKey: each key that config itself knows is in the examples.
// The plug-ins' own keys are held by the test that has the real tables.
func TestPackagedHasEveryKey(t *testing.T) {
	b, err := os.ReadFile(packaged)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(configtest.Uncomment(b), &doc); err != nil {
		t.Fatal(err)
	}
	has := make(map[string]bool)
	collect(doc, has)
	var missing []string
	for _, key := range allKeys(reflect.TypeFor[layout]()) {
		if !has[key] {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		t.Errorf("no example of %q", missing)
	}
}

func collect(v any, into map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for k, sub := range x {
			into[k] = true
			collect(sub, into)
		}
	case []any:
		for _, sub := range x {
			collect(sub, into)
		}
	}
}

// allKeys lists the keys of a struct and of all that is below it.
func allKeys(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Map || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || textTarget(t) != nil {
		return nil
	}
	var keys []string
	for _, f := range fieldsOf(t) {
		keys = append(append(keys, f.key), allKeys(f.typ)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func TestUncomment(t *testing.T) {
	in := "# text\n#key: 1\n#  sub: 2\n#\nold: 3 # note\n"
	if got := string(configtest.Uncomment([]byte(in))); got != "# text\nkey: 1\n  sub: 2\n\nold: 3 # note\n" {
		t.Errorf("got %q", got)
	}
}
