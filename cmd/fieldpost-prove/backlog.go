package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// backlogRun is what a contender shows with a backlog that it can't deliver yet.
type backlogRun struct {
	idle, loaded *measure // RSS in bytes
	restart      *measure // seconds from a start after a clean stop to the first acknowledgement
	crashed      *measure // the same after SIGKILL
	drain        *measure // messages a second
	batches      *measure // events a second, in messages of 100
	cpuIn        *measure // seconds of CPU for 100,000 events
	cpuOut       *measure
	cpuBatches   *measure
}

func newBacklogRun() *backlogRun {
	return &backlogRun{less(), less(), less(), less(), &measure{}, &measure{}, less(), less(), less()}
}

// drainBatch is how many events a message has in the drain in batches.
const drainBatch = 100

// backlogs measures memory, start, CPU and drain: ours, mosquitto's bridge,
// NATS with a source, and, as far as it applies, Redis.
func (b *bench) backlogs(ctx context.Context) error {
	ours, bridge, redis, nats, large := newBacklogRun(), newBacklogRun(), newBacklogRun(), newBacklogRun(), newBacklogRun()
	b.backlogRows(ours, bridge, redis, nats, large)
	for round := range b.rounds {
		err := errors.Join(b.oursBacklog(ctx, ours, 0), b.oursBacklog(ctx, ours, drainBatch), b.bridgeBacklog(ctx, bridge), b.redisBacklog(ctx, redis))
		if b.nats != "" {
			err = errors.Join(err, b.natsBacklog(ctx, nats))
		}
		if err != nil {
			return err
		}
		b.say("round %d: drain %s, in batches %s, bridge %s, nats %s; RSS %s, %s", round+1, perSecond(ours.drain.value),
			perSecond(ours.batches.value), perSecond(bridge.drain.value), perSecond(nats.drain.value), megabytes(ours.idle.value), megabytes(ours.loaded.value))
	}
	if b.tenfold == 0 {
		return nil
	}
	return b.largeBacklog(ctx, large)
}

func (b *bench) backlogRows(ours, bridge, redis, nats, large *backlogRun) {
	load := fmt.Sprintf("%d,000 events", b.backlog/1000)
	many := fmt.Sprintf("%d million events", b.tenfold/1_000_000)
	const natsSource, natsName = "NATS, a source across a leaf node", "NATS, sync by default"
	for _, r := range []row{
		{name: "drain of " + load + ", QoS 1, one message an event, in order", ours: ours.drain, show: perSecond,
			peers: []peer{{bridgeName, bridge.drain, 1}}},
		{name: fmt.Sprintf("drain of %s, messages of %d events", load, drainBatch), ours: ours.batches, show: perSecond,
			peers: []peer{{natsSource, nats.drain, 3}}},
		{name: "RSS idle", ours: ours.idle, show: megabytes, bound: 20e6,
			peers: []peer{{"mosquitto", bridge.idle, 0}, {natsName, nats.idle, 0}, {"Redis", redis.idle, 0}}},
		{name: "RSS with a backlog of " + load, ours: ours.loaded, show: megabytes, bound: 30e6,
			peers: []peer{{"mosquitto", bridge.loaded, 0}, {natsName, nats.loaded, 0}, {"Redis", redis.loaded, 0}}},
		{name: "RSS with a backlog of " + many, ours: large.loaded, show: megabytes, bound: 30e6},
		{name: "start with " + load + " to the first acknowledgement, after a clean stop", ours: ours.restart, show: milliseconds, bound: 0.1,
			peers: []peer{{"mosquitto", bridge.restart, 0}, {natsName, nats.restart, 0}, {"Redis", redis.restart, 0}}},
		{name: "the same after SIGKILL (mosquitto has lost the backlog then)", ours: ours.crashed, show: milliseconds, bound: 0.1,
			peers: []peer{{natsName, nats.crashed, 0}, {"Redis", redis.crashed, 0}}},
		{name: "start with " + many + ", after SIGKILL", ours: large.crashed, show: milliseconds, bound: 0.1},
		{name: "CPU for 100,000 events in, 1,000 in flight", ours: ours.cpuIn, show: seconds, bound: 1,
			peers: []peer{{"mosquitto, in memory", bridge.cpuIn, 0}, {natsName, nats.cpuIn, 0}, {redisAlways, redis.cpuIn, 0}}},
		{name: "CPU for 100,000 events out, one by one", ours: ours.cpuOut, show: seconds, bound: 2.5,
			peers: []peer{{bridgeName, bridge.cpuOut, 0}, {natsSource, nats.cpuOut, 0}}},
		{name: fmt.Sprintf("CPU for 100,000 events out, messages of %d", drainBatch), ours: ours.cpuBatches, show: seconds, bound: 0.5,
			peers: []peer{{natsSource, nats.cpuOut, 0}}},
	} {
		b.table.add(&r)
	}
}

