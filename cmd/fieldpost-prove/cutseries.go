package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// series is one store over many starts of the agent, each of which ends with a
// blow.
type series struct {
	p      *proof
	name   string
	rand   *rand.Rand
	result *result
	boots  bool // each start is a boot of its own
	uplink bool // an uplink sends all of it to a real broker
	prefix []string

	dir     string
	subject *subject
	writers *writers
	history *history
	line    *line  // to the broker; nil without an uplink
	lives   int    // starts so far
	epoch   string // of the start before
}

// seriesWriters is how many writers a series has; a life uses some of them.
const seriesWriters = 8

// life is one start of the agent and what happens until the blow.
type life struct {
	early   bool // the blow may fall into the start: nobody waits for it
	writers int
	pace    pace
	lasts   time.Duration // from the first acknowledgement, or from the exec of an early one
	took    time.Duration // the start; 0 where nobody waited
}

// nextLife draws one. An early one falls into the start, and into what the start
// finds to mend.
func (s *series) nextLife(long bool) life {
	budgets := []int{200, 3000, 40_000}
	l := life{early: s.rand.IntN(5) == 0, writers: 1 + s.rand.IntN(seriesWriters)}
	l.pace = pace{most: []int{1, 20, 1000}[s.rand.IntN(3)], budget: budgets[s.rand.IntN(len(budgets))]}
	most := 300 * time.Millisecond
	if long && s.rand.IntN(2) == 0 {
		most = time.Second
	}
	if l.early {
		most = 200 * time.Millisecond
	}
	l.lasts = 2*time.Millisecond + time.Duration(s.rand.Int64N(int64(most)))
	return l
}

// build makes the agent with its writers, and the line to a broker.
func (s *series) build(ctx context.Context, dataDir, store string) (err error) {
	if s.dir, err = s.p.folder("agent"); err != nil {
		return err
	}
	opt := subjectOptions{AgentOptions: AgentOptions{Binary: s.p.binary, Dir: s.dir, DataDir: dataDir}, store: store, boots: s.boots, prefix: s.prefix}
	s.history = newHistory()
	if s.uplink {
		if s.line, err = newLine(ctx, s.dir, s.history); err != nil {
			return err
		}
		opt.Broker, opt.Batch = s.line.link.Addr, 100
	}
	if s.subject, err = newSubject(opt); err != nil {
		return err
	}
	s.writers = newWriters(seriesWriters, s.subject.Agent, s.history, s.rand)
	s.subject.starter = &writer{client: seriesWriters, history: s.history, rand: s.rand}
	return nil
}

// close takes apart whatever of it was built, and gives what was found to the line
// of the table.
func (s *series) close() error {
	if s.subject != nil {
		if s.subject.Proc != nil {
			_ = s.subject.Kill()
		}
		s.subject.http.CloseIdleConnections()
	}
	if s.line != nil {
		s.line.Close()
	}
	if s.history != nil {
		for _, f := range s.writers.takeFaults() {
			s.history.note(f)
		}
		s.history.addTo(s.result, fmt.Sprintf("%s (seed %d, after %d starts)", s.name, s.p.seed, s.lives))
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// live is one life: a start, a reading of all that the lives before left, writers,
// and the blow. After it the agent is killed, if it was not the blow itself.
func (s *series) live(ctx context.Context, l *life, blow func() error) error {
	s.lives++
	if s.boots {
		if err := s.subject.reboot(s.lives); err != nil {
			return err
		}
	}
	var err error
	if l.early {
		err = s.subject.Start()
	} else if l.took, err = s.subject.StartTimed(ctx, s.writers); err == nil {
		err = s.check(ctx)
	}
	if err != nil {
		return err
	}
	stop := s.write(ctx, l.writers, l.pace)
	err = pause(ctx, l.lasts)
	if err == nil {
		err = blow()
	}
	err = errors.Join(err, s.subject.Kill())
	stop()
	s.subject.http.CloseIdleConnections()
	return err
}

// write lets the first n writers write until the function that it gives is called,
// which waits for their end.
func (s *series) write(ctx context.Context, n int, p pace) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.writers.Run(ctx, n, p, end)
	}()
	return sync.OnceFunc(func() {
		close(end)
		<-done
	})
}

