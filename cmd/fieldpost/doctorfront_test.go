package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge/config"
)

func TestCrashCheck(t *testing.T) {
	for _, c := range []struct {
		file   string
		health health
		text   string
	}{
		{"", healthy, "no crash is noted"},
		{`{"boot":"b","up":1}`, healthy, "no crash is noted"},
		{`{"boot":"b","up":1,"crashes":[90,12]}`, notable, "2 times lately, last 12s or more before it started"},
		{`{"boot":"b","up":1,"crashes":[90,12,3],"safe":true}`, ailing, "3 times in a row: it started safe"},
		{`{`, notable, "read how earlier runs ended"},
	} {
		dir := t.TempDir()
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, "running"), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := crashCheck(t.Context(), &patient{config: &config.Config{DataDir: dir}})
		if len(got) != 1 || got[0].Health != c.health || !strings.Contains(got[0].Text, c.text) {
			t.Errorf("%s: got %+v", c.file, got)
		}
	}
}

func TestClaimCheck(t *testing.T) {
	if got := claimCheck(t.Context(), &patient{}); got != nil {
		t.Errorf("no agent: got %+v", got)
	}
	if got := claimCheck(t.Context(), &patient{status: &status{}}); len(got) != 1 || got[0].Health != notable || !strings.Contains(got[0].Cure, "fieldpost claim") {
		t.Errorf("got %+v", got)
	}
	if got := claimCheck(t.Context(), &patient{status: &status{Claimed: true}}); len(got) != 1 || got[0].Health != healthy {
		t.Errorf("got %+v", got)
	}
}

func TestLEDCheckOfOneThatWorks(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "sys/class/leds/ACT")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"brightness", "trigger"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o664); err != nil {
			t.Fatal(err)
		}
	}
	p := &patient{root: root, config: &config.Config{LED: &config.LEDConfig{Name: "ACT"}}}
	if got := ledCheck(t.Context(), p); len(got) != 1 || got[0].Health != healthy {
		t.Errorf("got %+v", got)
	}
	p.config.LED.Name = "led0" // as older kernels call it
	if got := ledCheck(t.Context(), p); len(got) != 1 || got[0].Health != healthy {
		t.Errorf("got %+v", got)
	}
	p.root, p.status = t.TempDir(), &status{LED: "calm"}
	if got := ledCheck(t.Context(), p); len(got) != 1 || !strings.Contains(got[0].Text, "shows calm") {
		t.Errorf("got %+v", got)
	}
	p.config.LED = nil
	if got := ledCheck(t.Context(), p); got != nil {
		t.Errorf("got %+v", got)
	}
}
