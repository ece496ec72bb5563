package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// bench is one run of all measures, ours and the peers', on the same work.
type bench struct {
	binary string
	dir    string
	short  bool
	corpus *Corpus
	log    io.Writer // progress

	rounds  int           // each measure is taken so often and the best counts
	lasts   time.Duration // of one ingest measure
	backlog int           // events
	trickle int           // events at one a second
	bulk    int           // events of the flash measure in bulk

	table table
}

func newBench(binary, dir string, short bool, log io.Writer) (*bench, error) {
	corpus, err := loadCorpus()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find fieldpost: %w; `make build` makes it", err)
	}
	b := &bench{binary: binary, dir: dir, short: short, corpus: corpus, log: log,
		rounds: 3, lasts: 5 * time.Second, backlog: 200_000, trickle: 120, bulk: 200_000}
	if short {
		b.rounds, b.lasts, b.trickle, b.bulk = 1, 2*time.Second, 15, 100_000
	}
	return b, nil
}

// runBench is the verb.
func runBench(ctx context.Context, args []string, out io.Writer) error {
	fs, binary := flags("bench", out)
	short := fs.Bool("short", false, "one round of each measure and shorter ones: for CI, not for quoting")
	only := fs.String("only", "ingest,backlog,flash", "the `parts` to measure")
	dir := fs.String("dir", os.TempDir(), "where the stores are `kept` meanwhile: the disk under test")
	if err := parse(fs, args); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(*dir, "fieldpost-bench-")
	if err != nil {
		return fmt.Errorf("make bench's folder: %w", err)
	}
	defer os.RemoveAll(temp)
	b, err := newBench(*binary, temp, *short, os.Stderr)
	if err != nil {
		return err
	}
	began := time.Now()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"ingest", b.ingest},
		{"backlog", b.backlogs},
		{"flash", b.flash},
	} {
		if !slices.Contains(strings.Split(*only, ","), part.name) {
			continue
		}
		if err := part.run(ctx); errors.Is(err, errNoDisk) {
			b.table.note("%s: not measured: %v", part.name, err)
		} else if err != nil {
			return fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	b.table.note("%d round(s), the best of each; %d-byte events from one corpus; loopback; RSS after %v at rest; %v in all",
		b.rounds, len(b.corpus.Body(0, corpusLines))/corpusLines-1, settle, time.Since(began).Round(time.Second))
	return b.table.print(out)
}

// folder is a fresh folder for one contender.
func (b *bench) folder(name string) string {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return filepath.Join(b.dir, name)
	}
	return dir
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// measure is a number that may be taken several times; the best counts.
type measure struct {
	value float64
	taken bool
	lower bool // less is better
}

func (m *measure) take(v float64) {
	if !m.taken || (v < m.value) == m.lower {
		m.value = v
	}
	m.taken = true
}

// row is one line of what bench prints.
type row struct {
	name         string
	ours, theirs *measure // theirs is nil where there is no peer
	peer         string
	show         func(float64) string
	reach        float64 // a ratio to the peer where byRatio, else a bound in the same unit
	byRatio      bool
	reachText    string
}

// ok reports whether what DESIGN.md section 10 sets was reached.
func (r *row) ok() bool {
	bound := r.reach
	if r.byRatio {
		bound *= r.theirs.value
	}
	if r.ours.lower {
		return r.ours.value <= bound
	}
	return r.ours.value >= bound
}

// table is the rows of a run and the notes below them.
type table struct {
	rows  []*row
	notes []string
}

func (t *table) add(r *row) *row {
	t.rows = append(t.rows, r)
	return r
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// print writes the table as aligned text.
func (t *table) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "measure\tfieldpost\tpeer\t\tratio\treach\t")
	for _, r := range t.rows {
		if !r.ours.taken {
			continue
		}
		theirs, ratio := "", ""
		if r.theirs != nil && r.theirs.taken {
			theirs, ratio = r.show(r.theirs.value), fmt.Sprintf("%.2f", r.ours.value/r.theirs.value)
		}
		verdict := ""
		if r.reachText != "" {
			if verdict = "reached"; !r.ok() {
				verdict = "NOT REACHED"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.name, r.show(r.ours.value), r.peer, theirs, ratio, r.reachText, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range t.notes {
		fmt.Fprintln(out, n)
	}
	return nil
}

// The ways to show a number.
func perSecond(v float64) string { return fmt.Sprintf("%.1fk/s", v/1000) }
func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }
func bytesEach(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.1f kB", v/1000)
	}
	return fmt.Sprintf("%.0f B", v)
}
func milliseconds(v float64) string { return fmt.Sprintf("%.0f ms", v*1000) }