// check reads the whole store and compares it with all that was told of it, and
// looks at the epoch that the start began, or did not begin.
func (s *series) check(ctx context.Context, may ...string) error {
	known := s.history.Known()
	r, err := readStore(ctx, s.subject.Agent, known, may...)
	if err != nil {
		return err
	}
	s.history.Compare(r)
	st, err := s.subject.status(ctx)
	if err != nil {
		return err
	}
	before := s.epoch
	s.epoch = st.Store.Epoch
	switch why := toldEpoch(r, st.Store.Epoch); {
	case before == "": // the first start that lasted: what came before may have left anything
	case s.boots && st.Store.Epoch == before:
		s.history.note(fmt.Sprintf("start %d: no new epoch after a power cut", s.lives))
	case s.boots && why != "power":
		s.p.say("%s, start %d: the agent's log:\n%s", s.name, s.lives, s.subject.Tail())
		s.history.note(fmt.Sprintf("start %d: the epoch %s after a power cut is told as %q", s.lives, st.Store.Epoch, why))
	case !s.boots && st.Store.Epoch != before:
		s.p.say("%s, start %d: the agent's log:\n%s", s.name, s.lives, s.subject.Tail())
		s.history.note(fmt.Sprintf("start %d: a new epoch %s (%s) after a kill", s.lives, st.Store.Epoch, why))
	}
	return nil
}

// end is the last start: all is read once more, and has to reach the broker.
func (s *series) end(ctx context.Context, may ...string) error {
	s.lives++
	if s.boots {
		if err := s.subject.reboot(s.lives); err != nil {
			return err
		}
	}
	if _, err := s.subject.StartTimed(ctx, s.writers); err != nil {
		return err
	}
	if err := s.check(ctx, may...); err != nil {
		return err
	}
	if s.line == nil {
		return s.subject.Term(20 * time.Second)
	}
	return s.line.judge(ctx, s)
}

// line is what carries a series' events to a broker, and keeps a record.
type line struct {
	broker   *Broker
	link     *Link
	recorder *Recorder
}

func newLine(ctx context.Context, dir string, h *history) (l *line, err error) {
	l = &line{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.broker, err = startBroker(ctx, filepath.Join(dir, "broker"), "", nil); err != nil {
		return l, err
	}
	if l.recorder, err = newRecorder(filepath.Join(dir, "line.ndjson"), h.Received); err != nil {
		return l, err
	}
	l.link, err = newLink(l.broker.Addr, l.recorder)
	return l, err
}

// Close takes apart whatever of it was built.
func (l *line) Close() {
	if l.link != nil {
		l.link.Close()
	}
	if l.recorder != nil {
		_ = l.recorder.Close()
	}
	if l.broker != nil && l.broker.Proc != nil {
		_ = l.broker.Kill()
	}
}

// judge waits until nothing is left to send, stops the agent, and holds the record
// against what was acknowledged. `fieldpost verify` must come to the same.
func (l *line) judge(ctx context.Context, s *series) error {
	wait, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("drain: the backlog was not sent in a minute"))
	defer cancel()
	err := poll(wait, 20*time.Millisecond, func() (bool, error) {
		var answer struct{ Uplinks []struct{ Backlog int } }
		if err := s.subject.get(wait, "/v1/uplinks", &answer); err != nil {
			return false, err
		}
		return len(answer.Uplinks) == 1 && answer.Uplinks[0].Backlog == 0 && l.recorder.Waiting() == 0, nil
	})
	if err == nil {
		err = s.subject.Term(20 * time.Second)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.subject.Tail())
	}
	if n := s.history.Undelivered(); n > 0 {
		s.history.note(fmt.Sprintf("%d acknowledged events never reached the broker, and no gap tells", n))
	}
	if err := l.recorder.Flush(); err != nil {
		return err
	}
	if said, err := s.subject.Verify(ctx, l.recorder.Path); err != nil {
		s.history.note(fmt.Sprintf("what the broker got does not close: %v", errors.Join(err, errors.New(said))))
	}
	return nil
}
