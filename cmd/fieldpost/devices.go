package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

func devicesVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "Shows the devices and their values",
		Args:  takes(0, 0, "no argument"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		raw, err := a.fetch(cmd.Context(), "/v1/devices")
		if err != nil || *out == asJSON {
			return a.rawOr(raw, err)
		}
		var list struct {
			Devices []edge.DeviceStatus `json:"devices"`
		}
		if err := decodeAnswer(raw, &list); err != nil {
			return err
		}
		t := newTable(a.Out, "NAME", "DRIVER", "STATUS", "VALUE", "SINCE", "PINS", "COMMANDS")
		for _, d := range list.Devices {
			status := d.Status
			if d.Error != "" {
				status += ": " + d.Error
			}
			t.row(d.Name, d.Driver, status, valueText(d.Value, d.Unit, d.State), since(d.Since), strings.Join(d.Pins, " "), strings.Join(d.Commands, " "))
		}
		return t.flush()
	}
	return cmd
}

// valueText shows a value with its unit and its name.
func valueText(value json.RawMessage, unit, state string) string {
	text := string(value)
	if unit != "" && text != "" {
		text += " " + unit
	}
	if state != "" {
		text += " (" + state + ")"
	}
	return text
}

// since shows how long ago a moment was.
func since(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return ago(time.Since(*t)) + " ago"
}
