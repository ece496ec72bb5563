package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

func pinsVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "Shows the 40-pin header; drives an input of the simulated board",
		Args:  takes(0, 0, "no argument, or drive PIN high|low"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.pins(cmd.Context(), *out) }
	cmd.AddCommand(pinsDrive(a))
	return cmd
}

func (a *app) pins(ctx context.Context, out format) error {
	raw, err := a.fetch(ctx, "/v1/pins")
	if err != nil || out == asJSON {
		return a.rawOr(raw, err)
	}
	var list struct {
		Pins []edge.PinStatus `json:"pins"`
	}
	if err := decodeAnswer(raw, &list); err != nil {
		return err
	}
	t := newTable(a.Out, "PIN", "NAME", "FUNCTION", "LEVEL", "DEVICE", "OWNER")
	for _, p := range list.Pins {
		level := ""
		if p.Level != nil {
			level = levelText(*p.Level)
		}
		t.row(strconv.Itoa(p.Number), p.Name, p.Function, level, p.Device, p.Owner)
	}
	return t.flush()
}

func levelText(high bool) string {
	if high {
		return "high"
	}
	return "low"
}

func pinsDrive(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "drive PIN high|low",
		Short:   "Holds an input of the simulated board at a level",
		Example: "  fieldpost pins drive GPIO17 high",
		Args:    takes(2, 2, "a pin and high or low"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var pin edge.Pin
			if err := pin.UnmarshalText([]byte(args[0])); err != nil {
				return usagef("drive: %v", err)
			}
			level, err := levelOf(args[1])
			if err != nil {
				return err
			}
			path := "/v1/pins/" + url.PathEscape(pin.String()) + "/drive"
			if _, err := a.send(cmd.Context(), http.MethodPost, path, map[string]bool{"level": level}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Out, "%s: %s\n", pin, levelText(level))
			return err
		},
	}
}

// levelOf reads a physical level.
func levelOf(word string) (bool, error) {
	switch word {
	case "high", "1", "true":
		return true, nil
	case "low", "0", "false":
		return false, nil
	}
	return false, usagef("drive: %q is no level: write high or low", word)
}
