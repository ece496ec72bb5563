package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// cutsOfStore is how many power cuts one store takes before the next is made: it
// must live long enough for eviction, rolled segments and a long table of epochs.
const cutsOfStore = 25

// runCuts cuts the power of a file system under the running agent, five times on
// ext4 for twice on xfs.
func runCuts(ctx context.Context, p *proof, runs int) ([]result, error) {
	ext4 := (runs*5 + 6) / 7
	var out []result
	for _, c := range []struct {
		kind      string
		megabytes int64
		runs      int
	}{{"ext4", 192, ext4}, {"xfs", 320, runs - ext4}} {
		r := result{fault: "power cut, " + c.kind}
		random := p.rand("cuts " + c.kind)
		var err error
		for store := 0; r.runs < c.runs && err == nil; store++ {
			s := &series{p: p, name: fmt.Sprintf("cuts on %s, store %d", c.kind, store), rand: random, result: &r,
				boots: true, uplink: store%4 == 1}
			err = s.cuts(ctx, c.kind, c.megabytes, min(cutsOfStore, c.runs-r.runs))
		}
		if r.runs > 0 {
			out = append(out, r)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// cuts takes one store through a number of power cuts.
func (s *series) cuts(ctx context.Context, kind string, megabytes int64, cuts int) (err error) {
	dir, err := imageFolder(s.p, "cuts")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := newCutDisk(dir, kind, megabytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	defer func() { err = errors.Join(s.close(), err) }()
	if err := s.build(ctx, filepath.Join(disk.Path, "data"), cutStore()); err != nil {
		return err
	}
	for range cuts {
		l := s.nextLife(true)
		spare, err := disk.Replay(ctx)
		if err != nil {
			return err
		}
		if err := s.live(ctx, &l, func() error { return disk.CutUnder(ctx, s.subject.Proc) }); err != nil {
			return fmt.Errorf("%s, life %d: %w", s.name, s.lives, err)
		}
		s.result.runs++
		if l.took > startBound {
			if err := s.again(ctx, disk, spare, &l); err != nil {
				return err
			}
		}
		s.result.slowest = max(s.result.slowest, l.took)
	}
	if _, err := disk.Replay(ctx); err != nil {
		return err
	}
	return s.end(ctx)
}

// again measures a slow start twice more, each on a copy of the file system as the
// slow one found it. The best counts.
func (s *series) again(ctx context.Context, disk *cutDisk, spare string, l *life) error {
	for range 2 {
		took, err := s.startOn(ctx, disk.kind, spare)
		if err != nil {
			return err
		}
		s.p.say("%s, life %d: a start took %v, and on the same state again %v", s.name, s.lives, l.took, took)
		l.took = min(l.took, took)
	}
	return nil
}

// startOn measures a start on a copy of an image.
func (s *series) startOn(ctx context.Context, kind, image string) (took time.Duration, err error) {
	dir := image + ".again"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	disk, err := openCutDisk(dir, kind, image)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	other := &series{p: s.p, name: s.name + " again", rand: rand.New(rand.NewPCG(1, 2)), result: &result{}, boots: s.boots}
	defer func() { err = errors.Join(other.close(), err) }()
	if err := other.build(ctx, filepath.Join(disk.Path, "data"), cutStore()); err != nil {
		return 0, err
	}
	other.lives = s.lives
	if err := other.subject.reboot(s.lives); err != nil {
		return 0, err
	}
	return other.subject.StartTimed(ctx, other.writers)
}
