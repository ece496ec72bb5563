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
}

func newBacklogRun() *backlogRun {
	less := func() *measure { return &measure{lower: true} }
	return &backlogRun{less(), less(), less(), less(), &measure{}, &measure{}}
}

// backlogs measures memory, start and drain: ours, mosquitto's bridge, and, as
// far as it applies, Redis.
func (b *bench) backlogs(ctx context.Context) error {
	ours, bridge, redis := newBacklogRun(), newBacklogRun(), newBacklogRun()
	load := fmt.Sprintf("%d,000 events", b.backlog/1000)
	b.table.add(&row{name: "drain of " + load + ", QoS 1, one message an event", ours: ours.drain, theirs: bridge.drain,
		peer: "mosquitto's bridge", show: perSecond, reach: 1, byRatio: true, reachText: "1.0 x"})
	b.table.add(&row{name: "drain of " + load + ", messages of 100 events", ours: ours.batches, theirs: bridge.drain,
		peer: "mosquitto's bridge, one by one", show: perSecond})
	const redisPeer = "Redis, appendfsync always"
	memory := func(name string, ours, theirs *measure, peer string, reach float64, text string) {
		b.table.add(&row{name: name, ours: ours, theirs: theirs, peer: peer, show: megabytes, reach: reach, reachText: text})
	}
	memory("RSS idle", ours.idle, bridge.idle, "mosquitto", 20e6, "20 MB")
	memory("", ours.idle, redis.idle, redisPeer, 0, "")
	memory("RSS with "+load, ours.loaded, bridge.loaded, "mosquitto", 30e6, "30 MB")
	memory("", ours.loaded, redis.loaded, redisPeer, 0, "")
	start := func(name string, ours, theirs *measure, peer, text string) {
		b.table.add(&row{name: name, ours: ours, theirs: theirs, peer: peer, show: milliseconds, reach: 0.1, reachText: text})
	}
	start("start with it to first acknowledgement, clean stop", ours.restart, bridge.restart, "mosquitto", "100 ms")
	start("", ours.restart, redis.restart, redisPeer, "")
	start("start with it to first acknowledgement, SIGKILL", ours.crashed, redis.crashed, redisPeer, "100 ms")
	for round := range b.rounds {
		if err := errors.Join(b.oursBacklog(ctx, ours, 0), b.oursBacklog(ctx, ours, 100), b.bridgeBacklog(ctx, bridge), b.redisBacklog(ctx, redis)); err != nil {
			return err
		}
		b.say("round %d: drain %s, in batches %s, bridge %s; RSS %s, %s", round+1, perSecond(ours.drain.value),
			perSecond(ours.batches.value), perSecond(bridge.drain.value), megabytes(ours.idle.value), megabytes(ours.loaded.value))
	}
	return nil
}

// settle is how long a program is left alone before its memory is read: what it
// needed while it took the load in is given back to the system by then.
const settle = 10 * time.Second

// resident waits a while and takes the memory of a program.
func resident(ctx context.Context, p *Proc, m *measure) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	rss, err := p.RSS()
	if err == nil {
		m.take(float64(rss))
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

// drained brings the line up and takes the rate at which the goal was reached.
func (b *bench) drained(ctx context.Context, link *Link, c *Counter, events int, m *measure) error {
	link.Up()
	select {
	case <-c.done:
		m.take(float64(events) / c.Took().Seconds())
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(drainMost):
		return fmt.Errorf("drain: %d of %d messages in %v", c.Count(), c.goal, drainMost)
	}
}

func (b *bench) oursBacklog(ctx context.Context, m *backlogRun, batch int) error {
	broker, link, counter, err := b.target(ctx, b.backlog)
	if err != nil {
		return err
	}
	defer func() { _ = broker.Kill() }()
	defer link.Close()
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("ours"), Broker: link.Addr, Batch: batch})
	if err != nil {
		return err
	}
	if err := agent.StartReady(ctx); err != nil {
		return err
	}
	defer func() { _ = agent.Kill() }()
	if batch > 0 {
		if err := b.fill(agent, b.backlog); err != nil {
			return err
		}
		return b.emptied(ctx, link, counter, agent, m.batches)
	}
	if err := resident(ctx, agent.Proc, m.idle); err != nil {
		return err
	}
	if err := b.fill(agent, b.backlog); err != nil {
		return fmt.Errorf("%w\n%s", err, agent.Tail())
	}
	if err := resident(ctx, agent.Proc, m.loaded); err != nil {
		return err
	}
	if err := agent.Term(20 * time.Second); err != nil {
		return err
	}
	if err := b.firstAck(ctx, agent, m.restart); err != nil {
		return err
	}
	if err := agent.Kill(); err != nil {
		return err
	}
	if err := b.firstAck(ctx, agent, m.crashed); err != nil {
		return err
	}
	return errors.Join(b.drained(ctx, link, counter, b.backlog, m.drain), b.nothingLeft(ctx, agent))
}

// waiting is the backlog of the agent's one uplink, in events.
func (b *bench) waiting(ctx context.Context, a *Agent) (int, error) {
	var answer struct {
		Uplinks []struct{ Backlog int }
	}
	if err := a.get(ctx, "/v1/uplinks", &answer); err != nil {
		return 0, err
	}
	if len(answer.Uplinks) != 1 {
		return 0, fmt.Errorf("the agent has %d uplinks, want 1", len(answer.Uplinks))
	}
	return answer.Uplinks[0].Backlog, nil
}

