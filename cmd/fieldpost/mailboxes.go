package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// mailbox is one mailbox as the API tells of it.
type mailbox struct {
	Name     string   `json:"name"`
	Names    []string `json:"names"`
	Rings    []string `json:"rings"`
	Keep     *int     `json:"keep"`
	After    string   `json:"after"`
	Made     string   `json:"made"`
	IdleDays float64  `json:"idle_days"`
}

func mailboxesVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mailboxes",
		Short: "Shows the durable readers of LAN clients",
		Args:  takes(0, 0, "no argument"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		raw, err := a.fetch(cmd.Context(), "/v1/mailboxes")
		if err != nil || *out == asJSON {
			return a.rawOr(raw, err)
		}
		var list struct {
			Mailboxes []mailbox `json:"mailboxes"`
		}
		if err := decodeAnswer(raw, &list); err != nil {
			return err
		}
		t := newTable(a.Out, "NAME", "NAMES", "RINGS", "KEEP", "AFTER", "MADE BY", "IDLE")
		for _, m := range list.Mailboxes {
			keep := "all"
			if m.Keep != nil {
				keep = strconv.Itoa(*m.Keep)
			}
			idle := ago(time.Duration(m.IdleDays * 24 * float64(time.Hour)))
			t.row(m.Name, strings.Join(m.Names, " "), strings.Join(m.Rings, " "), keep, m.After, m.Made, idle)
		}
		return t.flush()
	}
	return cmd
}
