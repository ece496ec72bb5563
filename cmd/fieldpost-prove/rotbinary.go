package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// rotBinary is a store that the real binary filled and stopped, and what it
// acknowledged.
type rotBinary struct {
	p       *proof
	dir     string
	whole   string // the store, undamaged
	files   []rotSpot
	subject *subject
	acks    []numbered
	marks   []mark
}

const (
	rotBinaryEvents  = 12_000
	rotBinaryWriters = 4
)

// runRotBinary damages the store of the real binary, starts it, and reads all
// over HTTP, twice.
func runRotBinary(ctx context.Context, p *proof, dir string, runs int) ([]result, error) {
	r := result{fault: "bit rot, real binary"}
	b := &rotBinary{p: p, dir: dir, whole: filepath.Join(dir, "whole")}
	if err := b.build(ctx); err != nil {
		return nil, fmt.Errorf("build store: %w", err)
	}
	defer b.subject.http.CloseIdleConnections()
	rng := p.rand(r.fault)
	told := uint64(0)
	for range runs {
		number := r.runs + 1
		f := &rotFacts{Pages: b.files}
		s := f.state(rng.Uint64(), number, false)
		var took time.Duration
		for try := range 3 { // best of three on the same state
			h, one, lost, err := b.state(ctx, s)
			if err != nil {
				r.failed("%v (seed %d): %v", s, p.seed, err)
				break
			}
			if took == 0 || one < took {
				took = one
			}
			if try == 0 {
				told += lost
				h.addTo(&r, fmt.Sprintf("%v (seed %d)", s, p.seed))
			}
			if took <= startBound {
				break
			}
		}
		r.runs++
		r.slowest = max(r.slowest, took)
	}
	r.fault += fmt.Sprintf(" (told as damaged: %d)", told)
	return []result{r}, nil
}

// build lets clients fill a store, and stops the agent: all is in segments then.
func (b *rotBinary) build(ctx context.Context) (err error) {
	opt := subjectOptions{AgentOptions: AgentOptions{Binary: b.p.binary, Dir: b.dir, DataDir: filepath.Join(b.dir, "data")}, store: cutStore()}
	if b.subject, err = newSubject(opt); err != nil {
		return err
	}
	h, ws := b.client(ctx)
	if _, err := b.subject.StartTimed(ctx, ws); err != nil {
		return err
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ws.Run(ctx, rotBinaryWriters, pace{most: 200}, stop)
	}()
	wait, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the store was not filled in a minute"))
	err = poll(wait, 10*time.Millisecond, func() (bool, error) { return ws.acknowledged.Load() >= rotBinaryEvents, nil })
	cancel()
	close(stop)
	<-ended
	if err = errors.Join(err, b.subject.Term(20*time.Second)); err != nil {
		return err
	}
	for id, k := range h.events {
		var epoch uint32
		var n uint64
		if _, err := fmt.Sscanf(id, "%08x-%d", &epoch, &n); err != nil {
			return err
		}
		b.acks, b.marks = append(b.acks, numbered{ID: id, N: n, Ring: k.ring, Seq: k.seq}), append(b.marks, k.mark)
	}
	if err := os.Rename(filepath.Join(b.dir, "data"), b.whole); err != nil {
		return err
	}
	return filepath.WalkDir(b.whole, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(b.whole, path)
		if err != nil {
			return err
		}
		st, err := d.Info()
		for page := int64(0); err == nil && (page == 0 || page*rotPage < st.Size()); page++ {
			b.files = append(b.files, rotSpot{name, int(page)})
		}
		return err
	})
}

// client makes writers whose history knows what was acknowledged before.
func (b *rotBinary) client(ctx context.Context) (*history, *writers) {
	h := newHistory()
	for i, n := range b.acks {
		h.Acknowledged(n, b.marks[i])
	}
	rng := rand.New(rand.NewPCG(b.p.seed, uint64(len(b.acks))))
	b.subject.starter = &writer{client: rotBinaryWriters, history: h, rand: rng, k: len(b.acks)}
	return h, newWriters(rotBinaryWriters, b.subject.Agent, h, rng)
}

// state starts the agent on a damaged copy, reads all, and does so again after a
// stop. It gives what the gaps told as damaged.
func (b *rotBinary) state(ctx context.Context, s rotState) (h *history, took time.Duration, told uint64, err error) {
	data := filepath.Join(b.dir, "data")
	if err := errors.Join(copyFolder(b.whole, data), s.strike(data)); err != nil {
		return nil, 0, 0, err
	}
	h, ws := b.client(ctx)
	defer func() {
		if b.subject.Proc != nil {
			_ = b.subject.Kill()
		}
	}()
	for start := range 2 {
		one, err := b.subject.StartTimed(ctx, ws)
		if err != nil {
			return nil, 0, 0, fmt.Errorf("start %d: %w", start+1, err)
		}
		took = max(took, one)
		read, err := readStore(ctx, b.subject.Agent, h.Known(), "damage")
		if err != nil {
			return nil, 0, 0, fmt.Errorf("start %d: %w", start+1, err)
		}
		h.Compare(read)
		told = 0
		for _, gaps := range read.gaps {
			for _, g := range gaps {
				if g.Cause == "damage" {
					told += g.Count
				}
			}
		}
		if err := b.subject.Term(20 * time.Second); err != nil {
			return nil, 0, 0, fmt.Errorf("stop %d: %w", start+1, err)
		}
	}
	return h, took, told, nil
}
