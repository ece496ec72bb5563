package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge/config"
)

func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../fieldpost.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// part is what a page has between a heading and the next one of its kind.
func part(page, heading string) string {
	_, rest, _ := strings.Cut(page, heading+"\n")
	if i := strings.Index(rest, heading[:4]); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// Every key of the config is in its section, with what it takes; every driver and sender
// has its words and, where it is a driver, its example.
func TestEveryKeyIsThere(t *testing.T) {
	got := page(example(t), keys())
	sections, drivers := map[string]bool{}, 0
	for _, k := range keys() {
		sections[k.Section] = true
		if k.Section == "uplink_defaults" {
			continue // the keys of uplinks
		}
		text := part(got, ".SH "+strings.ToUpper(k.Section))
		if k.Plugin != "" {
			if text = part(text, ".SS "+k.Plugin); !strings.Contains(text, line(sentence(docs()[k.Section+" "+k.Plugin]))) {
				t.Errorf("%s has no words of its own in %q", k.Plugin, text)
			}
			if k.Key == k.Plugin && k.Section == "devices" {
				drivers++
				if !strings.Contains(text, "\n  "+k.Plugin+": ") {
					t.Errorf("%s has no example: %s", k.Plugin, text)
				}
			}
		}
		if k.Key != "" && !strings.Contains(text, "\n.B "+escape(k.Key)+"\n"+line(sentence(about(k)))) {
			t.Errorf("%s %s %s (%s) is not in %q", k.Section, k.Plugin, k.Key, k.Kind, text)
		}
	}
	for s := range sections {
		if part(got, ".SH "+strings.ToUpper(s)) == "" {
			t.Errorf("there is no section %s", s)
		}
	}
	if drivers < 15 {
		t.Errorf("there are %d drivers: the test looks at too little", drivers)
	}
}

// What is said of common keys is of keys that there are, and is shown.
func TestCommonWords(t *testing.T) {
	known := map[string]bool{}
	for _, k := range keys() {
		known[k.Key] = true
	}
	for key := range common {
		if !known[key] {
			t.Errorf("there is no key %s any more", key)
		}
	}
	text := part(part(page(example(t), keys()), ".SH DEVICES"), ".SS counter")
	for _, want := range []string{"Value = edges x scale.", "What people call it."} {
		if want == "What people call it." {
			text = page(example(t), keys())
		}
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		`.TH -1 °C`:   `\&.TH \-1 \[u00B0]C`,
		`'a\b ~ ^`:    `\(aqa\eb \(ti \(ha`,
		"plain words": "plain words",
	} {
		if got := line(in); got != want {
			t.Errorf("%q is written %q, want %q", in, got, want)
		}
	}
}

// groff has nothing against the page, and none of its lines is lost.
func TestGroffReadsIt(t *testing.T) {
	man, err := exec.LookPath("man")
	if err != nil {
		t.Skip("no man here: packaging/deb/test reads the page")
	}
	k := append(keys(), config.Reference{Section: "agent", Key: "odd", Kind: `.TH 'x' \fB`})
	file := filepath.Join(t.TempDir(), "fieldpost.yaml.5")
	if err := os.WriteFile(file, []byte(page(example(t), k)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(man, "--warnings", "-E", "UTF-8", "-l", file)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=100", "MANROFFOPT=", "MAN_KEEP_FORMATTING=")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Fatalf("%v: %s", err, &complaints)
	}
	for _, want := range []string{`.TH 'x' \fB`, `match: '^(?P<value>[-+]?[0-9.]+) kg'`, `unit: "°C"`, "{lat: 52.52, lon: 13.4}"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
}
