package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/gpio"
)

func recordVerb(a *app) *cobra.Command {
	var last, file string
	cmd := &cobra.Command{
		Use:   "record DEVICE",
		Short: "Records what a device's hardware says, for sim to play again",
		Long: `Writes every edge that the kernel gives the device, with its time and numbers, and
every reading of its sensor before anything judges it, a line of JSON each, as they
come. The first line says what device it is and where it stood. "fieldpost sim" plays
it on the twin. It ends after --for, when it is interrupted, or when a reload takes the
device away or puts another in its place, which it tells. The device notices
nothing: what this program is too slow for is told as lost.`,
		Example: `  fieldpost record door --for 10m -f door.ndjson
  fieldpost sim door.ndjson`,
		Args: takes(1, 1, "a device"),
	}
	cmd.Flags().StringVar(&last, "for", "1h", "end after this `time`, a day at most")
	cmd.Flags().StringVarP(&file, "file", "f", "-", "write to this `file`, which must not be there; - is the standard output")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var d edge.Duration
		if err := d.UnmarshalText([]byte(last)); err != nil || d <= 0 {
			return usagef("record: --for %q: write a time such as 10m", last)
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		done, err := a.record(ctx, args[0], file, d.String())
		if err != nil {
			return err
		}
		if *out == asJSON {
			return printJSON(a.Err, done)
		}
		early := ""
		if done.Why != "" {
			early = "; it ended early: " + oneLine(done.Why)
		}
		_, err = fmt.Fprintf(a.Err, "fieldpost: %s: %d edges, %d readings, %d lost%s\n", args[0], done.Edges, done.Readings, done.Lost, early)
		return err
	}
	return cmd
}

// recorded is what record wrote.
type recorded struct {
	Device   string `json:"device"`
	Edges    int    `json:"edges"`
	Readings int    `json:"readings"`
	Lost     uint64 `json:"lost"`
	Whole    bool   `json:"whole"`         // it ended by itself
	Why      string `json:"why,omitempty"` // before its time
}

// record writes a trace of a device to a file, as it comes.
func (a *app) record(ctx context.Context, device, file, last string) (*recorded, error) {
	c := a.client()
	defer c.close()
	resp, err := c.open(ctx, http.MethodGet, "/v1/devices/"+url.PathEscape(device)+"/record", url.Values{"for": {last}}, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	to := a.Out
	if file != "-" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		defer f.Close()
		to = f
	}
	// What passes is read as sim will read it.
	sum := &recorded{Device: device}
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		_, err := gpio.ScanTrace(r, sum.count)
		r.CloseWithError(err)
		read <- err
	}()
	_, err = io.Copy(io.MultiWriter(to, w), resp.Body)
	_ = w.Close()
	bad := <-read
	if err = ended(ctx, err); err == nil && bad != nil && ctx.Err() == nil {
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", device, err)
	}
	if bad != nil {
		return nil, fmt.Errorf("record %s: %w", device, errors.New("it was interrupted before it began"))
	}
	return sum, nil
}

// count counts a step.
func (d *recorded) count(s gpio.TraceStep) {
	d.Lost += s.Lost
	switch {
	case s.Edge != nil:
		d.Edges++
	case s.Reading != nil:
		d.Readings++
	case s.End != 0:
		d.Whole, d.Why = true, s.Why
	}
}
