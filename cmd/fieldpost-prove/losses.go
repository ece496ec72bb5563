package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// survivor is a contender that is struck while it acknowledges events.
type survivor interface {
	// start runs it on its folder, as often as it was struck, and waits until it
	// acknowledges.
	start(ctx context.Context) error
	kill() error
	// load publishes events with 1,000 in flight, and counts each that is
	// acknowledged, until it fails or stop is closed.
	load(acked *atomic.Int64, stop <-chan struct{}) error
	// count is how many events it has, or has delivered.
	count(ctx context.Context) (int, error)
	close()
}

// lossRun is what strikes of one kind cost a contender.
type lossRun struct {
	acked, lost int
	measure     *measure
}

func (r *lossRun) take(acked, has int) {
	r.acked += acked
	r.lost += max(0, acked-has)
	r.measure.taken = true
	r.measure.value = float64(r.lost)
	r.measure.text = fmt.Sprintf("%d of %d", r.lost, r.acked)
}

// loser is a contender and what it lost.
type loser struct {
	name       string
	build      func(ctx context.Context, dir string) (survivor, error) // on the file system of dir
	cut, crash lossRun
	slowest    *measure // start after a power cut
}

// lostNone is below one event: a bound of 0 would be none.
const lostNone = 0.5

// losses counts what was acknowledged and is gone after a power cut and a SIGKILL,
// each struck half a second into a load.
func (b *bench) losses(ctx context.Context) error {
	all := b.losers()
	cut := &row{name: fmt.Sprintf("acknowledged events lost by %d power cuts (ext4 shut down, its log not flushed), 1,000 in flight", b.blows), show: events, bound: lostNone}
	crash := &row{name: fmt.Sprintf("acknowledged events lost by %d SIGKILLs, 1,000 in flight", b.blows), show: events, bound: lostNone}
	start := &row{name: "the slowest start after these power cuts, to the first acknowledgement", show: milliseconds, bound: 2}
	for i, l := range all {
		l.cut.measure, l.crash.measure, l.slowest = less(), less(), &measure{lower: true, worst: true}
		for _, r := range []struct {
			row *row
			of  *measure
		}{{cut, l.cut.measure}, {crash, l.crash.measure}, {start, l.slowest}} {
			if i == 0 {
				r.row.ours = r.of
			} else {
				r.row.peers = append(r.row.peers, peer{name: l.name, of: r.of})
			}
		}
	}
	for _, r := range []*row{cut, crash, start} {
		b.table.add(r)
	}
	for _, l := range all {
		for range b.blows {
			if err := b.again(ctx, "power cut of "+l.name, func() error { return b.powerCut(ctx, l) }); err != nil {
				return err
			}
			if err := b.again(ctx, "SIGKILL of "+l.name, func() error { return b.sigkill(ctx, l) }); err != nil {
				return err
			}
		}
		b.say("lost: %s: %s by power cuts, %s by SIGKILL", l.name, l.cut.measure.text, l.crash.measure.text)
	}
	return nil
}

// again gives a blow that did not come about a second chance, on a disk of its
// own: a file system that something else on the machine holds can't be unmounted.
func (b *bench) again(ctx context.Context, what string, blow func() error) error {
	err := blow()
	if err == nil || ctx.Err() != nil || errors.Is(err, errNoDisk) {
		return err
	}
	b.say("%s: %v; once more", what, err)
	if err := blow(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (b *bench) losers() []*loser {
	all := []*loser{
		{name: "ours", build: b.oursSurvivor},
		{name: redisAlways, build: b.redisSurvivor},
		{name: "mosquitto, persistence true", build: func(ctx context.Context, dir string) (survivor, error) { return b.bridgeSurvivor(ctx, dir, false) }},
		{name: "mosquitto, saved on each change", build: func(ctx context.Context, dir string) (survivor, error) { return b.bridgeSurvivor(ctx, dir, true) }},
	}
	if b.nats != "" {
		all = append(all,
			&loser{name: natsAlways, build: func(_ context.Context, dir string) (survivor, error) { return b.natsSurvivor(dir, true) }},
			&loser{name: "NATS, sync by default (2 minutes)", build: func(_ context.Context, dir string) (survivor, error) { return b.natsSurvivor(dir, false) }})
	}
	return all
}

// powerCut strikes a contender on a file system of its own, and mounts that again.
func (b *bench) powerCut(ctx context.Context, l *loser) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it takes root", errNoDisk)
	}
	disk, err := newCutDisk(b.folder("cut"), "ext4", 1024)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := disk.Close(); err == nil {
			err = cerr
		}
	}()
	return b.struck(ctx, l, filepath.Join(disk.Path, "data"), &l.cut, func(s survivor) error {
		if err := disk.Cut(); err != nil {
			return err
		}
		if err := s.kill(); err != nil {
			return err
		}
		if err := disk.Unmount(ctx); err != nil {
			return err
		}
		return disk.Mount()
	})
}

func (b *bench) sigkill(ctx context.Context, l *loser) error {
	return b.struck(ctx, l, b.folder("killed"), &l.crash, func(s survivor) error { return s.kill() })
}

// struck loads a contender, strikes, starts it again and compares what it has with
// what it had acknowledged before the blow.
func (b *bench) struck(ctx context.Context, l *loser, dir string, to *lossRun, blow func(survivor) error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s, err := l.build(ctx, dir)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.start(ctx); err != nil {
		return err
	}
	unix.Sync() // a program that has run for long has its own files on the disk
	var acked atomic.Int64
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.load(&acked, stop) }()
	if err := underWay(ctx, &acked, ended); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	told := int(acked.Load())
	err = blow(s)
	close(stop)
	<-ended // with an error, since its peer is gone
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	if to == &l.cut {
		l.slowest.take(time.Since(began).Seconds())
	}
	has, err := s.count(ctx)
	if err == nil {
		to.take(told, has)
	}
	return err
}

// underWay waits until a load has gone on for half a second, and some events are
// acknowledged: a flush for each takes its time.
func underWay(ctx context.Context, acked *atomic.Int64, ended <-chan error) error {
	const some = 100
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("not %d events were acknowledged in 20 s", some))
	defer cancel()
	began := time.Now()
	return poll(ctx, time.Millisecond, func() (bool, error) {
		select {
		case err := <-ended:
			return false, fmt.Errorf("it ended before the blow: %w", err)
		default:
			return acked.Load() >= some && time.Since(began) > 500*time.Millisecond, nil
		}
	})
}
