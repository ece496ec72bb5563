package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// startBound is how long a start may take until it has acknowledged an event.
const startBound = 2 * time.Second

// harness strikes the store, or the whole program, with one kind of fault and
// compares what was acknowledged with what is left.
type harness struct {
	name   string
	doc    string
	full   int // runs of `make prove`
	sample int // runs of a sample, for CI
	run    func(ctx context.Context, p *proof, runs int) ([]result, error)
}

// harnesses is the table of them, in the order they run in.
func harnesses() []harness {
	return []harness{
		{"crash", "every state that a cut may leave of an ext4's writes under the running store", 10_000, 600, runCrash},
		{"mutants", "broken builds, each of which a harness must catch", len(mutants()), 1, runMutants},
		{"cuts", "power cuts of ext4 and xfs under the running agent", 700, 35, runCuts},
		{"kills", "SIGKILL at random instants", 500, 30, runKills},
		{"rot", "every page of a store damaged in turn, and sampled pages of a million events", 1000, 60, runRot},
		{"readers", "every kind of reader of two agents, through kills, cuts, full disks and evictions", 6, 1, runReaders},
		{"thin", "days of samples into a ring that holds a fraction of them, 64 MB for 60 of them", 60, 6, runThin},
		{"full", "a disk without bytes or inodes left, at random moments", 200, 12, runFull},
		{"eio", "a device that fails under a live ext4, for a moment or until it is healed", 200, 12, runEIO},
		{"sick", "a slow disk, one that becomes read-only, few descriptors and little memory", 5, 1, runSlow},
	}
}

// proof is what all harnesses of one run share.
type proof struct {
	binary string    // the built fieldpost
	dir    string    // for images, stores and logs; each harness makes folders of its own
	seed   uint64    // what is random comes from it
	out    io.Writer // progress
}

// rand is a harness's own stream of random numbers: the same for the same seed,
// whatever else runs.
func (p *proof) rand(name string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(p.seed, h))
}

func (p *proof) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// folder makes a fresh folder.
func (p *proof) folder(name string) (string, error) {
	dir, err := os.MkdirTemp(p.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("make folder of %s: %w", name, err)
	}
	return dir, nil
}

// result is what one kind of fault came to: a line of the table.
type result struct {
	fault        string
	runs         int
	acknowledged int           // events that somebody was told are stored
	lost         int           // of them, those that can't be read and no gap tells
	duplicated   int           // receptions of an event beyond its first
	slowest      time.Duration // of all starts, to the first acknowledgement; 0: none was measured
	broken       []string      // each broken promise, and how to see it again
}

// failed notes a broken promise. Past ten they are counted only.
func (r *result) failed(format string, args ...any) {
	const most = 10
	if len(r.broken) < most {
		r.broken = append(r.broken, fmt.Sprintf(format, args...))
		return
	}
	if len(r.broken) == most {
		r.broken = append(r.broken, "")
	}
	var more int
	_, _ = fmt.Sscanf(r.broken[most], "and %d more", &more)
	r.broken[most] = fmt.Sprintf("and %d more", more+1)
}

// err is nil where every promise held.
func (r *result) err() error {
	switch {
	case r.lost > 0:
		return fmt.Errorf("%s: %d acknowledged events lost: %s", r.fault, r.lost, strings.Join(r.broken, "; "))
	case len(r.broken) > 0:
		return fmt.Errorf("%s: %s", r.fault, strings.Join(r.broken, "; "))
	case r.slowest > startBound:
		return fmt.Errorf("%s: a start took %v, and may take %v", r.fault, r.slowest, startBound)
	}
	return nil
}

// runProve is the verb.
func runProve(ctx context.Context, args []string, out io.Writer) error {
	fs, binary := flags("prove", out)
	sample := fs.Bool("sample", false, "fewer runs of each, for CI")
	seed := fs.Uint64("seed", 0, "what is random comes from this `number`; 0 chooses one and prints it")
	only := fs.String("only", "", "the `harnesses` to run, with commas between; all where it is empty")
	runs := fs.Int("runs", 0, "so many runs of each; 0: as its table says")
	dir := fs.String("dir", os.TempDir(), "the `folder` for images and stores meanwhile")
	if err := parse(fs, args); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("prove: it mounts file systems, and takes root")
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if ran, err := inOwnMounts(ctx, append([]string{"prove"}, args...), out); ran {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1 << 32)
	}
	temp, err := os.MkdirTemp(*dir, "fieldpost-prove-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(temp)
	abs, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	p := &proof{binary: abs, dir: temp, seed: *seed, out: os.Stderr}
	fmt.Fprintf(out, "seed %d\n", *seed)
	began := time.Now()
	all, err := p.runAll(ctx, chosen, *sample, *runs)
	if perr := printResults(out, all); perr != nil {
		return perr
	}
	fmt.Fprintf(out, "%v in all\n", time.Since(began).Round(time.Second))
	return err
}

// runAll runs harnesses one after the other, each as often as its table says, or
// runs times where that is not 0.
func (p *proof) runAll(ctx context.Context, chosen []harness, sample bool, runs int) ([]result, error) {
	var all []result
	var errs []error
	for _, h := range chosen {
		n := h.full
		if sample {
			n = h.sample
		}
		if runs > 0 {
			n = runs
		}
		p.say("== %s: %d runs", h.name, n)
		start := time.Now()
		results, err := h.run(ctx, p, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.name, err))
		}
		for i := range results {
			errs = append(errs, results[i].err())
		}
		all = append(all, results...)
		p.say("== %s: %v", h.name, time.Since(start).Round(time.Second))
	}
	return all, errors.Join(errs...)
}

// choose gives the harnesses of a list of names.
func choose(only string) ([]harness, error) {
	all := harnesses()
	if only == "" {
		return all, nil
	}
	var out []harness
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(all, func(h harness) bool { return h.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: no harness %q", errUsage, name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// printResults writes the table: faults x runs x what came of them.
func printResults(out io.Writer, all []result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fault\truns\tacknowledged\tlost\tduplicated\tslowest start\t")
	for _, r := range all {
		slowest, verdict := "", ""
		if r.slowest > 0 {
			slowest = r.slowest.Round(time.Millisecond).String()
		}
		if r.err() != nil {
			verdict = "BROKEN"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", r.fault, r.runs, r.acknowledged, r.lost, r.duplicated, slowest, verdict)
	}
	return w.Flush()
}
