package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"fieldpost/queue"
)

func ringsVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rings",
		Short: "Shows what is stored, ring by ring",
		Args:  takes(0, 0, "no argument, or delete NAME"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.rings(cmd.Context(), *out) }
	cmd.AddCommand(ringsDelete(a))
	return cmd
}

// ringList is the answer of GET /v1/rings, as far as it is used here.
type ringList struct {
	Rings []queue.RingInfo `json:"rings"`
}

func (a *app) rings(ctx context.Context, out format) error {
	raw, err := a.fetch(ctx, "/v1/rings")
	if err != nil || out == asJSON {
		return a.rawOr(raw, err)
	}
	var list ringList
	if err := decodeAnswer(raw, &list); err != nil {
		return err
	}
	t := newTable(a.Out, "RING", "FIRST", "LAST", "DISK", "GONE", "DAMAGED")
	for _, r := range list.Rings {
		t.row(r.Name, count(r.First), count(r.Last), bytesText(r.Bytes), count(r.Gone), count(r.Lost))
	}
	return t.flush()
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

func ringsDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Deletes the events of a ring; readers get a gap in their place",
		Args:  takes(1, 1, "the name of a ring"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.send(cmd.Context(), http.MethodDelete, "/v1/rings/"+url.PathEscape(args[0]), nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Out, "deleted the events of ring %s\n", args[0])
			return err
		},
	}
}
