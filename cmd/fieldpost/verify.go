package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/queue"
)

func verifyVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Proves that events a receiver kept are whole",
		Long: `Reads events, one or a JSON array a line, out of files (- is the standard input)
and shows for each agent, epoch and ring what is received, told by gaps, and
missing. A ring is closed when a ledger told its end, nothing is missing, and no
id has two contents. The files count as one: they may overlap, be in any order,
hold several agents, and be packed with gzip or zstd. A line that a crash cut off
counts for nothing; what it held must stand elsewhere. Exit code 1 where something
is missing, contradicts itself, is not closed, or can't be read.`,
		Args: takes(1, -1, "files with events"),
	}
	out := outputFlag(cmd)
	rings := cmd.Flags().StringSlice("ring", nil, "prove this `RING` alone, as the receiver was sent no others; may be given again")
	cmd.RunE = func(_ *cobra.Command, files []string) error {
		v := edge.NewVerifier(*rings...)
		bad := &badLines{w: a.Err}
		for _, name := range files {
			if err := a.verifyFile(v, name, bad); err != nil {
				return err
			}
		}
		return a.printVerify(v.Report(), bad.count, *out)
	}
	return cmd
}

func (a *app) verifyFile(v *edge.Verifier, name string, bad *badLines) error {
	if name == "-" {
		return verifyLines(v, a.In, "standard input", bad)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return verifyLines(v, f, name, bad)
}

// verifyLines hands lines to the verifier.
func verifyLines(v *edge.Verifier, r io.Reader, name string, bad *badLines) error {
	plain, done, err := unpacked(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer done()
	lines := keptLines{r: bufio.NewReaderSize(plain, 1<<20)}
	for lines.next() {
		err := v.Add(lines.line)
		if err == nil {
			continue
		}
		if rest := glued(lines.line); rest != nil && v.Add(rest) == nil {
			bad.note(name, lines.number, "a line that was cut off stands before an event: it counts for nothing")
		} else if lines.torn && !json.Valid(bytes.TrimSpace(lines.line)) {
			bad.note(name, lines.number, "the last line is cut off: it counts for nothing")
		} else {
			bad.add(name, lines.number, err)
		}
	}
	if lines.err != nil {
		return fmt.Errorf("%s:%d: %w", name, lines.number+1, lines.err)
	}
	if lines.cut != nil {
		bad.note(name, lines.number, fmt.Sprintf("the file ends here: %v", lines.cut))
	}
	return nil
}

func (a *app) printVerify(rep edge.VerifyReport, bad int, out format) error {
	if out == asJSON {
		if err := printJSON(a.Out, rep); err != nil {
			return err
		}
	} else if err := a.printVerifyTable(rep); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d lines can't be read", bad)
	}
	if !rep.Closed {
		return errSilent
	}
	return nil
}

func (a *app) printVerifyTable(rep edge.VerifyReport) error {
	t := newTable(a.Out, "AGENT", "EPOCH", "RING", "NUMBERS", "RECEIVED", "GAPS", "MISSING", "DUPLICATES", "CONFLICTS", "CLOSED")
	for _, r := range rep.Rings {
		closed := "yes"
		if !r.Closed {
			closed = "no"
		}
		t.row(r.Agent, r.Epoch, r.Ring, rangeText(r.First, r.Last), count(r.Received), count(r.Gaps), count(r.Missing), count(r.Duplicates), count(r.Conflicts), closed)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, r := range rep.Rings {
		of := printable(r.Agent) + " " + printable(r.Epoch) + " " + printable(r.Ring)
		if r.Missing > 0 {
			fmt.Fprintf(a.Out, "missing of %s: %s\n", of, spans(r.Ranges))
		}
		if r.Conflicts > 0 {
			fmt.Fprintf(a.Out, "two contents, or two ids for one number, of %s: %s\n", of, printable(strings.Join(r.IDs[:min(len(r.IDs), 20)], " ")))
		}
		if !r.Ledger {
			fmt.Fprintf(a.Out, "no ledger tells the end of %s\n", of)
		}
	}
	verdict := "closed: every event is there or told by a gap"
	if !rep.Closed {
		verdict = "not closed"
	}
	_, err := fmt.Fprintf(a.Out, "%d events, %d missing, %d duplicates, %d conflicts: %s\n", rep.Events, rep.Missing, rep.Duplicates, rep.Conflicts, verdict)
	return err
}

func rangeText(from, to uint64) string {
	if from > to {
		return ""
	}
	return fmt.Sprintf("%d..%d", from, to)
}

// spans shows the first of many ranges.
func spans(rs []queue.Range) string {
	text := ""
	for i, r := range rs {
		if i == 20 {
			return text + " ..."
		}
		if i > 0 {
			text += " "
		}
		if r.From == r.To {
			text += count(r.From)
		} else {
			text += rangeText(r.From, r.To)
		}
	}
	return text
}