// nothingLeft makes sure that the acknowledgements which were counted were those
// of the backlog.
func (b *bench) nothingLeft(ctx context.Context, a *Agent) error {
	left, err := b.waiting(ctx, a)
	if err == nil && left > b.backlog/100 {
		err = fmt.Errorf("the drain was counted to its end, and %d events wait", left)
	}
	return err
}

// emptied brings the line up and takes the rate at which the agent's backlog went
// to nothing: with several events in a message, messages tell little.
func (b *bench) emptied(ctx context.Context, link *Link, c *Counter, a *Agent, m *measure) error {
	link.Up()
	ctx, cancel := context.WithTimeoutCause(ctx, drainMost, fmt.Errorf("drain in batches: not done in %v", drainMost))
	defer cancel()
	return poll(ctx, 2*time.Millisecond, func() (bool, error) {
		left, err := b.waiting(ctx, a)
		if err != nil || left > 0 {
			return false, err
		}
		m.take(float64(b.backlog) / c.Since().Seconds())
		return true, nil
	})
}

// fill puts events in, a thousand a request.
func (b *bench) fill(a *Agent, events int) error {
	conn, err := dialHTTP(a.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	const per = 1000
	for i := 0; i < events; i += per {
		if err := conn.do(postRequest(a.Addr, "application/x-ndjson", b.corpus.Body(i, min(per, events-i)))); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// firstAck starts the agent and takes the time until it acknowledges an event.
func (b *bench) firstAck(ctx context.Context, a *Agent, m *measure) error {
	request := postRequest(a.Addr, "application/json", b.corpus.Line(0))
	began := time.Now()
	if err := a.Start(); err != nil {
		return err
	}
	return answered(ctx, a.Proc, began, m, func() error {
		conn, err := dialHTTP(a.Addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.do(request)
	})
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

func (b *bench) bridgeBacklog(ctx context.Context, m *backlogRun) error {
	broker, link, counter, err := b.target(ctx, b.backlog)
	if err != nil {
		return err
	}
	defer func() { _ = broker.Kill() }()
	defer link.Close()
	edge, err := startBroker(ctx, b.folder("bridge"), "", &Bridge{To: link.Addr})
	if err != nil {
		return err
	}
	defer func() { _ = edge.Kill() }()
	if err := resident(ctx, edge.Proc, m.idle); err != nil {
		return err
	}
	conn, err := dialMQTT(edge.Addr, "bench")
	if err != nil {
		return err
	}
	err = conn.publishAll(b.backlog, 1000, func(i int) string { return "fieldpost/bench/events/samples/" + b.corpus.Name(i) }, b.corpus.Line)
	conn.Close()
	if err != nil {
		return fmt.Errorf("fill bridge: %w", err)
	}
	if err := resident(ctx, edge.Proc, m.loaded); err != nil {
		return err
	}
	if err := edge.Term(20 * time.Second); err != nil {
		return err
	}
	began := time.Now()
	if edge.Proc, err = startProc(edge.Log, "mosquitto", "-c", edge.conf); err != nil {
		return err
	}
	err = answered(ctx, edge.Proc, began, m.restart, func() error {
		conn, err := dialMQTT(edge.Addr, "bench")
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.publishAll(1, 1, func(int) string { return "bench/first" }, b.corpus.Line)
	})
	if err != nil {
		return err
	}
	return b.drained(ctx, link, counter, b.backlog, m.drain)
}

func (b *bench) redisBacklog(ctx context.Context, m *backlogRun) error {
	dir := b.folder("redis")
	redis, err := startRedis(ctx, dir, "")
	if err != nil {
		return err
	}
	defer func() { _ = redis.Kill() }()
	if err := resident(ctx, redis.Proc, m.idle); err != nil {
		return err
	}
	if err := fillRedis(redis.Addr, b.corpus, b.backlog); err != nil {
		return err
	}
	if err := resident(ctx, redis.Proc, m.loaded); err != nil {
		return err
	}
	for _, c := range []struct {
		stop func() error
		take *measure
	}{
		{func() error { return redis.Term(20 * time.Second) }, m.restart},
		{func() error { return redis.Kill() }, m.crashed}, // of the process that runs by then
	} {
		if err := c.stop(); err != nil {
			return err
		}
		began := time.Now()
		next, err := startRedis(ctx, dir, redis.Addr) // it waits until a write is answered
		if err != nil {
			return err
		}
		redis.Proc = next.Proc
		c.take.take(time.Since(began).Seconds())
	}
	return nil
}

// fillRedis pushes events, a thousand in flight.
func fillRedis(addr string, c *Corpus, events int) error {
	conn, err := dialRedis(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	pushes := redisPushes(c)
	const window = 1000
	for i := 0; i < events; i += window {
		n := min(window, events-i)
		for k := range n {
			if _, err := conn.w.Write(pushes[(i+k)%len(pushes)]); err != nil {
				return err
			}
		}
		if err := conn.w.Flush(); err != nil {
			return err
		}
		for range n {
			if err := conn.reply(); err != nil {
				return fmt.Errorf("fill redis: %w", err)
			}
		}
	}
	return nil
}
