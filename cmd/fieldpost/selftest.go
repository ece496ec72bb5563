package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge/card"
)

// What the self-test may take of the card: it is bounded whatever it finds.
const (
	selftestBytes = 64_000_000
	selftestTime  = 60 * time.Second

	quickBytes = 28_000_000
	quickTime  = 20 * time.Second
)

func selftestVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Tests the machine it runs on",
		Args:  takes(0, 0, "the word store"),
		RunE: func(*cobra.Command, []string) error {
			return usagef("selftest takes what to test: store")
		},
	}
	cmd.AddCommand(selftestStore(a))
	return cmd
}

func selftestStore(a *app) *cobra.Command {
	var dir string
	var quick bool
	cmd := &cobra.Command{
		Use:   "store [--dir DIR]",
		Short: "Tests a card: does it honour a flush, how fast is it, what does an event cost it",
		Long: `Tests the card or disk under a folder, by default that of the config's data_dir:
whether it honours a flush, as far as software can tell, how fast it is, and how
much an event costs in flash. It works in a folder of its own, which it removes
again, and beside a running agent. It takes a minute and writes 64 MB at most;
--quick 20 s and 28 MB.

Software can't see a card that keeps a flush in memory and takes its time over
it, nor a counterfeit size. Only power that is cut shows the one, and only filling
the card the other.

Exit code 1 where the storage does not honour a flush or something else threatens
what is stored, or where the test could not be made. "Can't tell" is no problem.`,
		Args: takes(0, 0, "no argument, but --dir DIR"),
	}
	out := outputFlag(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` to test (default the config's data_dir)")
	cmd.Flags().BoolVar(&quick, "quick", false, "take 20 s at most, and write less")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		ctx, hung := signal.NotifyContext(ctx, syscall.SIGHUP) // a line to the board that breaks
		defer hung()
		rep, err := a.testStore(ctx, dir, quick)
		if err != nil {
			return err
		}
		if *out == asJSON {
			err = printJSON(a.Out, rep)
		} else {
			err = printSelftest(a.Out, rep)
		}
		if err == nil && !rep.Verdict.Fine() {
			return errSilent
		}
		return err
	}
	return cmd
}

// selftest is all that the self-test found.
type selftest struct {
	Dir      string         `json:"dir"`
	Quick    bool           `json:"quick"`
	Verdict  card.Verdict   `json:"verdict"`
	Place    *card.Place    `json:"place"`
	Measures *card.Measures `json:"measures"`
	Events   *eventCost     `json:"events,omitempty"` // none where no device counts what is written
	Budget   float64        `json:"budget,omitempty"` // bytes a day, of store.wear
	Seconds  float64        `json:"seconds"`
}

// testStore tests the storage under dir; "" is the config's data_dir.
func (a *app) testStore(ctx context.Context, dir string, quick bool) (*selftest, error) {
	cfg, err := a.loadConfig("", nil)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		dir = cfg.DataDir
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("test store: %w: name a folder that exists with --dir", err)
	}
	bytes, within := int64(selftestBytes), selftestTime
	if quick {
		bytes, within = quickBytes, quickTime
	}
	if err := hasRoom(dir, int64(cfg.Store.Headroom), bytes); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("it is not done within %v: this storage is too slow to test", within))
	defer cancel()
	rep, err := a.testIn(ctx, dir, quick)
	if err != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			err = errors.New("interrupted; nothing is left of it")
		}
		return nil, fmt.Errorf("test store in %s: %w", dir, err)
	}
	rep.Budget = float64(cfg.Store.Wear.PerDay())
	return rep, nil
}

// testIn tests in a folder of its own below dir, and removes it.
func (a *app) testIn(ctx context.Context, dir string, quick bool) (rep *selftest, err error) {
	folder, err := newTestFolder(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if rerr := folder.remove(); err == nil {
			err = rerr
		}
	}()
	begun := time.Now()
	place, err := card.System{}.Find(folder.path)
	if err != nil {
		return nil, err
	}
	say := a.progress()
	defer say("")
	probe := &card.Probe{Dir: folder.path, Place: place, Quick: quick, Progress: say}
	rep = &selftest{Dir: dir, Quick: quick, Place: place}
	if rep.Measures, err = probe.Run(ctx); err != nil {
		return nil, err
	}
	rep.Verdict = card.Judge(place, rep.Measures)
	if place.Device() != nil {
		say("what an event costs")
		if rep.Events, err = measureEvents(ctx, folder.path, place, quick); err != nil {
			return nil, fmt.Errorf("measure what an event costs: %w", err)
		}
	}
	rep.Seconds = time.Since(begun).Seconds()
	return rep, nil
}

// progress shows what is being done on one line, where a person reads it. "" takes
// it away.
func (a *app) progress() func(string) {
	if !isTerminal(a.Err) {
		return func(string) {}
	}
	return func(what string) {
		if what != "" {
			what += " ..."
		}
		fmt.Fprintf(a.Err, "\r\x1b[K%s", what)
	}
}
