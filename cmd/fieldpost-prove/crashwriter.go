package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"fieldpost/edge"
	"fieldpost/queue"
)

// crashLife is one run of the workload, from the store's Open to its Close or to
// a SIGKILL at a step of its own: a process each.
type crashLife struct {
	mount, trace, count string // where the store, the trace and the log's length are
	boot                string
	seed                uint64 // of the round
	life                uint64 // of the round's lives
	posts               int
	kill                int  // the step of the store before which it kills itself; 0: none
	damage              bool // it damages segments instead, and ends
	salvage             bool // it reads all, so that what is damaged is found
}

// runCrashWriter is the verb; prove starts it, as what touches a BlockDisk must
// not be the process that serves it.
func runCrashWriter(ctx context.Context, args []string, out io.Writer) error {
	fs, _ := flags("crash-writer", out)
	var l crashLife
	fs.StringVar(&l.mount, "mount", "", "the file system's `folder`")
	fs.StringVar(&l.trace, "trace", "", "the trace's `file`")
	fs.StringVar(&l.count, "count", "", "the `file` with the log's length")
	fs.StringVar(&l.boot, "boot", "", "the boot's `id`")
	fs.Uint64Var(&l.seed, "seed", 0, "the round's `number`")
	fs.Uint64Var(&l.life, "life", 0, "the life's `number`")
	fs.IntVar(&l.posts, "posts", 100, "how many `posts` each writer makes")
	fs.IntVar(&l.kill, "kill", 0, "kill it at this `step`")
	fs.BoolVar(&l.damage, "damage", false, "damage segments instead")
	fs.BoolVar(&l.salvage, "salvage", false, "read all of it")
	if err := parse(fs, args); err != nil {
		return err
	}
	w := &crashWriter{crashLife: l, acked: map[string][]crashID{}}
	var err error
	if w.crashTrace, err = openCrashTrace(l.trace, l.count); err != nil {
		return err
	}
	if l.damage {
		err = w.damageSegments()
	} else {
		err = w.run(ctx)
	}
	return errors.Join(err, w.crashTrace.err)
}

func (l *crashLife) args() []string {
	return []string{"crash-writer", "-mount", l.mount, "-trace", l.trace, "-count", l.count, "-boot", l.boot,
		"-seed", fmt.Sprint(l.seed), "-life", fmt.Sprint(l.life), "-posts", fmt.Sprint(l.posts), "-kill", fmt.Sprint(l.kill),
		fmt.Sprintf("-damage=%v", l.damage), fmt.Sprintf("-salvage=%v", l.salvage)}
}

// crashWriter is the workload at work.
type crashWriter struct {
	crashLife
	*crashTrace
	store *crashStore
	steps atomic.Int64
	last  atomic.Uint64 // the C that was given last
	top   atomic.Uint64 // the highest n that a reader has seen

	mu    sync.Mutex
	acked map[string][]crashID // by key
	keys  []string
}

// livesApart is how many events a life may make at most: C tells the life too.
const livesApart = 1 << 20

func (w *crashWriter) run(ctx context.Context) error {
	w.last.Store((w.life + 1) * livesApart)
	opt := crashOptions(w.mount, w.boot, w.seed)
	opt.Fault = w.step
	opt.Log = slog.New(salvageLog{
		begin: func() { w.note(crashNote{What: noteSalvage}) },
		end:   func() { w.note(crashNote{What: noteHealed}) },
	})
	w.note(crashNote{What: noteOpen, Key: w.boot})
	var err error
	if w.store, err = openCrashStore(opt); err != nil {
		return err
	}
	w.note(crashNote{What: noteOpened, Key: w.boot})
	reading, stop := context.WithCancel(ctx)
	var reader, writers sync.WaitGroup
	errs := make([]error, 3)
	reader.Go(func() { errs[2] = w.read(reading) })
	for i := range 2 {
		writers.Go(func() { errs[i] = w.write(ctx, uint64(i)) })
	}
	writers.Wait()
	stop()
	reader.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	kept := w.cursor()
	w.note(crashNote{What: noteClose})
	if err := w.store.Close(); err != nil {
		return err
	}
	w.note(crashNote{What: noteClosed})
	w.note(crashNote{What: noteKept, Kept: kept})
	return nil
}

