package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

func uplinksVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uplinks",
		Short: "Shows the ways out: state, backlog, rate; tests one",
		Args:  takes(0, 0, "no argument, or test NAME"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.uplinks(cmd.Context(), *out) }
	cmd.AddCommand(uplinksTest(a))
	return cmd
}

func (a *app) uplinks(ctx context.Context, out format) error {
	raw, err := a.fetch(ctx, "/v1/uplinks")
	if err != nil || out == asJSON {
		return a.rawOr(raw, err)
	}
	var list struct {
		Uplinks []edge.UplinkStatus `json:"uplinks"`
	}
	if err := decodeAnswer(raw, &list); err != nil {
		return err
	}
	t := newTable(a.Out, "NAME", "SENDER", "STATE", "SINCE", "BACKLOG", "RATE", "EMPTY IN", "REFUSED", "ADDRESS", "ERROR")
	for _, u := range list.Uplinks {
		t.row(u.Name, u.Sender, u.State, since(u.Since), count(u.Backlog), rateText(u.Rate), emptyText(u.Empty), count(u.Refused), u.Address, u.Error)
	}
	return t.flush()
}

func rateText(perSecond float64) string {
	return strconv.FormatFloat(perSecond, 'f', 1, 64) + "/s"
}

func emptyText(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	return ago(time.Duration(*seconds * float64(time.Second)))
}

// testStep is one step of an uplink's test.
type testStep struct {
	Name   string  `json:"step"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	TookMS float64 `json:"took_ms"`
}

func uplinksTest(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Sends a canary through an uplink, step by step",
		Args:  takes(1, 1, "the name of an uplink"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.uplinksTest(cmd.Context(), args[0], *out)
	}
	return cmd
}

func (a *app) uplinksTest(ctx context.Context, name string, out format) error {
	raw, err := a.send(ctx, http.MethodPost, "/v1/uplinks/"+url.PathEscape(name)+"/test", nil)
	if err != nil {
		return err
	}
	var result struct {
		OK    bool       `json:"ok"`
		Steps []testStep `json:"steps"`
	}
	if err := decodeAnswer(raw, &result); err != nil {
		return err
	}
	if out == asJSON {
		if err := printRaw(a.Out, raw); err != nil {
			return err
		}
	} else if err := a.printSteps(result.Steps); err != nil {
		return err
	}
	for _, s := range result.Steps {
		if !s.OK {
			return fmt.Errorf("test uplink %s: %s: %s", name, s.Name, oneLine(s.Detail))
		}
	}
	return nil
}

func (a *app) printSteps(steps []testStep) error {
	t := newTable(a.Out, "STEP", "RESULT", "TOOK", "DETAIL")
	for _, s := range steps {
		result := "ok"
		if !s.OK {
			result = "failed"
		}
		t.row(s.Name, result, strconv.FormatFloat(s.TookMS, 'f', 1, 64)+" ms", s.Detail)
	}
	return t.flush()
}
