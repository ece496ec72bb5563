package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/queue"
)

// eventSource is where export reads from: the running agent or a stopped store.
type eventSource interface {
	outline(context.Context) (outline, error)
	// ring hands out the events and gaps of a ring from the oldest on, until each
	// gives errEnough, which ends it without an error.
	ring(ctx context.Context, name string, each func(*edge.Event, json.RawMessage) error) error
}

// outline is what an export begins with.
type outline struct {
	agent string
	epoch string // 8 hex
	rings []queue.RingInfo
}

// errEnough ends the reading of a ring.
var errEnough = errors.New("enough")

func exportVerb(a *app) *cobra.Command {
	var dir, file string
	cmd := &cobra.Command{
		Use:   "export [--dir DIR]",
		Short: "Writes all events as NDJSON: every ring, whole, with its gaps and a ledger",
		Long: `Writes all events of all rings, one JSON object a line, with gaps in their places
and a ledger at the end, so that "fieldpost verify" can prove that it is whole.
It reads from the running agent, or with --dir from the store of a stopped one.`,
		Example: `  fieldpost export > events.ndjson && fieldpost verify events.ndjson
  fieldpost export --dir /var/lib/fieldpost --file events.ndjson`,
		Args: takes(0, 0, "no argument"),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "read the store in this `folder`; its agent must be stopped")
	cmd.Flags().StringVar(&file, "file", "-", "write to this `file`; - is the standard output")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		var src eventSource
		if dir != "" {
			store, err := a.openStopped(dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.close()) }()
			src = store
		} else {
			c := a.client()
			defer c.close()
			src = &agentSource{c}
		}
		return a.export(ctx, src, file)
	}
	return cmd
}

// export writes a file whole or not at all; what goes to the standard output
// goes as it is read.
func (a *app) export(ctx context.Context, src eventSource, file string) error {
	if file == "-" {
		return writeEvents(ctx, src, a.Out)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".fieldpost-export-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer os.Remove(f.Name()) // gone already where it was renamed
	err = writeEvents(ctx, src, f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// writeEvents writes every ring up to where it ended when the export began, and
// the ledger that closes them: what comes meanwhile is for the next export.
func writeEvents(ctx context.Context, src eventSource, w io.Writer) error {
	o, err := src.outline(ctx)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 256<<10)
	p := &eventPrinter{w: out, json: true}
	var told ledger
	for _, r := range o.rings {
		if r.Last == 0 {
			continue
		}
		if err := writeRing(ctx, src, r, &told, p); err != nil {
			_ = out.Flush() // what there is may help; the error is what counts
			return fmt.Errorf("read ring %s: %w", r.Name, err)
		}
	}
	if raw := told.event(o); raw != nil {
		if err := p.event(raw); err != nil {
			return err
		}
	}
	return out.Flush()
}

// writeRing writes one ring. Each event or gap must begin where the one before it
// ended: an export that is not whole is an error.
func writeRing(ctx context.Context, src eventSource, r queue.RingInfo, told *ledger, p *eventPrinter) error {
	next := uint64(1)
	err := src.ring(ctx, r.Name, func(ev *edge.Event, raw json.RawMessage) error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("interrupted: %w", err)
		}
		from := ev.Seq
		if ev.Hole != nil {
			from = ev.Hole.From
		}
		switch {
		case ev.Seq < next:
			return nil // a gap that grew meanwhile
		case from > next:
			return fmt.Errorf("number %d is missing", next)
		}
		if err := p.event(raw); err != nil {
			return err
		}
		told.saw(ev.Epoch, r.Name, from, ev.Seq)
		if next = ev.Seq + 1; next > r.Last {
			return errEnough
		}
		return nil
	})
	if err == nil && next <= r.Last {
		return fmt.Errorf("it ends at %d, not at %d", next-1, r.Last)
	}
	return err
}
