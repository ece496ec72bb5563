package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fullsOfStore is how many times the disk of one store is filled.
const fullsOfStore = 7

// What a full disk's agent may take.
const (
	refusesBy  = 30 * time.Second // until a write is refused: the journal may have room for that long
	recoversBy = 15 * time.Second // from the room's return to the next acknowledgement, by itself
)

// runFull fills a small ext4 under the running agent at random moments: its bytes
// three times for its inodes once.
func runFull(ctx context.Context, p *proof, runs int) ([]result, error) {
	bytes := (runs*3 + 3) / 4
	var out []result
	for _, c := range []struct {
		what   string
		inodes bool
		runs   int
		mkfs   []string
	}{{"bytes", false, bytes, nil}, {"inodes", true, runs - bytes, []string{"-N", "256"}}} {
		r := result{fault: "disk full, " + c.what}
		random := p.rand("full " + c.what)
		var err error
		for store := 0; r.runs < c.runs && err == nil; store++ {
			s := &series{p: p, name: fmt.Sprintf("full of %s, store %d", c.what, store), rand: random, result: &r}
			err = s.fulls(ctx, min(fullsOfStore, c.runs-r.runs), c.inodes, c.mkfs)
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

// fulls fills one store's disk a number of times.
func (s *series) fulls(ctx context.Context, moments int, inodes bool, mkfs []string) (err error) {
	dir, err := imageFolder(s.p, "full")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := newCutDisk(dir, "ext4", 160, mkfs...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	defer func() { err = errors.Join(s.close(), err) }()
	if err := s.build(ctx, filepath.Join(disk.Path, "data"), cutStore()); err != nil {
		return err
	}
	b := &ballast{dir: filepath.Join(disk.Path, "ballast"), inodes: inodes}
	for i := range moments {
		m := fullMoment{s: s, ballast: b, writers: seriesWriters, kill: s.rand.IntN(3) == 0, hold: i == moments-1}
		m.before = i == 0 && !m.hold && s.rand.IntN(2) == 0
		if inodes { // a new writer has a ring of its own, whose folder and segment take two
			m.writers = i + 1
		}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s, moment %d: %w\n%s", s.name, i, err, s.subject.Tail())
		}
		s.result.runs++
	}
	if !inodes { // without inodes a move works now and then, and the state of an instant need not be told
		if err := s.toldStore(ctx, "full"); err != nil {
			return fmt.Errorf("%s: %w\n%s", s.name, err, s.subject.Tail())
		}
	}
	return s.subject.Term(20 * time.Second)
}

// fullMoment is one time that the disk is full.
type fullMoment struct {
	s       *series
	ballast *ballast
	writers int
	before  bool // it is full before the first start
	kill    bool // the agent dies while it is full, and starts there
	hold    bool // it stays full for long enough to be told
}

func (m *fullMoment) run(ctx context.Context) error {
	s := m.s
	if m.before {
		if err := m.ballast.Fill(0); err != nil {
			return err
		}
		if err := s.startSick(ctx); err != nil {
			return err
		}
	} else if s.subject.Proc == nil {
		took, err := s.subject.StartTimed(ctx, s.writers)
		if err != nil {
			return err
		}
		s.result.slowest = max(s.result.slowest, took)
	}
	stop := s.write(ctx, m.writers, pace{most: 1000})
	defer func() { stop() }()
	if err := pause(ctx, time.Duration(s.rand.Int64N(int64(300*time.Millisecond)))); err != nil {
		return err
	}
	if err := m.ballast.Fill(s.rand.Int64N(1 << 20)); err != nil {
		return err
	}
	if m.ballast.inodes {
		stop()
		stop = s.write(ctx, m.writers+1, pace{most: 1000})
	}
	if err := m.refused(ctx); err != nil {
		return err
	}
	if m.kill {
		if err := s.subject.Kill(); err != nil {
			return err
		}
		if err := s.startSick(ctx); err != nil {
			return err
		}
	}
	if m.hold {
		if err := pause(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		stop() // what the agent tells of it must not be evicted at once
		stop = s.write(ctx, 1, pace{most: 1, every: 2 * time.Millisecond})
	}
	if err := m.ballast.Free(); err != nil {
		return err
	}
	if err := s.recovers(ctx); err != nil {
		return err
	}
	stop()
	s.lives++
	return s.check(ctx)
}

// refused waits until a write is refused, and sees that the agent says why and
// that reads go on. Without inodes it need not come to that, where all that a new
// segment would hold is over its ring's bound first: then it says so all the same.
func (m *fullMoment) refused(ctx context.Context) error {
	s := m.s
	before := s.writers.refused.Load()
	waits := false // it has no store yet, and says that of everything
	err := eventually(ctx, refusesBy, "a full disk is not told, or no write refused", func() (bool, error) {
		st, err := s.subject.status(ctx)
		waits = m.before && err != nil && strings.Contains(err.Error(), unix.ENOSPC.Error())
		full := waits || err == nil && st.Store.Full && len(st.Problems) > 0 && s.subject.get(ctx, "/readyz", nil) != nil
		return full && (m.ballast.inodes || s.writers.refused.Load() > before), s.ended()
	})
	if err != nil || waits {
		return err
	}
	return s.readsGoOn(ctx)
}

// readsGoOn sees that what is stored can be read, and that the agent lives.
func (s *series) readsGoOn(ctx context.Context) error {
	if err := s.subject.lives(ctx); err != nil {
		return err
	}
	var page struct{ Events []wireEvent }
	if err := s.subject.get(ctx, "/v1/events?ring=events&order=desc&limit=10", &page); err != nil {
		return fmt.Errorf("read while nothing can be stored: %w", err)
	}
	if len(page.Events) == 0 {
		return errors.New("read while nothing can be stored: no event")
	}
	return nil
}

// ended is an error where the agent has ended by itself.
func (s *series) ended() error {
	select {
	case <-s.subject.Done():
		return fmt.Errorf("the agent ended: %v", s.subject.err)
	default:
		return nil
	}
}

// startSick starts the agent where it can't store anything, and waits until it says
// that it lives: within the bound of a start.
func (s *series) startSick(ctx context.Context) error {
	for try := 0; ; try++ {
		began := time.Now()
		if err := s.subject.Start(); err != nil {
			return err
		}
		err := eventually(ctx, startMost, "the agent does not say that it lives", func() (bool, error) { return s.subject.lives(ctx) == nil, s.ended() })
		if err != nil {
			return err
		}
		took := time.Since(began)
		if took <= startBound {
			return nil
		}
		if try == 2 {
			s.history.note(fmt.Sprintf("a start on a sick disk took %v until it answered, best of 3", took))
			return nil
		}
		if err := s.subject.Kill(); err != nil {
			return err
		}
	}
}

// recovers waits until events are acknowledged again, and the agent finds nothing
// wrong any more. Nobody helps it.
func (s *series) recovers(ctx context.Context) error {
	before := s.writers.acknowledged.Load()
	err := eventually(ctx, recoversBy, "no event was acknowledged after the disk's recovery", func() (bool, error) {
		return s.writers.acknowledged.Load() > before, s.ended()
	})
	if err != nil {
		return err
	}
	return eventually(ctx, recoversBy, "the agent still finds its store wrong after the disk's recovery", func() (bool, error) {
		st, err := s.subject.status(ctx)
		return err == nil && st.State == "ok" && !st.Store.Full && !st.Store.ReadOnly && st.Store.Error == "", s.ended()
	})
}

// toldStore waits until an event tells that the store is well, having been in a
// state.
func (s *series) toldStore(ctx context.Context, state string) error {
	newest := "none"
	err := eventually(ctx, 30*time.Second, "the store's recovery is not told", func() (bool, error) {
		var page struct{ Events []wireEvent }
		if err := s.subject.get(ctx, "/v1/events?ring=events&order=desc&limit=1&name=store&kind=system", &page); err != nil || len(page.Events) == 0 {
			return false, err
		}
		newest = string(page.Events[0].Data)
		var d struct{ State, Was string }
		err := json.Unmarshal(page.Events[0].Data, &d)
		return d.State == "ok" && d.Was == state, errors.Join(err, s.ended())
	})
	if err != nil {
		return fmt.Errorf("%w; the newest event of it is %s", err, newest)
	}
	return nil
}

// eventually polls for so long, and then fails with the words.
func eventually(ctx context.Context, long time.Duration, words string, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, long, fmt.Errorf("%s in %v", words, long))
	defer cancel()
	return poll(ctx, 5*time.Millisecond, ask)
}

// ballast takes what is free of a file system.
type ballast struct {
	dir    string
	inodes bool
}

// Fill takes all that is left, the last bytes of it one block after another.
func (b *ballast) Fill(last int64) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil && !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill disk: %w", err)
	}
	if b.inodes {
		for i := 0; ; i++ {
			f, err := os.Create(filepath.Join(b.dir, fmt.Sprint(i)))
			if errors.Is(err, unix.ENOSPC) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("use up inodes: %w", err)
			}
			f.Close()
		}
	}
	f, err := os.OpenFile(filepath.Join(b.dir, "bytes"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	if most := int64(st.Bavail)*int64(st.Bsize) - last; most > 0 {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, most)
		if err != nil && !errors.Is(err, unix.ENOSPC) { // what others took meanwhile
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	for block, at := make([]byte, 4096), int64(st.Bavail)*int64(st.Bsize); ; at += int64(len(block)) {
		_, err := f.WriteAt(block, at)
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("fill disk: %w", err)
		}
	}
}

// Free gives it back.
func (b *ballast) Free() error {
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("empty disk: %w", err)
	}
	return nil
}