// step notes where the store is, and ends the process where that was asked for.
func (w *crashWriter) step(name string) error {
	w.note(crashNote{What: noteStep, Key: name})
	if n := w.steps.Add(1); w.kill > 0 && n == int64(w.kill) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
		select {} // nothing may be written any more
	}
	return nil
}

// write does what one client does, and moves the journal as the store's own clock
// would; only the first writer has the mailbox.
func (w *crashWriter) write(ctx context.Context, writer uint64) error {
	rng := rand.New(rand.NewPCG(w.seed, w.life<<8|writer))
	for range w.posts {
		var err error
		switch k := rng.IntN(20); {
		case k < 12:
			err = w.post(ctx, w.events(rng), "")
		case k < 15:
			ids := w.events(rng)
			err = w.post(ctx, ids, fmt.Sprint("key-", ids[0].C))
		case k < 17:
			err = w.repeat(ctx, rng)
		case writer > 0:
			err = w.thin(ctx, rng)
		case k < 19:
			err = w.moveMailbox(ctx)
		default:
			err = w.move()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events chooses what to post: a few events, now and then to one ring alone.
func (w *crashWriter) events(rng *rand.Rand) []crashID {
	rings := crashPosts()
	ids := make([]crashID, 1+rng.IntN(8))
	one := rng.IntN(3) == 0
	for i := range ids {
		ids[i] = crashID{Ring: rings[rng.IntN(len(rings))], C: w.last.Add(1)}
		if one {
			ids[i].Ring = ids[0].Ring
		}
	}
	return ids
}

// post posts events and notes that they were acknowledged.
func (w *crashWriter) post(ctx context.Context, ids []crashID, key string) error {
	w.note(crashNote{What: noteTry, IDs: ids, Key: key})
	got, err := w.store.post(ctx, ids, key)
	if err != nil {
		return err
	}
	w.note(crashNote{What: noteAck, IDs: got, Key: key})
	if key != "" {
		w.mu.Lock()
		w.acked[key] = got
		w.keys = append(w.keys, key)
		w.mu.Unlock()
	}
	return nil
}

// repeat posts again what was acknowledged under a key: the answer is the same,
// and nothing is stored.
func (w *crashWriter) repeat(ctx context.Context, rng *rand.Rand) error {
	w.mu.Lock()
	if len(w.keys) == 0 {
		w.mu.Unlock()
		return nil
	}
	key := w.keys[rng.IntN(len(w.keys))]
	want := w.acked[key]
	w.mu.Unlock()
	got, err := w.store.post(ctx, want, key)
	if errors.Is(err, edge.ErrKeyRunning) { // the other writer repeats the same
		return nil
	}
	if err != nil {
		return err
	}
	w.note(crashNote{What: noteAck, IDs: got, Key: key}) // another id for the same event is a broken promise to the checker
	return nil
}

// moveMailbox moves the mailbox to what the reader has.
func (w *crashWriter) moveMailbox(ctx context.Context) error {
	n := w.top.Load()
	w.note(crashNote{What: noteMail, N: n})
	if err := w.store.pump.Commit(ctx, queue.MailboxRow(queue.Mailbox{Name: crashMailbox, N: n})); err != nil {
		return fmt.Errorf("move mailbox: %w", err)
	}
	w.note(crashNote{What: noteMailed, N: n})
	return nil
}

// move moves the journal to the segments. What the cursor had before is durable
// after it.
func (w *crashWriter) move() error {
	kept := w.cursor()
	w.note(crashNote{What: noteMove})
	if err := w.store.Move(); err != nil {
		return fmt.Errorf("move journal: %w", err)
	}
	w.note(crashNote{What: noteMoved})
	w.note(crashNote{What: noteKept, Kept: kept})
	return nil
}

func (w *crashWriter) cursor() map[string]crashSpans {
	kept := map[string]crashSpans{}
	for _, ring := range crashRings() {
		if rs := w.store.Cursor(crashCursor).Ranges(ring); len(rs) > 0 {
			kept[ring] = rs
		}
	}
	return kept
}
