package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What an agent on a slow disk owes.
const (
	slowFlush    = 500 * time.Millisecond
	slowFor      = 8 * time.Second
	slowAnswer   = 10 * time.Second // a client's patience
	watchdogTime = 6 * time.Second  // a fifth of the unit's; the agent answers thrice as often
)

// runSlow takes the agent through what makes everything slow or scarce: flushes of
// half a second, a read-only remount, few descriptors and little memory.
func runSlow(ctx context.Context, p *proof, runs int) ([]result, error) {
	var out []result
	for _, c := range []struct {
		fault string
		run   func(*series, context.Context) error
		opt   series
	}{
		{"flush takes 500 ms", (*series).slow, series{boots: true}},
		{"read-only remount", (*series).readOnly, series{boots: true}},
		{"64 descriptors, 12 MB heap", (*series).scarce, series{prefix: []string{"env", "GOMEMLIMIT=12MiB", "prlimit", "--nofile=64:64", "nice", "-n", "19"}}},
	} {
		r := result{fault: c.fault}
		random := p.rand(c.fault)
		for i := range runs {
			s := c.opt
			s.p, s.name, s.rand, s.result = p, fmt.Sprintf("%s, run %d", c.fault, i), random, &r
			if err := c.run(&s, ctx); err != nil {
				return append(out, r), fmt.Errorf("%s: %w", s.name, err)
			}
			r.runs++
		}
		out = append(out, r)
	}
	return out, nil
}

// slow writes for some seconds while each flush of the device takes half a second,
// and ends with a power cut.
func (s *series) slow(ctx context.Context) (err error) {
	dir, err := s.p.folder("slow")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := newBlockDisk(dir, eioMegabytes, "ext4")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	dog, err := newWatchdog(dir)
	if err != nil {
		return err
	}
	defer dog.Close()
	s.prefix = dog.prefix()
	defer func() { err = errors.Join(s.close(), err) }()
	if err := s.build(ctx, filepath.Join(disk.Path, "data"), cutStore()); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	disk.DelayFlushes(slowFlush)
	stop := s.write(ctx, seriesWriters, pace{most: 20})
	defer stop()
	before := s.writers.acknowledged.Load()
	s.writers.slowest.Store(0)
	if err := s.aliveFor(ctx, slowFor); err != nil {
		return err
	}
	// The device goes on to answer after the cut: nobody may hear of it.
	if err := s.subject.Freeze(ctx); err != nil {
		return err
	}
	disk.Cut()
	err = s.subject.Kill()
	stop()
	s.subject.http.CloseIdleConnections()
	if err := errors.Join(err, disk.Revive()); err != nil {
		return err
	}
	if n := s.writers.acknowledged.Load() - before; n < int64(seriesWriters) {
		s.history.note(fmt.Sprintf("%d events were acknowledged in %v", n, slowFor))
	}
	if took := time.Duration(s.writers.slowest.Load()); took > slowAnswer {
		s.history.note(fmt.Sprintf("a client was answered after %v", took))
	}
	if quiet := dog.Longest(); quiet > watchdogTime {
		s.history.note(fmt.Sprintf("the watchdog heard nothing for %v", quiet))
	}
	return s.end(ctx)
}

// begin is a start that is measured, with a reading.
func (s *series) begin(ctx context.Context) error {
	s.lives++
	if s.boots {
		if err := s.subject.reboot(s.lives); err != nil {
			return err
		}
	}
	took, err := s.subject.StartTimed(ctx, s.writers)
	for try := 0; err == nil && took > startBound && try < 2; try++ { // after a kill it finds the same, and a little more
		s.p.say("%s, start %d took %v", s.name, s.lives, took)
		var again time.Duration
		if err = s.subject.Kill(); err == nil {
			again, err = s.subject.StartTimed(ctx, s.writers)
			took = min(took, again)
		}
	}
	if err != nil {
		return err
	}
	s.result.slowest = max(s.result.slowest, took)
	return s.check(ctx)
}