// settle is how long a program is left alone before its memory is read: what it
// needed while it took the load in is given back to the system by then.
const settle = 10 * time.Second

// resident waits a while and takes the memory of a program.
func (b *bench) resident(ctx context.Context, p *Proc, m *measure) error {
	if err := pause(ctx, b.settling); err != nil {
		return err
	}
	rss, err := p.RSS()
	if err == nil {
		m.take(float64(rss))
	}
	return err
}

// loaded fills a program, and takes the CPU that this needed, what it does behind
// it included, and the memory after it.
func (b *bench) loaded(ctx context.Context, p *Proc, events int, m *backlogRun, fill func() error) error {
	before, err := p.CPU()
	if err != nil {
		return err
	}
	if err := fill(); err != nil {
		return fmt.Errorf("fill %s: %w\n%s", p.Name, err, p.Tail())
	}
	if err := b.resident(ctx, p, m.loaded); err != nil {
		return err
	}
	return usedCPU(p, before, events, m.cpuIn)
}

// usedCPU takes what a program has used since before, for 100,000 events.
func usedCPU(p *Proc, before time.Duration, events int, m *measure) error {
	after, err := p.CPU()
	if err == nil {
		m.take((after - before).Seconds() / float64(events) * 100_000)
	}
	return err
}

// target is the broker that a backlog is drained to, behind a line that is down.
func (b *bench) target(ctx context.Context, messages int) (*Broker, *Link, *Counter, error) {
	broker, err := startBroker(ctx, b.folder("target"), "", nil)
	if err != nil {
		return nil, nil, nil, err
	}
	counter := newCounter(messages)
	link, err := newLink(broker.Addr, counter)
	if err != nil {
		_ = broker.Kill()
		return nil, nil, nil, err
	}
	link.Down()
	return broker, link, counter, nil
}

// drainMost bounds a drain.
const drainMost = 3 * time.Minute

// drained brings the line up and takes the rate at which the goal was reached, and
// the CPU that p used for it.
func (b *bench) drained(ctx context.Context, link *Link, c *Counter, p *Proc, rate, cpu *measure) error {
	before, err := p.CPU()
	if err != nil {
		return err
	}
	link.Up()
	select {
	case <-c.done:
		rate.take(float64(c.goal) / c.Took().Seconds())
		return usedCPU(p, before, c.goal, cpu)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(drainMost):
		return fmt.Errorf("drain: %d of %d messages in %v", c.Count(), c.goal, drainMost)
	}
}

// answered asks each millisecond until a started program does what is asked.
func answered(ctx context.Context, p *Proc, began time.Time, m *measure, ask func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("start %s: no acknowledgement in a minute", p.Name))
	defer cancel()
	return poll(ctx, time.Millisecond, func() (bool, error) {
		select {
		case <-p.Done():
			return false, fmt.Errorf("start %s: it ended: %v\n%s", p.Name, p.err, p.Tail())
		default:
		}
		if ask() != nil {
			return false, nil
		}
		m.take(time.Since(began).Seconds())
		return true, nil
	})
}
