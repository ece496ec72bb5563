package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fieldpost/edge/config"
)

// TestRefusedDevices: what only making a device can tell is told of the config, each
// mistake at its place and once.
func TestRefusedDevices(t *testing.T) {
	for name, c := range map[string]struct {
		devices string
		want    []string // one a mistake, in order
	}{
		"an address that the part can't have": {
			"  air: {bme280: 0x75}\n",
			[]string{"fieldpost.yaml:2:3: devices.air: address 0x75: a BME280 has one from 0x76 to 0x77"},
		},
		"a line that the expander has not": {
			"  more: {mcp23017: 0x20}\n  gate: {digital_in: more.C0}\n  lamp: {digital_out: more.B7}\n",
			[]string{"fieldpost.yaml:3:3: devices.gate: there is no line more.C0: it is like more.A0 or more.B7"},
		},
		"two that share an expander's line": {
			"  more: {mcp23017: 0x20}\n  a: {digital_in: more.A0}\n  b: {digital_in: more.A0}\n",
			[]string{"more.A0"},
		},
		"two that share a line": {
			"  door: {digital_in: GPIO17}\n  gate: {digital_in: 17}\n",
			[]string{"GPIO17"},
		},
		"each of several": {
			"  tank: {hc_sr04: GPIO19, echo: GPIO26, tries: 99}\n  fine: {digital_in: GPIO5}\n  flow: {counter: GPIO6, scale: 0}\n",
			[]string{"fieldpost.yaml:2:3: devices.tank: tries is 99", "fieldpost.yaml:4:3: devices.flow: scale is 0"},
		},
		"one that has another mistake already": {
			"  tank: {hc_sr04: GPIO19, echo: GPIO26, tries: 99, unti: mm}\n",
			[]string{`fieldpost.yaml:2:52: devices.tank (hc_sr04) has no key "unti"`},
		},
		"none": {"  more: {mcp23017: 0x20}\n  lamp: {digital_out: more.B7}\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fieldpost.yaml")
			if err := os.WriteFile(path, []byte("devices:\n"+c.devices), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(config.Source{Path: path, Tables: Tables()})
			var told []string
			if err != nil {
				told = strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""), "\n")
			}
			if len(told) != len(c.want) {
				t.Fatalf("it tells %q, want %q", told, c.want)
			}
			for i, w := range c.want {
				if !strings.Contains(told[i], w) {
					t.Errorf("it tells %q, want %q", told[i], w)
				}
			}
		})
	}
}
