package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crash is the harness of every crash prefix: the log of a real ext4 under the
// running store is played back, and what was acknowledged is looked for.
//
//	round    an empty ext4 on a BlockDisk, with some lives of the workload
//	state    what the disk may be after a cut at some place of the log: mounted,
//	         opened, read, written to, closed, and now and then opened again
type crash struct {
	*proof
	rng *rand.Rand

	mu     sync.Mutex
	states result // ext4
	lies   result // a card that lies
	real   result // the real binary
	strict result // a disk that keeps what POSIX promises
	inside map[string]int
	kinds  map[string]int
	kept   int // images of broken states

}

const (
	crashMegabytes = 40
	crashLives     = 4
	lifePosts      = 70
)

// runCrash replays so many states; one in twenty is opened by the real binary.
func runCrash(ctx context.Context, p *proof, runs int) ([]result, error) {
	c := &crash{proof: p, rng: p.rand("crash"), inside: map[string]int{}, kinds: map[string]int{}}
	for round := uint64(0); c.states.runs < runs; round++ { // a lie's loss proves nothing, so it counts as none
		most := max(runs/3, 100) // in a full run, all that there are
		if round > 1 {
			most = max(runs/12, 100)
		}
		if err := c.round(ctx, round, min(most, max(20, (runs-c.states.runs)*5/4))); err != nil {
			return c.results(), fmt.Errorf("round %d of seed %d: %w", round, p.seed, err)
		}
		if len(c.states.broken)+len(c.lies.broken)+len(c.real.broken) > 10 {
			break // more of the same tells no more
		}
	}
	for _, what := range []string{duringMove, duringRoll, duringSalvage, duringThin} {
		if n := c.inside[what]; runs >= 10_000 && n < 100 {
			c.states.failed("only %d states were inside a %s", n, what)
		}
	}
	err := c.posix(ctx, max(runs/10, 60))
	return c.results(), err
}

func (c *crash) results() []result {
	var inside []string
	for _, what := range []string{duringMove, duringRoll, duringSalvage, duringThin, duringOpen} {
		if n := c.inside[what]; n > 0 {
			inside = append(inside, fmt.Sprintf("%d in a %s", n, what))
		}
	}
	c.states.fault = fmt.Sprintf("crash state, ext4 (%d prefixes, %d reordered, %d torn; %s)",
		c.kinds[statePrefix], c.kinds[stateReordered], c.kinds[stateTorn], strings.Join(inside, ", "))
	c.lies.fault = "card that lies about a flush"
	c.real.fault = "crash state, the real binary"
	c.strict.fault = "crash state, a disk that keeps what POSIX promises alone"
	return []result{c.states, c.lies, c.real, c.strict}
}

// recording is what one round's workload left.
type recording struct {
	seed  uint64
	base  []byte
	log   []blockOp
	notes []crashNote
}

// round records a workload and replays it. Every other one begins with segments
// that are damaged, to be salvaged.
func (c *crash) round(ctx context.Context, round uint64, most int) error {
	rec, err := c.record(ctx, round, round%2 == 1)
	if err != nil {
		return err
	}
	must := newCrashMust()
	for _, n := range rec.notes {
		for _, b := range must.add(n) {
			c.states.failed("seed %d round %d: %s", c.seed, round, b)
		}
	}
	c.states.acknowledged += must.acked
	plan := crashPlan(rec.log, rec.notes, most, c.rng)
	c.say("round %d: %d writes and flushes, %d events acknowledged, %d states", round, len(rec.log), must.acked, len(plan))
	const workers = 2
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		part := plan[len(plan)*w/workers : len(plan)*(w+1)/workers]
		wg.Go(func() { errs[w] = c.replay(ctx, rec, round, part, w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// record runs the lives of a round over a disk whose log is kept.
func (c *crash) record(ctx context.Context, round uint64, salvage bool) (*recording, error) {
	dir, err := os.MkdirTemp("/dev/shm", "fieldpost-prove-crash-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	disk, err := newBlockDisk(dir, crashMegabytes, "ext4")
	if err != nil {
		return nil, err
	}
	rec := &recording{seed: c.seed<<16 | round}
	rng := rand.New(rand.NewPCG(rec.seed, 0xc1))
	life := crashLife{mount: disk.Path, trace: filepath.Join(dir, "trace"), count: disk.CountFile(), seed: rec.seed, boot: "boot-0", posts: lifePosts}
	if salvage {
		first := life
		first.posts *= 2
		err = c.live(ctx, first)
		damage := life
		damage.damage = true
		err = errors.Join(err, c.live(ctx, damage))
	}
	rec.base = disk.Record()
	if err == nil {
		err = c.lives(ctx, life, rng, salvage, func() { disk.DelayFlushes(time.Duration(rng.IntN(3)) * time.Millisecond) })
	}
	if err == nil {
		rec.log = disk.Log()
		rec.notes, err = readTrace(life.trace)
	}
	return rec, errors.Join(err, disk.Close())
}

// lives runs one life after the other over the same disk. Some end by a kill, and
// some begin in another boot.
func (c *crash) lives(ctx context.Context, life crashLife, rng *rand.Rand, salvage bool, before func()) error {
	for k := uint64(1); k <= crashLives; k++ {
		life.life, life.salvage, life.posts = k, salvage, lifePosts
		if rng.IntN(3) == 0 {
			life.boot = fmt.Sprint("boot-", k)
		}
		if life.kill = 0; rng.IntN(3) > 0 {
			life.kill = 1 + rng.IntN(4*lifePosts)
		}
		before()
		if err := c.live(ctx, life); err != nil {
			return err
		}
	}
	return nil
}

// live runs one life to its end.
func (c *crash) live(ctx context.Context, life crashLife) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("run workload: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, life.args()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if life.kill > 0 && ctx.Err() == nil && errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run workload: %w: %s", err, out)
	}
	return nil
}

// replay opens its part of a round's states, one after the other.
func (c *crash) replay(ctx context.Context, rec *recording, round uint64, plan []crashState, worker int) error {
	dir, err := os.MkdirTemp("/dev/shm", "fieldpost-prove-state-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	image, err := newCrashImage(dir, rec.base, rec.log)
	if err != nil {
		return err
	}
	agent, err := newCrashAgent(c.binary, dir, image)
	if err != nil {
		return errors.Join(err, image.Close())
	}
	known := newCrashMust() // of all states so far: a lie goes back, so it is made anew for those
	notes, at := rec.notes, 0
	for i, s := range plan {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, image.Close())
		}
		if s.at < at {
			known, notes = newCrashMust(), rec.notes
		}
		at = s.at
		for len(notes) > 0 && notes[0].At <= s.at {
			known.add(notes[0])
			notes = notes[1:]
		}
		p := crashPlayed{crashState: s, rec: rec, known: known, image: image, number: i + worker*len(plan)}
		p.where = fmt.Sprintf("seed %d round %d, %v", c.seed, round, s)
		if err := c.open(ctx, p, &c.states, p.checkStore); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.where, err), image.Close())
		}
		if s.kind == stateLie || !c.forBinary(i, worker) {
			continue
		}
		if err := c.open(ctx, p, &c.real, agent.check); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.where, err), image.Close())
		}
	}
	return image.Close()
}

