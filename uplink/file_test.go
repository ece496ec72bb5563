package uplink_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge/edgetest"
	"fieldpost/uplink"
)

func TestFileCutsOffATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(path, []byte("{\"a\":1}\n{\"b\":"+strings.Repeat("x", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sender("file").New(env(), &uplink.FileConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "{\"a\":1}\n" {
		t.Errorf("%d bytes are left: %v", len(b), err)
	}
}

func TestFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	rig := edgetest.NewRig(t)
	opt := mqttOptions(rig, "")
	opt.Sender, opt.Options, opt.Rings = "file", &uplink.FileConfig{Path: path, Rotate: 100_000, Keep: 50}, []string{"alarms"}
	post(t, rig, "alarms", 3000)
	f, stop := start(t, opt)
	until(t, 20*1e9, "written", empty(f))
	stop()
	evs := readLines(t, path)
	if len(evs) != 3000 || evs[0].Seq != 1 || evs[2999].Seq != 3000 {
		t.Errorf("%d events are in the files", len(evs))
	}
	if names, _ := filepath.Glob(path + ".*"); len(names) < 5 {
		t.Errorf("rotated to %v", names)
	}
}

func TestFileConfigErrors(t *testing.T) {
	for _, conf := range []uplink.FileConfig{{Path: "relative"}, {Path: "/x", Rotate: 5}, {Path: "/x", Rotate: 5000, Keep: 0}} {
		if _, err := sender("file").New(env(), &conf); err == nil {
			t.Errorf("%+v was taken", conf)
		}
	}
	s, err := sender("file").New(env(), &uplink.FileConfig{Path: filepath.Join(t.TempDir(), "no", "such", "folder")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Connect(t.Context()); err == nil {
		t.Error("a file in no folder was opened")
	}
}
