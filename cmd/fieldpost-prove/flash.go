package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// trickleEvery is the time between two events of the trickle.
const trickleEvery = time.Second

// flash measures what reaches the block device under ext4 for each durable event:
// one event a second, ours and Redis at the same time on a disk each, and in bulk.
func (b *bench) flash(ctx context.Context) error {
	trickle := [2]*measure{{lower: true}, {lower: true}}
	bulk := [2]*measure{{lower: true}, {lower: true}}
	const peer = "Redis, appendfsync always"
	b.table.add(&row{name: fmt.Sprintf("flash an event, 1 a second (%d of them)", b.trickle), ours: trickle[0], theirs: trickle[1], peer: peer,
		show: bytesEach, reach: 7000, reachText: "7 kB"})
	b.table.add(&row{name: fmt.Sprintf("flash an event, %d,000 in bulk", b.bulk/1000), ours: bulk[0], theirs: bulk[1], peer: peer,
		show: bytesEach, reach: 300, reachText: "300 B"})

	disks := [2]*Disk{}
	for i := range disks {
		d, err := newDisk(b.folder("disk"), 2048)
		if err != nil {
			return err
		}
		disks[i] = d
		defer func() {
			if err := d.Close(); err != nil {
				b.say("take disk apart: %v", err)
			}
		}()
	}
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("flash"), DataDir: filepath.Join(disks[0].Path, "data")})
	if err != nil {
		return err
	}
	if err := agent.StartReady(ctx); err != nil {
		return err
	}
	defer func() { _ = agent.Kill() }()
	redis, err := startRedis(ctx, filepath.Join(disks[1].Path, "data"), "")
	if err != nil {
		return err
	}
	defer func() { _ = redis.Kill() }()
	contenders := [2]flashed{{disk: disks[0], one: oneOurs(agent.Addr, b.corpus), many: func(n int) error { return b.fill(agent, n) }},
		{disk: disks[1], one: oneRedis(redis.Addr, b.corpus), many: func(n int) error { return fillRedis(redis.Addr, b.corpus, n) }}}
	if err := both(func(i int) error { return contenders[i].trickle(ctx, b.trickle, trickle[i]) }); err != nil {
		return err
	}
	b.say("flash, trickle: %s, redis %s", bytesEach(trickle[0].value), bytesEach(trickle[1].value))
	for i := range contenders { // one after the other: here they would share the cores
		if err := contenders[i].bulk(ctx, b.bulk, bulk[i]); err != nil {
			return err
		}
	}
	b.say("flash, bulk: %s, redis %s", bytesEach(bulk[0].value), bytesEach(bulk[1].value))
	return nil
}

// flashed is a contender whose disk is counted.
type flashed struct {
	disk *Disk
	one  func(i int) error
	many func(count int) error
}

// trickle begins once what a program writes at its start is written, and one
// event is stored, so that files which are made on first use exist.
func (f *flashed) trickle(ctx context.Context, events int, m *measure) error {
	if err := f.one(0); err != nil {
		return err
	}
	if err := f.disk.Settle(ctx); err != nil {
		return err
	}
	before, err := f.disk.Written()
	if err != nil {
		return err
	}
	tick := time.NewTicker(trickleEvery)
	defer tick.Stop()
	for i := range events {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := f.one(i + 1); err != nil {
			return err
		}
	}
	after, err := f.disk.Written()
	if err != nil {
		return err
	}
	m.take(float64(after-before) / float64(events))
	return nil
}

func (f *flashed) bulk(ctx context.Context, events int, m *measure) error {
	before, err := f.disk.Written()
	if err != nil {
		return err
	}
	if err := f.many(events); err != nil {
		return err
	}
	if err := f.disk.Settle(ctx); err != nil { // what is moved in the background counts
		return err
	}
	after, err := f.disk.Written()
	if err != nil {
		return err
	}
	m.take(float64(after-before) / float64(events))
	return nil
}

// oneOurs and oneRedis store one event on a connection of its own: idle ones are
// closed by the server after a while.
func oneOurs(addr string, c *Corpus) func(int) error {
	return func(i int) error {
		conn, err := dialHTTP(addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.do(postRequest(addr, "application/json", c.Line(i)))
	}
}

func oneRedis(addr string, c *Corpus) func(int) error {
	return func(i int) error {
		conn, err := dialRedis(addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.do("RPUSH", "events", string(c.Line(i)))
	}
}

// both runs the two contenders at the same time.
func both(run func(i int) error) error {
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = run(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