// forBinary chooses the states that the real binary opens too.
func (c *crash) forBinary(i, worker int) bool { return i%13 == 7+worker }

// crashPlayed is a state on its way through the checks.
type crashPlayed struct {
	crashState
	rec    *recording
	known  *crashMust
	image  *crashImage
	number int
	where  string
}

// must is what the state must have.
func (p *crashPlayed) must() (*crashMust, []string) {
	must := p.known.clone()
	if p.until == p.at {
		return must, nil
	}
	later := slices.DeleteFunc(slices.Clone(p.rec.notes), func(n crashNote) bool { return n.At <= p.at || n.At > p.until })
	return must, must.forget(later)
}

func (p *crashPlayed) checkStore(ctx context.Context, must *crashMust) (*crashVerdict, error) {
	opt := crashOptions(p.image.Path, fmt.Sprint("cut-", p.number), p.rec.seed)
	return checkStore(ctx, opt, must, p.number%4 == 0), nil
}

// open brings the image to a state, and has it checked. A start that took too long
// is measured again, since the machine does other things too: the best counts.
func (c *crash) open(ctx context.Context, p crashPlayed, into *result, check func(context.Context, *crashMust) (*crashVerdict, error)) error {
	var v *crashVerdict
	for range 3 {
		p.image.set(p.crashState)
		if err := p.image.mount(); err != nil {
			c.tally(p, into, &crashVerdict{broken: []string{err.Error()}})
			return nil
		}
		must, broken := p.must()
		checked, err := check(ctx, must)
		if err := errors.Join(err, p.image.unmount()); err != nil {
			return err
		}
		checked.broken = append(broken, checked.broken...)
		if v == nil {
			v = checked
		}
		v.start = min(v.start, checked.start)
		if v.start <= startBound {
			break
		}
	}
	c.tally(p, into, v)
	return nil
}

// tally adds a verdict to a result.
func (c *crash) tally(p crashPlayed, r *result, v *crashVerdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r == &c.real:
	case p.kind == stateLie:
		r = &c.lies
	default:
		c.kinds[p.kind]++
		for _, what := range p.inside {
			c.inside[what]++
		}
	}
	r.runs++
	r.lost += v.lost
	r.slowest = max(r.slowest, v.start)
	if len(v.broken) == 0 {
		return
	}
	at := ""
	if c.kept < 3 { // the workload's threads interleave as they like: what is needed to see it again is the image
		p.image.set(p.crashState)
		file := filepath.Join(os.TempDir(), fmt.Sprintf("fieldpost-crash-%d-%d.img", c.seed, c.kept))
		if err := p.image.keep(file); err != nil {
			at = "; " + err.Error()
		} else {
			at = "; the disk is kept in " + file
		}
		c.kept++
	}
	r.failed("%s: %s%s", p.where, strings.Join(v.broken[:min(len(v.broken), 4)], "; "), at)
}
