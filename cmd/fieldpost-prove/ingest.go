package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// cell is one way to put events in: how many producers, and what each of them has
// in flight.
type cell struct {
	name      string
	producers int
	ours      func(addr string, c *Corpus, stop <-chan struct{}) (int, error)
	window    int // of one Redis producer
	redis     int // producers of Redis
	reach     float64
}

// ingestCells are the measures of durable ingest. The window of NDJSON is spread
// over connections, since one connection waits for the answer to each request.
func ingestCells() []cell {
	http := func(per int) func(string, *Corpus, <-chan struct{}) (int, error) {
		return func(addr string, c *Corpus, stop <-chan struct{}) (int, error) {
			return produceHTTP(addr, c, per, stop)
		}
	}
	socket := func(window int) func(string, *Corpus, <-chan struct{}) (int, error) {
		return func(addr string, c *Corpus, stop <-chan struct{}) (int, error) {
			return produceSocket(addr, c, window, stop)
		}
	}
	return []cell{
		{"durable ingest, 1 producer, 1 in flight, HTTP", 1, http(1), 1, 1, 1.2},
		{"durable ingest, 1 producer, 1 in flight, WebSocket", 1, socket(1), 1, 1, 1.2},
		{"durable ingest, 8 producers, 1 in flight, HTTP", 8, http(1), 1, 8, 1.2},
		{"durable ingest, 8 producers, 1 in flight, WebSocket", 8, socket(1), 1, 8, 1.2},
		{"durable ingest, 1,000 in flight, NDJSON 1 x 1,000", 1, http(1000), 1000, 1, 1.0},
		{"durable ingest, 1,000 in flight, NDJSON 2 x 500", 2, http(500), 1000, 1, 1.0},
		{"durable ingest, 1,000 in flight, NDJSON 4 x 250", 4, http(250), 1000, 1, 1.0},
		{"durable ingest, 1,000 in flight, WebSocket", 1, socket(1000), 1000, 1, 1.0},
	}
}

// ingest measures each cell, ours and Redis's after each other.
func (b *bench) ingest(ctx context.Context) error {
	cells := ingestCells()
	rows := make([]*row, len(cells))
	for i, c := range cells {
		rows[i] = b.table.add(&row{name: c.name, ours: &measure{}, theirs: &measure{}, peer: "Redis, appendfsync always",
			show: perSecond, reach: c.reach, byRatio: true, reachText: fmt.Sprintf("%.1f x", c.reach)})
	}
	for round := range b.rounds {
		if err := b.ingestRound(ctx, round, cells, rows); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) ingestRound(ctx context.Context, round int, cells []cell, rows []*row) error {
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("ingest")})
	if err != nil {
		return err
	}
	if err := agent.StartReady(ctx); err != nil {
		return err
	}
	defer func() { _ = agent.Kill() }()
	redis, err := startRedis(ctx, b.folder("redis"), "")
	if err != nil {
		return err
	}
	defer func() { _ = redis.Kill() }()
	pushes := redisPushes(b.corpus)
	peers := make(map[[2]int]float64) // cells of one shape share Redis's number
	stored := 0
	for i, c := range cells {
		count, rate, err := produce(ctx, b.lasts, c.producers, func(stop <-chan struct{}) (int, error) {
			return c.ours(agent.Addr, b.corpus, stop)
		})
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", c.name, err, agent.Tail())
		}
		stored += count
		shape := [2]int{c.redis, c.window}
		if _, ok := peers[shape]; !ok {
			_, peers[shape], err = produce(ctx, b.lasts, c.redis, func(stop <-chan struct{}) (int, error) {
				return produceRedis(redis.Addr, pushes, c.window, stop)
			})
			if err != nil {
				return fmt.Errorf("redis: %w", err)
			}
		}
		rows[i].ours.take(rate)
		rows[i].theirs.take(peers[shape])
		b.say("round %d: %s: %s, redis %s", round+1, c.name, perSecond(rate), perSecond(peers[shape]))
	}
	return b.checkStored(ctx, agent, stored)
}

// checkStored makes sure that the agent has what it acknowledged.
func (b *bench) checkStored(ctx context.Context, a *Agent, count int) error {
	last, err := lastSeq(ctx, a, "samples")
	if err == nil && last < uint64(count) {
		err = fmt.Errorf("the agent acknowledged %d events and its ring has given %d numbers", count, last)
	}
	return err
}

// lastSeq is the highest number of a ring.
func lastSeq(ctx context.Context, a *Agent, ring string) (uint64, error) {
	var answer struct {
		Rings []struct {
			Name string
			Last uint64
		}
	}
	if err := a.get(ctx, "/v1/rings", &answer); err != nil {
		return 0, err
	}
	for _, r := range answer.Rings {
		if r.Name == ring {
			return r.Last, nil
		}
	}
	return 0, fmt.Errorf("the agent has no ring %q", ring)
}

// produce runs producers for a while and gives what they got acknowledged, in all
// and a second.
func produce(ctx context.Context, lasts time.Duration, producers int, one func(stop <-chan struct{}) (int, error)) (int, float64, error) {
	stop := make(chan struct{})
	counts, errs := make([]int, producers), make([]error, producers)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range producers {
		wg.Go(func() { counts[i], errs[i] = one(stop) })
	}
	err := pause(ctx, lasts)
	close(stop)
	wg.Wait()
	took := time.Since(began).Seconds()
	total := 0
	for _, n := range counts {
		total += n
	}
	return total, float64(total) / took, errors.Join(append(errs, err)...)
}
