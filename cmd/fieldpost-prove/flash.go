package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// trickleEvery is the time between two events of the trickle.
const trickleEvery = time.Second

// flashed is a contender whose disk is counted.
type flashed struct {
	name          string
	disk          *Disk
	one           func(i int) error
	many          func(count int) error // nil: it is not measured in bulk
	most          int                   // events of the bulk; 0: no bound
	trickle, bulk *measure
}

// flash measures what reaches the block device under ext4 for each durable event:
// one event a second, all contenders at the same time on a disk each, and in bulk,
// one after the other.
func (b *bench) flash(ctx context.Context) error {
	names := []string{"ours", redisAlways, "mosquitto, saved on each change"}
	if b.nats != "" {
		names = append(names, natsAlways)
	}
	all := make([]*flashed, len(names))
	for i, name := range names {
		all[i] = &flashed{name: name, trickle: less(), bulk: less()}
		d, err := newDisk(b.folder("disk"), 2048)
		if err != nil {
			return err
		}
		all[i].disk = d
		defer func() {
			if err := d.Close(); err != nil {
				b.say("take disk apart: %v", err)
			}
		}()
	}
	b.flashRows(all)
	stop, err := b.startFlashed(ctx, all)
	defer stop()
	if err != nil {
		return err
	}
	if err := each(all, func(f *flashed) error { return f.drip(ctx, b.trickle) }); err != nil {
		return err
	}
	for _, f := range all { // one after the other: here they would share the cores
		if f.many == nil {
			continue
		}
		if err := f.pour(ctx, b.bulk); err != nil {
			return err
		}
		b.say("flash: %s: trickle %s, bulk %s", f.name, bytesEach(f.trickle.value), bytesEach(f.bulk.value))
	}
	return nil
}

func (b *bench) flashRows(all []*flashed) {
	trickle := &row{name: fmt.Sprintf("flash an event, 1 a second (%d of them), at the block device under ext4", b.trickle), ours: all[0].trickle, show: bytesEach, bound: 7000}
	bulk := &row{name: fmt.Sprintf("flash an event, %d,000 in bulk", b.bulk/1000), ours: all[0].bulk, show: bytesEach, bound: 300}
	for _, f := range all[1:] {
		trickle.peers = append(trickle.peers, peer{name: f.name, of: f.trickle})
		bulk.peers = append(bulk.peers, peer{name: f.name, of: f.bulk})
	}
	b.table.add(trickle)
	b.table.add(bulk)
}

// startFlashed starts each contender on its disk. What it returns stops those that
// run, also after an error.
func (b *bench) startFlashed(ctx context.Context, all []*flashed) (stop func(), err error) {
	var procs []*Proc
	stop = func() {
		for _, p := range procs {
			_ = p.Kill()
		}
	}
	data := func(i int) string { return filepath.Join(all[i].disk.Path, "data") }
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("flash"), DataDir: data(0)})
	if err != nil {
		return stop, err
	}
	if err := agent.StartReady(ctx); err != nil {
		return stop, err
	}
	procs = append(procs, agent.Proc)
	all[0].one, all[0].many = oneOurs(agent.Addr, b.corpus), func(n int) error { return b.fill(agent, n) }

	redis, err := startRedis(ctx, data(1), "")
	if err != nil {
		return stop, err
	}
	procs = append(procs, redis.Proc)
	all[1].one, all[1].many = oneRedis(redis.Addr, b.corpus), func(n int) error { return fillRedis(redis.Addr, b.corpus, n) }

	nobody, err := freeAddr()
	if err != nil {
		return stop, err
	}
	broker, err := startBroker(ctx, data(2), "", &Bridge{To: nobody, EachChange: true})
	if err != nil {
		return stop, err
	}
	procs = append(procs, broker.Proc)
	all[2].one = b.oneMQTT(broker.Addr) // in bulk it would write all it has, again and again

	if len(all) > 3 {
		nats, err := startNATS(ctx, b.nats, natsOptions{dir: data(3), always: true})
		if err != nil {
			return stop, err
		}
		procs = append(procs, nats.Proc)
		all[3].one, all[3].many = oneNATS(nats, b.corpus), func(n int) error { return fillNATS(nats, b.corpus, n) }
		all[3].most = 20_000 // it flushes for each
	}
	return stop, nil
}

// drip begins once what a program writes at its start is written, and one event is
// stored, so that files which are made on first use exist.
func (f *flashed) drip(ctx context.Context, events int) error {
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
	return f.taken(before, events, f.trickle)
}

// pour stores many at once, and waits for what is moved in the background.
func (f *flashed) pour(ctx context.Context, events int) error {
	before, err := f.disk.Written()
	if err != nil {
		return err
	}
	if f.most > 0 {
		events = min(events, f.most)
	}
	if err := f.many(events); err != nil {
		return err
	}
	if err := f.disk.Settle(ctx); err != nil {
		return err
	}
	return f.taken(before, events, f.bulk)
}

func (f *flashed) taken(before int64, events int, m *measure) error {
	after, err := f.disk.Written()
	if err == nil {
		m.take(float64(after-before) / float64(events))
	}
	return err
}

// oneOurs, oneRedis and oneMQTT store one event on a connection of its own: idle
// ones are closed by the server after a while.
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

func (b *bench) oneMQTT(addr string) func(int) error {
	return func(i int) error {
		conn, err := dialMQTT(addr, "bench")
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.publishAll(1, 1, func(int) string { return b.benchTopic(i) }, func(int) []byte { return b.corpus.Line(i) })
	}
}

// each runs something for all contenders at the same time.
func each[T any](all []T, run func(T) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { errs[i] = run(all[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
