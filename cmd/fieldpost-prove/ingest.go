package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// cell is one shape of load: how many producers, and what each has in flight.
type cell struct {
	name      string
	producers int
	window    int // of each producer
	ways      []way
	redis     float64 // so many times Redis is to be reached
	nats      float64
}

// way is one of our ways in; the best of a cell counts.
type way struct {
	name string
	run  func(addr string, c *Corpus, stop <-chan struct{}) (int, error)
}

// ingestCells are the measures of durable ingest.
func ingestCells() []cell {
	http := func(name string, per int) way {
		return way{name, func(addr string, c *Corpus, stop <-chan struct{}) (int, error) {
			return produceHTTP(addr, c, per, stop)
		}}
	}
	socket := func(window int) way {
		return way{"WebSocket", func(addr string, c *Corpus, stop <-chan struct{}) (int, error) {
			return produceSocket(addr, c, window, stop)
		}}
	}
	return []cell{
		{"durable ingest, 1 producer, 1,000 in flight", 1, 1000, []way{http("NDJSON", 1000), socket(1000)}, 1.0, 30},
		{"durable ingest, 1 producer, 1 in flight", 1, 1, []way{http("HTTP", 1), socket(1)}, 1.2, 1.2},
		{"durable ingest, 8 producers, 1 in flight", 8, 1, []way{http("HTTP", 1), socket(1)}, 1.2, 1.2},
	}
}

// ingestRow is a cell and what came of it.
type ingestRow struct {
	cell
	row         *row
	each        []*measure // of our ways
	redis, nats *measure
}

func (b *bench) ingestRows() []ingestRow {
	var out []ingestRow
	for _, c := range ingestCells() {
		r := ingestRow{cell: c, redis: &measure{}, nats: &measure{}}
		r.row = b.table.add(&row{name: c.name, ours: &measure{}, show: perSecond, peers: []peer{
			{redisAlways, r.redis, c.redis}, {natsAlways, r.nats, c.nats}}})
		for range c.ways {
			r.each = append(r.each, &measure{})
		}
		out = append(out, r)
	}
	return out
}

// How the peers are named.
const (
	redisAlways = "Redis, appendfsync always"
	natsAlways  = "NATS, sync always"
	bridgeName  = "mosquitto's bridge"
)

// ingest measures each cell, ours and the peers' after each other, and what the
// disk alone can do.
func (b *bench) ingest(ctx context.Context) error {
	rows := b.ingestRows()
	alone := &measure{}
	for i := range rows {
		if rows[i].window == 1 {
			rows[i].row.peers = append(rows[i].row.peers, peer{name: "the disk alone: 4 KiB over a written file, fdatasync", of: alone})
			break
		}
	}
	for round := range b.rounds {
		if err := b.ingestRound(ctx, round, rows, alone); err != nil {
			return err
		}
	}
	for _, r := range rows {
		var told []string
		for i, w := range r.ways {
			told = append(told, w.name+" "+perSecond(r.each[i].value))
			r.row.ours.take(r.each[i].value)
		}
		r.row.name += " (" + strings.Join(told, ", ") + ")"
	}
	return nil
}

func (b *bench) ingestRound(ctx context.Context, round int, rows []ingestRow, alone *measure) error {
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
	var nats *NATS
	if b.nats != "" {
		if nats, err = startNATS(ctx, b.nats, natsOptions{dir: b.folder("nats"), always: true}); err != nil {
			return err
		}
		defer func() { _ = nats.Kill() }()
	}
	rate, err := flushesAlone(b.folder("alone"), b.lasts)
	if err != nil {
		return err
	}
	alone.take(rate)
	pushes := redisPushes(b.corpus)
	stored := 0
	for i := range rows {
		r := &rows[i]
		for k, w := range r.ways {
			count, rate, err := produce(ctx, b.lasts, r.producers, func(stop <-chan struct{}) (int, error) { return w.run(agent.Addr, b.corpus, stop) })
			if err != nil {
				return fmt.Errorf("%s, %s: %w\n%s", r.name, w.name, err, agent.Tail())
			}
			stored += count
			r.each[k].take(rate)
		}
		err := b.ingestPeer(ctx, r, r.redis, func(stop <-chan struct{}) (int, error) { return produceRedis(redis.Addr, pushes, r.window, stop) })
		if err == nil && nats != nil {
			err = b.ingestPeer(ctx, r, r.nats, func(stop <-chan struct{}) (int, error) { return produceNATS(nats, b.corpus, r.window, stop) })
		}
		if err != nil {
			return err
		}
		b.say("round %d: %s: %s, %s; redis %s, nats %s", round+1, r.name, perSecond(r.each[0].value), perSecond(r.each[1].value),
			perSecond(r.redis.value), perSecond(r.nats.value))
	}
	return b.checkStored(ctx, agent, stored)
}

func (b *bench) ingestPeer(ctx context.Context, r *ingestRow, m *measure, one func(stop <-chan struct{}) (int, error)) error {
	_, rate, err := produce(ctx, b.lasts, r.producers, one)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	m.take(rate)
	return nil
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
