package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// killsOfStore is how many kills one store takes before the next is made.
const killsOfStore = 100

// runKills kills the agent with SIGKILL at random instants, over and over on the
// same store. Every other store has an uplink to a real broker.
func runKills(ctx context.Context, p *proof, runs int) ([]result, error) {
	r := result{fault: "kill -9"}
	random := p.rand("kills")
	var err error
	for store := 0; r.runs < runs && err == nil; store++ {
		// A sample of them has both.
		count := min(killsOfStore, (runs+1)/2, runs-r.runs)
		s := &series{p: p, name: fmt.Sprintf("kills, store %d", store), rand: random, result: &r, uplink: store%2 == 1}
		err = s.kills(ctx, count)
	}
	return []result{r}, err
}

// kills takes one store through a number of kills.
func (s *series) kills(ctx context.Context, kills int) (err error) {
	dir, err := s.p.folder("kills")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx, filepath.Join(dir, "data"), cutStore()); err != nil {
		return err
	}
	for range kills {
		l := s.nextLife(false)
		if err := s.live(ctx, &l, func() error { return s.subject.Kill() }); err != nil {
			return fmt.Errorf("%s, life %d: %w", s.name, s.lives, err)
		}
		s.result.runs++
		for try := 0; l.took > startBound && try < 2; try++ {
			took, err := s.subject.StartTimed(ctx, s.writers)
			if err == nil {
				err = s.subject.Kill()
			}
			if err != nil {
				return err
			}
			s.p.say("%s, life %d: a start took %v, and after a kill again %v", s.name, s.lives, l.took, took)
			l.took = min(l.took, took)
		}
		s.result.slowest = max(s.result.slowest, l.took)
	}
	return s.end(ctx)
}
