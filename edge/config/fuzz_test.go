package config

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad: any bytes load or give problems with a place, and what loads can be
// written out and loads again to the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(full))
	for _, s := range []string{
		"", "a", "- a", "{", "a: b: c", "devices:\n\tdoor: 1", "devices: {door: {line: 0x76, states: {a: [~, {}]}}}", "--- a\n---\n",
		"uplinks: {a: {wire: x, body: {1: 2, x.y: !!binary a}, raw: [.inf, 1e999, 0777, 99999999999999999999]}}",
		"a: &a [*a]", "<<: {a: 1}", "? [a]\n: b", "data_dir: \"\\0\"", "store: {rings: {a: {keep: 1e18 events, age: 99999w}}}", "%YAML 1.1\n---\n",
		"uplink_defaults: {tls: {ca: x}}\nuplinks: {a: {wire: x, tls: {}}}", "mailboxes: {a: {}}\nkeys: {k: {role: read, secret: \"\"}}",
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	name := filepath.Join(dir, "fieldpost.yaml")
	src := Source{Path: name, Tables: testTables(), Env: []string{"HOME=" + dir}, Plain: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(src)
		if err != nil {
			for _, p := range err.(*Problems).List {
				if p.File == "" || p.What == "" || p.Line < 0 {
					t.Errorf("a problem without a place: %q", p)
				}
				if p.Line == 0 && p.File == name && len(b) <= maxFile {
					t.Errorf("a problem without a line: %q", p)
				}
			}
			return
		}
		out := cfg.Redacted()
		if err := os.WriteFile(name, out, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load(src)
		if err != nil {
			t.Fatalf("%v\nfrom\n%s", err, out)
		}
		if second := again.Redacted(); string(second) != string(out) {
			t.Errorf("it was\n%s\nand is\n%s", out, second)
		}
	})
}
