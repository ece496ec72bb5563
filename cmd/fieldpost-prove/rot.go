package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// rotLimit is how long one state may take before its process counts as hung.
const rotLimit = 2 * time.Minute

// runRot damages every page of a small store in turn, sampled pages of a large
// one, and the store of the real binary. So many runs are the states of the small
// store; the large one gets half as many, the binary one in fifty.
func runRot(ctx context.Context, p *proof, runs int) ([]result, error) {
	dir, err := rotFolder(p)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	small, err := rotStore(ctx, p, rotJob{name: "bit rot, every page of a 1,000-page store", dir: filepath.Join(dir, "small"), size: rotSmall, inTurn: true}, runs)
	if err != nil {
		return small, err
	}
	large, err := rotStore(ctx, p, rotJob{name: fmt.Sprintf("bit rot, %d pages of a million events", runs/2), dir: filepath.Join(dir, "large"), size: rotLarge}, runs/2)
	if err != nil {
		return append(small, large...), err
	}
	live := filepath.Join(dir, "live")
	if err := os.MkdirAll(live, 0o700); err != nil {
		return append(small, large...), err
	}
	binary, err := runRotBinary(ctx, p, live, max(2, runs/50))
	return append(append(small, large...), binary...), err
}

// rotFolder is a folder in memory where there is one: a state is two copies of a
// store, and nothing here is about the disk.
func rotFolder(p *proof) (string, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err == nil && int64(fs.Bavail)*fs.Bsize > 4<<30 {
		return os.MkdirTemp("/dev/shm", "fieldpost-rot-")
	}
	return p.folder("rot")
}

// rotJob is one store and its states.
type rotJob struct {
	name   string
	dir    string
	size   rotSize
	clean  bool
	inTurn bool
	seed   uint64
}

// rotStore builds a store, killed and cleanly stopped, and has its states taken.
// The states of the store that was stopped are a quarter more.
func rotStore(ctx context.Context, p *proof, job rotJob, runs int) ([]result, error) {
	r := result{fault: job.name}
	var told, tail uint64
	rows := 0
	for i, clean := range []bool{false, true} {
		job := job
		job.clean, job.seed = clean, p.rand(job.name).Uint64()+uint64(i)
		job.dir = fmt.Sprintf("%s-%d", job.dir, i)
		if err := os.MkdirAll(job.dir, 0o700); err != nil {
			return nil, err
		}
		began := time.Now()
		facts, err := buildRot(filepath.Join(job.dir, "store"), job.size, clean)
		if err == nil {
			err = facts.save(job.facts())
		}
		if err != nil {
			return nil, fmt.Errorf("build store: %w", err)
		}
		states, most := runs, len(facts.Pages)
		if clean {
			states = runs / 4
		}
		if job.inTurn && runs >= most {
			states = max(states, most)
		}
		job.inTurn = job.inTurn && !clean && states >= most
		p.say("a store of %d pages, clean stop %v, made in %v: %d states", most, clean, time.Since(began).Round(time.Millisecond), states)
		found, err := job.run(ctx, p, facts, states)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			r.runs++
			r.lost += int(f.Lost)
			r.slowest = max(r.slowest, f.Start)
			told, tail, rows = told+f.Told, tail+f.Tail, rows+f.Rows
			for _, b := range f.Broken {
				r.failed("%v: %s", facts.state(job.seed, f.State, job.inTurn), b)
				p.say("clean stop %v, %v: %s", clean, facts.state(job.seed, f.State, job.inTurn), b)
			}
		}
		r.acknowledged += len(found) * job.size.Records
		if err := os.RemoveAll(filepath.Join(job.dir, "store")); err != nil {
			return nil, err
		}
	}
	r.fault += fmt.Sprintf(" (told as damaged: %d, by an epoch: %d; rows gone: %d)", told, tail, rows)
	return []result{r}, nil
}

func (j rotJob) facts() string { return filepath.Join(j.dir, "facts.json") }

// run has the states taken by two processes.
func (j rotJob) run(ctx context.Context, p *proof, facts *rotFacts, states int) ([]rotFound, error) {
	const workers = 2
	var mu sync.Mutex
	var out []rotFound
	var first error
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for from := w; from < states; {
				found, next, err := j.work(ctx, facts, w, from, states, workers)
				mu.Lock()
				out = append(out, found...)
				if first == nil {
					first = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
				from = next
			}
		})
	}
	wg.Wait()
	return out, first
}

// work starts a process that takes states until they end, or it does. What it was
// at when it died has broken a promise, and the next process goes on behind it.
func (j rotJob) work(ctx context.Context, facts *rotFacts, w, from, to, step int) (found []rotFound, next int, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	dir := filepath.Join(j.dir, fmt.Sprintf("worker-%d", w))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, self, "rotworker", "-facts", j.facts(), "-seed", fmt.Sprint(j.seed), "-from", fmt.Sprint(from), "-to", fmt.Sprint(to),
		"-step", fmt.Sprint(step), fmt.Sprintf("-in-turn=%v", j.inTurn), "-dir", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var words strings.Builder
	cmd.Stderr = &words
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("start worker: %w", err)
	}
	hung := time.AfterFunc(rotLimit, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) }) // its goroutines are told
	defer hung.Stop()
	at := -1
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		hung.Reset(rotLimit)
		if n, err := fmt.Sscanf(lines.Text(), "begin %d", &at); n == 1 && err == nil {
			continue
		}
		var f rotFound
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return found, 0, fmt.Errorf("read worker: %w: %.200s", err, lines.Text())
		}
		found, at = append(found, f), -1
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return found, 0, context.Cause(ctx)
	case err == nil:
		return found, to, nil
	case at < 0:
		return found, 0, fmt.Errorf("worker: %w: %.2000s", err, words.String())
	}
	f := rotFound{State: at}
	f.failed("the process died: %v: %.1500s", err, words.String())
	return append(found, f), at + step, nil
}
