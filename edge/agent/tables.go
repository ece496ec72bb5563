package agent

import (
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/uplink"
)

// Tables are the plug-ins of this binary, as config checks and decodes them.
func Tables() config.Tables {
	var t config.Tables
	for _, d := range gpio.Drivers() {
		t.Drivers = append(t.Drivers, config.Plugin{Name: d.Name, New: d.Config})
	}
	for _, s := range uplink.Senders() {
		t.Senders = append(t.Senders, config.Plugin{Name: s.Name, New: s.Config})
	}
	return t
}
