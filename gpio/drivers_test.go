package gpio_test

import (
	"fmt"
	"testing"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

func TestDriversKeepTheContract(t *testing.T) {
	seen := map[string]bool{}
	alone := map[string]bool{"sim": true, "external": true} // they need no hardware
	for _, d := range gpio.Drivers() {
		if seen[d.Name] {
			t.Errorf("two rows are named %s", d.Name)
		}
		seen[d.Name] = true
		t.Run(d.Name, func(t *testing.T) { gpiotest.Conform(t, d, alone[d.Name], decodeExample) })
	}
}

// decodeExample reads an example as edge/config does: text forms, no unknown keys.
func decodeExample(example, driver string, into any) (string, error) {
	var doc map[string]map[string]any
	if err := yaml.Unmarshal([]byte(example), &doc); err != nil {
		return "", err
	}
	for name, entry := range doc {
		if _, ok := entry[driver]; !ok {
			return "", fmt.Errorf("%s has no key %s", name, driver)
		}
		dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{DecodeHook: mapstructure.TextUnmarshallerHookFunc(), ErrorUnused: true, Result: into})
		if err != nil {
			return "", err
		}
		return name, dec.Decode(entry)
	}
	return "", fmt.Errorf("no device in it")
}

// spec makes a device from an example in YAML.
func spec(t testing.TB, driver, example string) gpio.Spec {
	t.Helper()
	for _, d := range gpio.Drivers() {
		if d.Name == driver {
			options := d.Config()
			name, err := decodeExample(example, driver, options)
			if err != nil {
				t.Fatal(err)
			}
			return gpio.Spec{Name: name, Driver: driver, Options: options}
		}
	}
	t.Fatalf("no driver %s", driver)
	return gpio.Spec{}
}
