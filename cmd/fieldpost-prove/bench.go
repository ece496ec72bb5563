package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is one run of all measures, ours and the peers', on the same work.
type bench struct {
	binary string
	nats   string // nats-server; "" where there is none
	dir    string
	short  bool
	corpus *Corpus
	log    io.Writer // progress

	rounds   int           // each measure is taken so often and the best counts
	lasts    time.Duration // of one ingest measure
	backlog  int           // events
	trickle  int           // events at one a second
	bulk     int           // events of the flash measure in bulk
	paced    int           // events of the latency measure
	outage   time.Duration // of the upstream
	blows    int           // power cuts and kills each
	tenfold  int           // events of the large backlog; 0: it is not measured
	settling time.Duration // a program is left alone so long before its memory is read

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
		rounds: 3, lasts: 3 * time.Second, backlog: 200_000, trickle: 120, bulk: 200_000, paced: 1000,
		outage: time.Minute, blows: 3, tenfold: 10_000_000, settling: settle}
	if short {
		b.rounds, b.lasts, b.trickle, b.bulk, b.paced = 1, 1500*time.Millisecond, 15, 100_000, 500
		b.outage, b.blows, b.tenfold = 5*time.Second, 1, 0
	}
	return b, nil
}

// part is some rows of the table, measured together.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

// parts is the table of them, in the order they run in.
func parts() []part {
	return []part{
		{"lost", (*bench).losses},
		{"ingest", (*bench).ingest},
		{"backlog", (*bench).backlogs},
		{"outage", (*bench).outages},
		{"latency", (*bench).latencies},
		{"flash", (*bench).flash},
		{"size", (*bench).sizes},
		{"month", (*bench).month},
	}
}

// chooseParts gives the parts of a list of names; all where it is empty.
func chooseParts(only string) ([]part, error) {
	all := parts()
	if only == "" {
		return all, nil
	}
	var out []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: no part %q", errUsage, name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// runBench is the verb.
func runBench(ctx context.Context, args []string, out io.Writer) error {
	fs, binary := flags("bench", out)
	short := fs.Bool("short", false, "one round of each measure and shorter ones: for CI, not for quoting")
	only := fs.String("only", "", "the `parts` to measure, with commas between: lost, ingest, backlog, outage, latency, flash, size, month; all where it is empty")
	dir := fs.String("dir", os.TempDir(), "where the stores are `kept` meanwhile: the disk under test")
	nats := fs.String("nats", "", "the nats-server `binary`; the pinned one is built into the user's cache where it is empty")
	if err := parse(fs, args); err != nil {
		return err
	}
	chosen, err := chooseParts(*only)
	if err != nil {
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
	if b.nats = *nats; b.nats == "" {
		if b.nats, err = buildNATS(ctx); err != nil {
			b.table.note("NATS: not measured: %v", err)
		}
	}
	began := time.Now()
	for _, part := range chosen {
		start := time.Now()
		if err := part.run(b, ctx); errors.Is(err, errNoDisk) {
			b.table.note("%s: not measured: %v", part.name, err)
		} else if err != nil {
			return fmt.Errorf("measure %s: %w", part.name, err)
		}
		b.say("%s: %v", part.name, time.Since(start).Round(time.Second))
	}
	b.table.note("%d round(s), the best of each but where a row says otherwise; %d-byte events from one corpus; loopback, driver and servers on the same %d cores; %v in all",
		b.rounds, b.corpus.mean(), runtime.NumCPU(), time.Since(began).Round(time.Second))
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
