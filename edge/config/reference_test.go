package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"fieldpost/edge"
)

// probe is a plug-in with a default of each kind.
type probe struct {
	Pin     edge.Pin      `mapstructure:"probe"`
	Every   edge.Duration `mapstructure:"every"`
	Scale   float64       `mapstructure:"scale"`
	Size    edge.Size     `mapstructure:"size"`
	Wrap    bool          `mapstructure:"wrap"`
	Secret  edge.Secret   `mapstructure:"secret"`
	Headers map[string]string
	States  struct {
		On string `mapstructure:"on"`
	} `mapstructure:"states"`
	Report *struct {
		Delta float64 `mapstructure:"delta"`
	} `mapstructure:"report"`
}

// bus is one whose own key has a default.
type bus struct {
	Address int `mapstructure:"bus"`
}

func probes() Tables {
	return Tables{Drivers: []Plugin{
		{Name: "probe", New: func() any {
			p := &probe{Every: edge.Duration(10e9), Scale: 0.5, Size: 100_000_000, Wrap: true}
			p.States.On = "open"
			return p
		}},
		{Name: "bus", New: func() any { return &bus{Address: 0x76} }},
	}}
}

// Every key that a file may hold is listed, in its section.
func TestReferencesHaveEveryKey(t *testing.T) {
	has := map[string]bool{}
	for _, r := range References(probes()) {
		for _, part := range append(strings.Split(r.Key, "."), r.Section) {
			has[part] = true
		}
		if r.Kind == "" {
			t.Errorf("%+v has no kind", r)
		}
	}
	for _, key := range append(allKeys(reflect.TypeFor[layout]()), allKeys(reflect.TypeFor[probe]())...) {
		if !has[key] {
			t.Errorf("%s is not listed", key)
		}
	}
}

func TestReferencesOfAPlugin(t *testing.T) {
	var got []Reference
	for _, r := range References(probes()) {
		if r.Plugin != "" {
			got = append(got, r)
		}
	}
	want := []Reference{
		{"devices", "probe", "probe", "pin", ""},
		{"devices", "probe", "every", "time", "10s"},
		{"devices", "probe", "scale", "number", "0.5"},
		{"devices", "probe", "size", "size", "100MB"},
		{"devices", "probe", "wrap", "true or false", "true"},
		{"devices", "probe", "secret", "secret", ""},
		{"devices", "probe", "states.on", "text", "open"},
		{"devices", "probe", "report.delta", "number", ""},
		{"devices", "bus", "bus", "number", "0x76"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// The system's config is of the system's agent, whoever reads it.
func TestSystemConfigHasTheSystemsPlaces(t *testing.T) {
	l := &loader{src: Source{Path: systemConfig, Plain: true}, root: &node{shape: dict}, probs: &Problems{}, open: map[string]bool{}}
	l.files()
	if got := l.dataDir(nil); got != systemDataDir {
		t.Errorf("data_dir is %s", got)
	}
	l = &loader{src: Source{Path: "/elsewhere.yaml", Plain: true, Env: []string{"HOME=/home/pi"}}, root: &node{shape: dict}, probs: &Problems{}, open: map[string]bool{}}
	l.files()
	if got := l.dataDir(nil); got != "/home/pi/.local/state/fieldpost" {
		t.Errorf("data_dir is %s", got)
	}
}
