package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/queue"
)

// maxVerifyLine bounds a line: it may hold an array of many events.
const maxVerifyLine = 64 << 20

func verifyVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Proves that events a receiver kept are whole",
		Long: `Reads events, one or a JSON array a line, out of files (- is the standard input)
and shows for each ring what is received, told by gaps, and missing. A ring is
closed when a ledger told its end and nothing is missing. Exit code 1 where
something is missing, contradicts itself, or is not closed.`,
		Args: takes(1, -1, "files with events"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, files []string) error {
		v := edge.NewVerifier()
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

// badLines tells of lines that can't be read, the first few one by one. A power
// cut leaves one at the end of a file: it is no reason to prove nothing.
type badLines struct {
	w     io.Writer
	count int
}

// maxBadLines is how many of them are told one by one.
const maxBadLines = 20

func (b *badLines) add(name string, line int, err error) {
	if b.count++; b.count <= maxBadLines {
		fmt.Fprintf(b.w, "fieldpost: %s:%d: %s\n", name, line, oneLine(err.Error()))
	}
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
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 1<<20), maxVerifyLine)
	n := 0
	for lines.Scan() {
		n++
		if err := v.Add(lines.Bytes()); err != nil {
			bad.add(name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", name, n+1, err)
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
		if r.Missing > 0 {
			fmt.Fprintf(a.Out, "missing of %s %s %s: %s\n", printable(r.Agent), printable(r.Epoch), printable(r.Ring), spans(r.Ranges))
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
