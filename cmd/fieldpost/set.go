package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

func setVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME on|off|toggle|pulse DURATION|VALUE",
		Short: "Commands a device, and says what it did",
		Example: `  fieldpost set pump on
  fieldpost set pump pulse 90s
  fieldpost set fan 0.4`,
		Args: takes(2, 3, "a device and what to do"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		command, body, err := commandOf(args[1:])
		if err != nil {
			return err
		}
		return a.set(cmd.Context(), args[0], command, body, *out)
	}
	return cmd
}

// commandOf reads a verb, or a value to set.
func commandOf(words []string) (command string, body map[string]any, err error) {
	switch words[0] {
	case "on", "off", "toggle":
		if len(words) > 1 {
			return "", nil, usagef("set: %s takes no value", words[0])
		}
		return words[0], nil, nil
	case "pulse":
		if len(words) == 1 {
			return "pulse", nil, nil
		}
		var d edge.Duration
		if err := d.UnmarshalText([]byte(words[1])); err != nil {
			return "", nil, usagef("set: pulse: %v", err)
		}
		return "pulse", map[string]any{"value": words[1]}, nil
	case "set":
		if len(words) == 1 {
			return "", nil, usagef("set: set takes a value")
		}
		words = words[1:]
	}
	if len(words) > 1 {
		return "", nil, usagef("set: %q is no verb that takes a value: pulse is", words[0])
	}
	if json.Valid([]byte(words[0])) {
		return "set", map[string]any{"value": json.RawMessage(words[0])}, nil
	}
	return "set", map[string]any{"value": words[0]}, nil
}

func (a *app) set(ctx context.Context, device, command string, body map[string]any, out format) error {
	path := "/v1/devices/" + url.PathEscape(device) + "/" + command
	if body == nil {
		body = map[string]any{}
	}
	raw, err := a.send(ctx, http.MethodPost, path, body)
	if err != nil || out == asJSON {
		return a.rawOr(raw, err)
	}
	var did edge.Outcome
	if err := decodeAnswer(raw, &did); err != nil {
		return err
	}
	text := fmt.Sprintf("%s: %s", device, valueText(did.Value, "", did.State))
	if !did.Done && did.Why != "" {
		text += ": " + did.Why
	}
	_, err = fmt.Fprintln(a.Out, printable(text))
	return err
}
