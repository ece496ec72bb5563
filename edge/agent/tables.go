package agent

import (
	"errors"
	"slices"

	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/uplink"
)

// Tables are the plug-ins of this binary, as config checks and decodes them.
func Tables() config.Tables {
	t := config.Tables{Refused: refused}
	for _, d := range gpio.Drivers() {
		t.Drivers = append(t.Drivers, config.Plugin{Name: d.Name, New: d.Config})
	}
	for _, s := range uplink.Senders() {
		t.Senders = append(t.Senders, config.Plugin{Name: s.Name, New: s.Config})
	}
	return t
}

// refused makes the devices, which touches no board, and gives why some can't be made.
func refused(devices map[string]*config.Device, uplinks []string) map[string]error {
	why := map[string]error{}
	for all := specs(devices); len(all) > 0; {
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: all, UplinkNames: uplinks, Rows: noRows{}})
		mistake, ok := errors.AsType[*gpio.DeviceError](err)
		if !ok {
			break // fine, or nothing that a config is to blame for
		}
		why[mistake.Device] = mistake.Err
		all = slices.DeleteFunc(all, func(s gpio.Spec) bool { return s.Name == mistake.Device })
	}
	return why
}

// noRows is a store with nothing in it.
type noRows struct{}

func (noRows) Get(string, string) ([]byte, bool) { return nil, false }

func (noRows) Each(string, string, func(string, []byte) bool) error { return nil }
