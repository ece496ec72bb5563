package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// readersLast is how long the faults of one run go on.
const readersLast = 28 * time.Second

// runReaders lets every kind of reader follow two agents through kills, stops,
// power cuts, full disks and evictions, each into a file of its own, and closes the
// ledger of every file: by `fieldpost verify`, and by what was acknowledged.
func runReaders(ctx context.Context, p *proof, runs int) ([]result, error) {
	results := make([]result, len(readerKinds())+1)
	for i, k := range readerKinds() {
		results[i].fault = "ledger: " + k.name
	}
	results[len(results)-1].fault = "ledger: uplink"
	rng := p.rand("readers")
	for run := range runs {
		r := &readersRun{p: p, number: run + 1, rng: rng, results: results}
		if err := r.run(ctx); err != nil {
			return results, fmt.Errorf("run %d: %w", run+1, err)
		}
		p.say("readers, run %d: %s", run+1, r.said())
	}
	return results, nil
}

// readersRun is one run: two sites, and one broker that takes both.
type readersRun struct {
	p       *proof
	number  int
	rng     *rand.Rand
	results []result // one a kind of reader, the uplink last

	dir    string
	broker *Broker
	sub    *Subscriber
	sites  []*site
}

// siteNames are the agents of a run.
var siteNames = [...]string{"north", "south"}

func (r *readersRun) run(ctx context.Context) (err error) {
	if r.dir, err = imageFolder(r.p, "readers"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if r.broker, err = startBroker(ctx, filepath.Join(r.dir, "broker"), "", nil); err != nil {
		return err
	}
	if r.sub, err = startSubscriber(r.dir, r.broker.Addr); err != nil {
		return err
	}
	for i, name := range siteNames {
		s, err := newSite(ctx, r, name, i)
		if s != nil {
			r.sites = append(r.sites, s)
		}
		if err != nil {
			return err
		}
	}
	ended := make(chan error, len(r.sites))
	for _, s := range r.sites {
		go func() { ended <- s.live(ctx) }()
	}
	for range r.sites {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return err
	}
	return r.judge(ctx)
}

// close takes apart whatever of it was built.
func (r *readersRun) close() error {
	var err error
	for _, s := range r.sites {
		err = errors.Join(err, s.close())
	}
	if r.sub != nil {
		_ = r.sub.Close()
	}
	if r.broker != nil && r.broker.Proc != nil {
		_ = r.broker.Kill()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func (r *readersRun) said() string {
	var words []string
	for _, s := range r.sites {
		words = append(words, s.name+" "+s.said())
	}
	return strings.Join(words, "; ")
}

// judge closes all ledgers.
func (r *readersRun) judge(ctx context.Context) error {
	if err := r.drained(ctx); err != nil {
		return err
	}
	uplink := &r.results[len(r.results)-1]
	var all []string
	for _, s := range r.sites {
		for i, rd := range s.readers {
			res := &r.results[i]
			res.runs++
			if err := s.judge(rd.file, res); err != nil {
				return err
			}
			r.verify(ctx, res, rd.file)
			res.slowest = max(res.slowest, s.slowest)
			all = append(all, rd.file)
		}
		if err := s.judge(r.sub.Path, uplink); err != nil {
			return err
		}
		uplink.runs++
		uplink.slowest = max(uplink.slowest, s.slowest)
	}
	// One file with both agents, and every file at once: duplicates, no conflict.
	r.verify(ctx, uplink, r.sub.Path)
	r.verify(ctx, uplink, append(all, r.sub.Path)...)
	return nil
}

// drained waits until the subscriber has the last event of each site.
func (r *readersRun) drained(ctx context.Context) error {
	open := map[string]bool{}
	for _, s := range r.sites {
		open[s.name] = true
	}
	wait, cancel := context.WithTimeoutCause(ctx, 90*time.Second, errors.New("the last events did not reach the subscriber in 90 s"))
	defer cancel()
	err := poll(wait, 50*time.Millisecond, func() (bool, error) {
		err := r.sub.Read(func(line []byte) error {
			for _, s := range r.sites {
				if strings.Contains(string(line), s.lastName()) {
					delete(open, s.name)
				}
			}
			return nil
		})
		return len(open) == 0, err
	})
	if err != nil {
		return fmt.Errorf("uplink: %w", err)
	}
	return nil
}

// verify runs `fieldpost verify` over files.
func (r *readersRun) verify(ctx context.Context, res *result, files ...string) {
	b, err := exec.CommandContext(ctx, r.p.binary, append([]string{"verify"}, files...)...).CombinedOutput()
	if err != nil {
		name := filepath.Base(files[0])
		if len(files) > 1 {
			name = fmt.Sprintf("%d files", len(files))
		}
		res.failed("run %d (seed %d), fieldpost verify %s: %v: %s", r.number, r.p.seed, name, err, strings.Join(strings.Fields(string(b)), " "))
	}
}
