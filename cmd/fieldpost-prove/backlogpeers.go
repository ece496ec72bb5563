package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

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
	if err := b.resident(ctx, edge.Proc, m.idle); err != nil {
		return err
	}
	if err := b.loaded(ctx, edge.Proc, b.backlog, m, func() error { return b.fillMQTT(edge.Addr, b.backlog) }); err != nil {
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
	return b.drained(ctx, link, counter, edge.Proc, m.drain, m.cpuOut)
}

// benchTopic is the topic of the i-th event.
func (b *bench) benchTopic(i int) string { return "fieldpost/bench/events/samples/" + b.corpus.Name(i) }

// fillMQTT publishes events to a broker.
func (b *bench) fillMQTT(addr string, events int) error {
	conn, err := dialMQTT(addr, "bench")
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.publishAll(events, 1000, b.benchTopic, b.corpus.Line)
}

func (b *bench) redisBacklog(ctx context.Context, m *backlogRun) error {
	dir := b.folder("redis")
	redis, err := startRedis(ctx, dir, "")
	if err != nil {
		return err
	}
	defer func() { _ = redis.Kill() }()
	if err := b.resident(ctx, redis.Proc, m.idle); err != nil {
		return err
	}
	if err := b.loaded(ctx, redis.Proc, b.backlog, m, func() error { return fillRedis(redis.Addr, b.corpus, b.backlog) }); err != nil {
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

// natsPair is two servers, one upstream of the other, with a line between them
// that is down.
type natsPair struct {
	hub, edge *NATS
	link      *Link
}

func (b *bench) startPair(ctx context.Context, always bool) (*natsPair, error) {
	p := &natsPair{}
	var err error
	if p.hub, err = startNATS(ctx, b.nats, natsOptions{dir: b.folder("hub"), domain: "hub", leafs: true}); err != nil {
		return p, err
	}
	if p.link, err = newLink(p.hub.Leaf, unwatched{}); err != nil {
		return p, err
	}
	p.link.Down()
	p.edge, err = startNATS(ctx, b.nats, natsOptions{dir: b.folder("nats"), always: always, leafOf: p.link.Addr})
	return p, err
}

// up brings the line up, and waits until the hub reaches the stream below it: a
// source that is made before that is tried again late.
func (p *natsPair) up(ctx context.Context) error {
	p.link.Up()
	hub, err := p.hub.dial()
	if err != nil {
		return err
	}
	defer hub.Close()
	below, err := jetstream.NewWithDomain(hub.Conn, "edge")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lateMost, errors.New("the leaf node did not connect"))
	defer cancel()
	return poll(ctx, 5*time.Millisecond, func() (bool, error) {
		ask, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err := below.Stream(ask, natsStream)
		return err == nil, nil
	})
}

func (p *natsPair) close() {
	if p.edge != nil && p.edge.Proc != nil {
		_ = p.edge.Kill()
	}
	if p.link != nil {
		p.link.Close()
	}
	if p.hub != nil && p.hub.Proc != nil {
		_ = p.hub.Kill()
	}
}

func (b *bench) natsBacklog(ctx context.Context, m *backlogRun) error {
	p, err := b.startPair(ctx, false) // flushed each 2 minutes: 200,000 would take it a minute
	defer p.close()
	if err != nil {
		return err
	}
	if err := b.resident(ctx, p.edge.Proc, m.idle); err != nil {
		return err
	}
	if err := b.loaded(ctx, p.edge.Proc, b.backlog, m, func() error { return fillNATS(p.edge, b.corpus, b.backlog) }); err != nil {
		return err
	}
	for _, c := range []struct {
		stop func() error
		take *measure
	}{
		{func() error { return p.edge.Term(20 * time.Second) }, m.restart},
		{func() error { return p.edge.Kill() }, m.crashed},
	} {
		if err := c.stop(); err != nil {
			return err
		}
		began := time.Now()
		if err := p.edge.Start(); err != nil {
			return err
		}
		one := oneNATS(p.edge, b.corpus)
		if err := answered(ctx, p.edge.Proc, began, c.take, func() error { return one(0) }); err != nil {
			return err
		}
	}
	return b.natsDrained(ctx, p, m)
}

// natsDrained brings the line up, and takes the rate at which the stream upstream
// filled, from its first event on.
func (b *bench) natsDrained(ctx context.Context, p *natsPair, m *backlogRun) error {
	before, err := p.edge.CPU()
	if err != nil {
		return err
	}
	if err := p.up(ctx); err != nil {
		return err
	}
	if err := p.hub.sourceFrom(ctx, "edge"); err != nil {
		return err
	}
	hub, err := p.hub.dial()
	if err != nil {
		return err
	}
	defer hub.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, drainMost, fmt.Errorf("drain nats: not done in %v", drainMost))
	defer cancel()
	var began time.Time
	had := 0
	return poll(ctx, 2*time.Millisecond, func() (bool, error) {
		n, err := hub.count(ctx)
		if err != nil {
			return false, err
		}
		if began.IsZero() && n > 0 {
			began, had = time.Now(), n
		}
		if n < b.backlog {
			return false, nil
		}
		m.drain.take(float64(n-had) / time.Since(began).Seconds())
		return true, usedCPU(p.edge.Proc, before, b.backlog, m.cpuOut)
	})
}
