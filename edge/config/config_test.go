package config

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge"
)

// The plug-ins of these tests: every kind of field that a real one may have.

type lineOptions struct {
	Pin      edge.Pin          `mapstructure:"line"`
	Pull     string            `mapstructure:"pull"`
	Debounce edge.Duration     `mapstructure:"debounce"`
	States   map[string]string `mapstructure:"states"`
	Invert   bool              `mapstructure:"invert"`
	Scale    float64           `mapstructure:"scale"`
	Remote   bool              `mapstructure:"remote"`
	Offline  *offlineOptions   `mapstructure:"offline"`
}

type offlineOptions struct {
	After edge.Duration `mapstructure:"after"`
	Set   string        `mapstructure:"set"`
}

// badPull is an error that knows its key.
type badPull struct{ error }

func (badPull) Key() string { return "pull" }

func (o *lineOptions) Validate() error {
	var errs []error
	if o.Pull != "" && o.Pull != "up" && o.Pull != "down" {
		errs = append(errs, badPull{errors.New("a pull is up or down")})
	}
	if o.Scale < 0 {
		errs = append(errs, errors.New("scale can't be below 0"))
	}
	return errors.Join(errs...)
}

type chipOptions struct {
	Address uint8         `mapstructure:"chip"`
	Bus     string        `mapstructure:"bus"`
	Every   edge.Duration `mapstructure:"every"`
	Count   int           `mapstructure:"count"`
	Pins    []edge.Pin    `mapstructure:"pins"`
	Bounds  `mapstructure:",squash"`
}

type Bounds struct {
	Accept struct {
		Min float64 `mapstructure:"min"`
		Max float64 `mapstructure:"max"`
	} `mapstructure:"accept"`
}

type emptyOptions struct {
	Empty struct {
		Answer edge.Duration `mapstructure:"answer"`
	} `mapstructure:"empty"`
}

type wireOptions struct {
	URL     string            `mapstructure:"wire"`
	User    string            `mapstructure:"user"`
	Pass    edge.Secret       `mapstructure:"password"`
	Headers map[string]string `mapstructure:"headers"`
	Body    map[string]any    `mapstructure:"body"`
	Raw     json.RawMessage   `mapstructure:"raw"`
	Prefix  string            `mapstructure:"prefix"`
	Receive []receiveOptions  `mapstructure:"routes"`
	Window  int               `mapstructure:"window"`
	Limit   *edge.Size        `mapstructure:"limit"`
	Modes   []string          `mapstructure:"modes"`
}

type receiveOptions struct {
	Topic string            `mapstructure:"topic"`
	Ring  string            `mapstructure:"ring"`
	Only  map[string]string `mapstructure:"only"`
}

type tubeOptions struct {
	Path string `mapstructure:"tube"`
}

func testTables() Tables {
	return Tables{
		Drivers: []Plugin{
			{"line", func() any { return &lineOptions{Pull: "up", Debounce: edge.Duration(5e6)} }},
			{"chip", func() any {
				o := &chipOptions{Bus: "I2C1", Every: edge.Duration(5e9), Pins: []edge.Pin{"GPIO2", "GPIO3"}}
				o.Accept.Max = math.Inf(1)
				return o
			}},
			{"empty", func() any { return &emptyOptions{} }},
		},
		Senders: []Plugin{
			{"wire", func() any { return &wireOptions{Window: 256, Modes: []string{"a", "b"}} }},
			{"tube", func() any { return &tubeOptions{} }},
		},
	}
}

// write makes the files in a new folder, which becomes the working one, and gives
// a Source that reads fieldpost.yaml there and nothing of this machine.
func write(t testing.TB, files map[string]string) Source {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return Source{
		Path: "fieldpost.yaml", Tables: testTables(), Plain: true,
		Env: []string{"HOME=/nowhere", "XDG_STATE_HOME=" + filepath.Join(dir, "state"), "XDG_RUNTIME_DIR=" + dir},
	}
}

// one is write for a main file alone.
func one(t testing.TB, body string) Source {
	t.Helper()
	return write(t, map[string]string{"fieldpost.yaml": body})
}

func mustLoad(t testing.TB, src Source) *Config {
	t.Helper()
	cfg, err := Load(src)
	if err != nil {
		t.Fatalf("load:\n%v", err)
	}
	return cfg
}

// problems gives the lines of the error that Load must return.
func problems(t testing.TB, src Source) []string {
	t.Helper()
	cfg, err := Load(src)
	if err == nil {
		t.Fatalf("loaded, want problems:\n%s", cfg)
	}
	var ps *Problems
	if !errors.As(err, &ps) {
		t.Fatalf("error is a %T", err)
	}
	return strings.Split(err.Error(), "\n")
}