// aliveFor asks again and again whether the agent lives.
func (s *series) aliveFor(ctx context.Context, long time.Duration) error {
	for end := time.Now().Add(long); time.Now().Before(end); {
		if err := errors.Join(s.subject.lives(ctx), s.ended()); err != nil {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// readOnly lets a live ext4 become read-only, as it does after an error of its own,
// and lets the agent start on one that is mounted so and becomes writable again.
func (s *series) readOnly(ctx context.Context) (err error) {
	dir, err := imageFolder(s.p, "readonly")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := newCutDisk(dir, "ext4", 128)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	defer func() { err = errors.Join(s.close(), err) }()
	if err := s.build(ctx, filepath.Join(disk.Path, "data"), cutStore()); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	stop := s.write(ctx, seriesWriters, pace{most: 100, budget: 10_000})
	defer func() { stop() }()
	if err := pause(ctx, time.Duration(s.rand.Int64N(int64(300*time.Millisecond)))); err != nil {
		return err
	}
	if err := disk.remount("errors=remount-ro"); err != nil {
		return err
	}
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(disk.device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		return fmt.Errorf("make file system read-only: %w", err)
	}
	if err := s.refusedReadOnly(ctx); err != nil {
		return err
	}
	err = s.subject.Kill()
	stop()
	s.subject.http.CloseIdleConnections()
	if err := errors.Join(err, disk.repair(ctx)); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := s.subject.Kill(); err != nil {
		return err
	}
	return s.startReadOnly(ctx, disk)
}

// refusedReadOnly waits until writes are refused and the agent says why.
func (s *series) refusedReadOnly(ctx context.Context) error {
	before := s.writers.refused.Load()
	err := eventually(ctx, 10*time.Second, "a read-only disk is not told, or no write refused", func() (bool, error) {
		st, err := s.subject.status(ctx)
		return err == nil && st.Store.ReadOnly && s.writers.refused.Load() > before && s.subject.get(ctx, "/readyz", nil) != nil, s.ended()
	})
	if err != nil {
		return err
	}
	return s.readsGoOn(ctx)
}

// startReadOnly starts the agent on a file system that is mounted read-only, and
// makes it writable under the agent, which must go on by itself.
func (s *series) startReadOnly(ctx context.Context, disk *cutDisk) error {
	if err := disk.remount("errors=remount-ro", unix.MS_RDONLY); err != nil {
		return err
	}
	s.lives++
	s.subject.boot = "" // the kernel's: a mount namespace would have the mount read-only for good
	if err := s.startSick(ctx); err != nil {
		return err
	}
	stop := s.write(ctx, 2, pace{most: 10, every: time.Millisecond})
	defer stop()
	if err := s.refusedReadOnly(ctx); err != nil {
		return err
	}
	if err := disk.remount("errors=remount-ro"); err != nil {
		return err
	}
	if err := s.recovers(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, s.subject.Tail())
	}
	stop()
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.subject.Term(20 * time.Second)
}

// remount changes how a file system is mounted.
func (d *cutDisk) remount(options string, flags ...uintptr) error {
	all := uintptr(unix.MS_REMOUNT | unix.MS_NOATIME)
	for _, f := range flags {
		all |= f
	}
	if err := unix.Mount("", d.Path, "", all, options); err != nil {
		return fmt.Errorf("remount %s: %w", d.Path, err)
	}
	return nil
}

// repair is what a boot does with a file system that has noted an error.
func (d *cutDisk) repair(ctx context.Context) error {
	if err := d.Unmount(ctx); err != nil {
		return err
	}
	return errors.Join(checkFS(ctx, d.device), d.Mount())
}

// scarce writes and is killed with few descriptors, a small heap and the last turn
// at the processor, while readers read.
func (s *series) scarce(ctx context.Context) (err error) {
	dir, err := s.p.folder("scarce")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(s.close(), err) }()
	if err := s.build(ctx, filepath.Join(dir, "data"), cutStore()); err != nil {
		return err
	}
	for range 3 {
		if err := s.begin(ctx); err != nil {
			return err
		}
		stop := s.write(ctx, seriesWriters, pace{most: 400})
		err := s.aliveFor(ctx, 2*time.Second)
		if err == nil {
			_, err = readRing(ctx, s.subject.Agent, "samples") // while events come in
		}
		err = errors.Join(err, s.subject.Kill())
		stop()
		s.subject.http.CloseIdleConnections()
		if err != nil {
			return err
		}
	}
	if took := time.Duration(s.writers.slowest.Load()); took > slowAnswer {
		s.history.note(fmt.Sprintf("a client was answered after %v", took))
	}
	return s.end(ctx)
}

// watchdog hears the agent as systemd does.
type watchdog struct {
	conn *net.UnixConn
	path string
	done chan struct{}

	mu      sync.Mutex
	last    time.Time // zero until the first word
	longest time.Duration
}

func newWatchdog(dir string) (*watchdog, error) {
	w := &watchdog{path: filepath.Join(dir, "notify"), done: make(chan struct{})}
	var err error
	if w.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.path, Net: "unixgram"}); err != nil {
		return nil, fmt.Errorf("listen as watchdog: %w", err)
	}
	go func() {
		defer close(w.done)
		b := make([]byte, 4096)
		for {
			n, err := w.conn.Read(b)
			if err != nil {
				return
			}
			if strings.Contains(string(b[:n]), "WATCHDOG=1") {
				w.mu.Lock()
				if !w.last.IsZero() {
					w.longest = max(w.longest, time.Since(w.last))
				}
				w.last = time.Now()
				w.mu.Unlock()
			}
		}
	}()
	return w, nil
}

// prefix is what runs the agent so that it tells this watchdog.
func (w *watchdog) prefix() []string {
	return []string{"env", "NOTIFY_SOCKET=" + w.path, fmt.Sprintf("WATCHDOG_USEC=%d", watchdogTime.Microseconds())}
}

// Longest is the longest time between two words; that since the last one counts.
func (w *watchdog) Longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last.IsZero() {
		return 2 * watchdogTime // it never said anything
	}
	return w.longest
}

// Close ends it.
func (w *watchdog) Close() error {
	err := w.conn.Close()
	<-w.done
	return err
}
