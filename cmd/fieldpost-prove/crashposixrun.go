package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// posix runs the workload on a disk that keeps what POSIX promises alone, and
// opens so many of its states.
func (c *crash) posix(ctx context.Context, runs int) error {
	for round := uint64(0); c.strict.runs < runs; round++ {
		if err := c.posixRound(ctx, round, min(runs-c.strict.runs, 400)); err != nil {
			return fmt.Errorf("posix round %d of seed %d: %w", round, c.seed, err)
		}
		if len(c.strict.broken) > 3 {
			break
		}
	}
	return nil
}

// posixRound opens at most most states of one workload.
func (c *crash) posixRound(ctx context.Context, round uint64, most int) error {
	dir, err := os.MkdirTemp("/dev/shm", "fieldpost-prove-posix-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	seed := c.seed<<16 | 0x8000 | round
	rng := rand.New(rand.NewPCG(seed, 0x90))
	disk, err := newPosixDisk(dir, rng)
	if err != nil {
		return err
	}
	life := crashLife{mount: disk.Path, trace: filepath.Join(dir, "trace"), count: disk.count.path, seed: seed, boot: "boot-0"}
	disk.hold(max(most/2, 1))
	err = c.lives(ctx, life, rng, false, func() {})
	var notes []crashNote
	if err == nil {
		notes, err = readTrace(life.trace)
	}
	if err := errors.Join(err, disk.Close()); err != nil {
		return err
	}
	return c.openPosix(ctx, seed, filepath.Join(dir, "state"), disk.states(), notes, rng)
}

// openPosix opens each state twice: with only what is kept, and with some of what
// is newer.
func (c *crash) openPosix(ctx context.Context, seed uint64, dir string, states []posixState, notes []crashNote, rng *rand.Rand) error {
	known := newCrashMust()
	for i, s := range states {
		for len(notes) > 0 && notes[0].At <= s.at {
			known.add(notes[0])
			notes = notes[1:]
		}
		for kind, newer := range map[string]*rand.Rand{"kept": nil, "some newer": rng} {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.write(dir, newer); err != nil {
				return err
			}
			v := checkStore(ctx, crashOptions(dir, fmt.Sprint("cut-", i), seed), known.clone(), i%4 == 0)
			c.strict.runs++
			c.strict.lost += v.lost
			c.strict.slowest = max(c.strict.slowest, v.start)
			if len(v.broken) > 0 {
				c.strict.failed("seed %d, after operation %d, %s: %s", c.seed, s.at, kind, slices.Concat(v.broken, []string{""})[0])
			}
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove state: %w", err)
			}
		}
	}
	c.strict.acknowledged += known.acked
	return nil
}
