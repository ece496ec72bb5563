package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

// status is the answer of GET /v1/status.
type status struct {
	Agent struct {
		ID      string  `json:"id"`
		Version string  `json:"version"`
		Uptime  float64 `json:"uptime"`
	} `json:"agent"`
	State    string   `json:"state"`
	Problems []string `json:"problems"`
	Clock    struct {
		State edge.ClockState `json:"state"`
		Bound float64         `json:"bound"`
		Now   time.Time       `json:"now"`
	} `json:"clock"`
	Store struct {
		Epoch    string  `json:"epoch"`
		Position string  `json:"position"`
		Events   uint64  `json:"events"`
		Waiting  int     `json:"waiting"`
		Rings    int     `json:"rings"`
		Free     int64   `json:"free"`
		FlushMS  float64 `json:"flush_ms"`
	} `json:"store"`
	Claimed bool                `json:"claimed"`
	LED     string              `json:"led"` // "": there is none
	Wear    *edge.WearStatus    `json:"wear"`
	Devices map[string]int      `json:"devices"`
	Uplinks []edge.UplinkStatus `json:"uplinks"`
}

func statusVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows everything at a glance",
		Long:  "Shows everything at a glance. Exit code 1 where the agent has a problem.",
		Args:  takes(0, 0, "no argument"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		raw, err := a.fetch(cmd.Context(), "/v1/status")
		if err != nil {
			return err
		}
		var st status
		if err := decodeAnswer(raw, &st); err != nil {
			return err
		}
		if *out == asJSON {
			err = printRaw(a.Out, raw)
		} else {
			err = printStatus(a.Out, &st)
		}
		if err == nil && len(st.Problems) > 0 {
			return errSilent
		}
		return err
	}
	return cmd
}

func printStatus(w io.Writer, st *status) error {
	t := newTable(w, "AGENT", st.Agent.ID+" "+st.Agent.Version+", up "+ago(seconds(st.Agent.Uptime)))
	clock := string(st.Clock.State)
	if st.Clock.Bound > 0 {
		clock += " within " + strconv.FormatFloat(st.Clock.Bound, 'g', 2, 64) + " s"
	}
	t.row("STATE", st.State)
	if !st.Claimed {
		t.row("CLAIM", "not claimed yet: fieldpost claim shows the code")
	}
	if st.LED != "" {
		t.row("LED", "shows "+st.LED)
	}
	t.row("CLOCK", localTime(st.Clock.Now)+" "+clock)
	t.row("STORE", fmt.Sprintf("%d events since the start, %d waiting, %d rings, %s free, flush %.1f ms", st.Store.Events, st.Store.Waiting, st.Store.Rings, bytesText(st.Store.Free), st.Store.FlushMS))
	if st.Wear != nil {
		t.row("WEAR", wearText(st.Wear))
	}
	t.row("POSITION", st.Store.Position)
	t.row("DEVICES", countsText(st.Devices))
	for _, u := range st.Uplinks {
		text := fmt.Sprintf("%s, backlog %d, %s", u.State, u.Backlog, rateText(u.Rate))
		if u.Error != "" && u.State != "up" {
			text += ": " + u.Error
		}
		t.row("UPLINK "+u.Name, text)
	}
	for _, p := range st.Problems {
		t.row("PROBLEM", p)
	}
	return t.flush()
}

// wearText shows what was written to the flash today.
func wearText(w *edge.WearStatus) string {
	text := "at most " + bytesText(w.Today) + " today" // newer kernels count too much: see card.OwnWrites
	if w.Budget > 0 {
		text += " of " + bytesText(w.Budget)
	}
	if w.Projected > 0 {
		text += ", " + bytesText(w.Projected) + " by its end"
	}
	if w.BytesPerEvent > 0 {
		text += ", " + bytesText(int64(w.BytesPerEvent)) + " an event"
	}
	if w.Budget > 0 && max(w.Today, w.Projected) > w.Budget {
		text += ", OVER store.wear"
	}
	if w.Device != "" {
		text += "; all programs together wrote " + bytesText(w.DeviceToday) + " to " + w.Device
	}
	return text
}

// countsText shows how many devices there are, and in which states.
func countsText(devices map[string]int) string {
	parts := []string{strconv.Itoa(devices["total"])}
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if name != "total" {
			parts = append(parts, fmt.Sprintf("%d %s", devices[name], name))
		}
	}
	return strings.Join(parts, ", ")
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
