package agent

import (
	"context"
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"fieldpost/gpio"
)

// record writes a trace of a device until ctx is done. Its head has the device's entry
// of the config, so that a twin needs no other.
func (a *agent) record(ctx context.Context, device string, write func(line []byte) error) error {
	return a.source.Record(ctx, device, func(h *gpio.TraceHead) {
		h.Agent, h.Release, h.Board, h.Boot = a.id, a.opt.Version, a.board.Model, a.board.BootID
		var shown struct {
			Devices map[string]map[string]any `yaml:"devices"`
		}
		if yaml.Unmarshal(a.config().Redacted(), &shown) != nil {
			return // the trace goes without; sim asks for a config then
		}
		if b, err := json.Marshal(shown.Devices[device]); err == nil && shown.Devices[device] != nil {
			h.Config = b
		}
	}, write)
}
