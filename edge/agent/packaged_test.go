package agent

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"fieldpost/edge/config/configtest"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
)

// TestPackagedDevices: the devices of the package's example config load with the
// real drivers and can be made, there is one of each driver, and it shows each
// key that the driver alone has.
func TestPackagedDevices(t *testing.T) {
	text, err := os.ReadFile("../../packaging/fieldpost.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Devices map[string]map[string]any }
	if err := yaml.Unmarshal(configtest.Uncomment(text), &doc); err != nil {
		t.Fatal(err)
	}
	uplinks := map[string]any{"cloud": map[string]any{"mqtt": "mqtt://127.0.0.1:1883"}} // that the pump's offline goes by
	devices, err := yaml.Marshal(map[string]any{"devices": doc.Devices, "uplinks": uplinks})
	if err != nil {
		t.Fatal(err)
	}
	cfg := load(t, testDir(t), string(devices))
	var have, want []string
	for _, d := range cfg.Devices {
		have = append(have, d.Driver)
		options := reflect.TypeOf(d.Options).Elem()
		for i := range options.NumField() {
			key := options.Field(i).Tag.Get("mapstructure")
			if key == ",squash" {
				continue // what drivers share is shown with some of them
			}
			if doc.Devices[d.Name][key] == nil {
				t.Errorf("%s has no example of %s; it has %v", d.Name, key, slices.Sorted(maps.Keys(doc.Devices[d.Name])))
			}
		}
	}
	for _, d := range gpio.Drivers() {
		want = append(want, d.Name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("there are examples of %v, want %v", have, want)
	}
	rig := edgetest.NewRig(t)
	a := &agent{opt: Options{Config: cfg, Pins: gpio.NewSimBoard(gpio.SimOptions{})}, pump: rig.Pump, store: rig.Store, clock: rig.Clock}
	if _, err := a.newSource(); err != nil {
		t.Error(err)
	}
}
