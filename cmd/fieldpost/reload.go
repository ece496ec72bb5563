package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

func reloadVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Lets the running agent take its config anew",
		Long: `Lets the running agent load its config again, from the files, the environment and
the flags that it was started with, and put in force what changed. Devices and uplinks
that are the same run on: their lines stay requested, and no output moves.

An error leaves the config before in force, untouched. Exit code 2 where the new config
has a mistake, which "fieldpost check" would show too; 1 where it asks for what takes a
restart (data_dir, agent.id, led, button, api.listen, api.socket, api.base_path, to begin
or end TLS) or for a line that can't be had.`,
		Args: takes(0, 0, "no argument"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		raw, err := a.send(cmd.Context(), http.MethodPost, "/v1/reload", nil)
		var no *statusError
		if errors.As(err, &no) && no.Status == http.StatusUnprocessableEntity {
			return withCode(exitUsage, err)
		}
		if err != nil || *out == asJSON {
			return a.rawOr(raw, err)
		}
		var done edge.Reloaded
		if err := decodeAnswer(raw, &done); err != nil {
			return err
		}
		for _, w := range done.Warnings {
			fmt.Fprintf(a.Err, "fieldpost: warning: %s\n", oneLine(w))
		}
		_, err = fmt.Fprintln(a.Out, reloadText(&done))
		return err
	}
	return cmd
}

// reloadText says in one line what a reload changed.
func reloadText(r *edge.Reloaded) string {
	text := "reloaded: "
	if r.Nothing() {
		text = "nothing changed: "
	}
	text += changesText(&r.Devices, "device")
	if u := changesText(&r.Uplinks, "uplink"); u != "0 uplinks untouched" {
		text += "; " + u
	}
	if len(r.Other) > 0 {
		text += "; changed too: " + strings.Join(r.Other, ", ")
	}
	return text
}

// changesText says what became of the entries of a section: the first number says
// what they are.
func changesText(c *edge.Changes, what string) string {
	var parts []string
	add := func(n int, did string, names []string) {
		if n == 0 && (did != "untouched" || len(parts) > 0) {
			return
		}
		text := fmt.Sprintf("%d %s", n, did)
		if len(parts) == 0 {
			text = fmt.Sprintf("%d %s%s %s", n, what, map[bool]string{true: "", false: "s"}[n == 1], did)
		}
		if len(names) > 0 {
			text += " (" + strings.Join(names, ", ") + ")"
		}
		parts = append(parts, text)
	}
	add(len(c.Added), "added", c.Added)
	add(len(c.Changed), "changed", c.Changed)
	add(len(c.Removed), "removed", c.Removed)
	add(len(c.Restarted), "restarted", c.Restarted)
	add(c.Untouched, "untouched", nil)
	return strings.Join(parts, ", ")
}
