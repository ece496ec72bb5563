package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

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
		return b.emptied(ctx, link, counter, agent, m)
	}
	if err := b.resident(ctx, agent.Proc, m.idle); err != nil {
		return err
	}
	if err := b.loaded(ctx, agent.Proc, b.backlog, m, func() error { return b.fill(agent, b.backlog) }); err != nil {
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
	return errors.Join(b.drained(ctx, link, counter, agent.Proc, m.drain, m.cpuOut), b.nothingLeft(ctx, agent))
}

// largeBacklog takes the memory and the start with many more events than anybody
// keeps in memory.
func (b *bench) largeBacklog(ctx context.Context, m *backlogRun) error {
	broker, link, _, err := b.target(ctx, b.tenfold)
	if err != nil {
		return err
	}
	defer func() { _ = broker.Kill() }()
	defer link.Close()
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("large"), Broker: link.Addr,
		Store: "{rings: {samples: {keep: 100M events, size: 20GB}}}"})
	if err != nil {
		return err
	}
	if err := agent.StartReady(ctx); err != nil {
		return err
	}
	defer func() { _ = agent.Kill() }()
	err = b.loaded(ctx, agent.Proc, b.tenfold, m, func() error {
		const piece = 500_000 // a connection lives for a bounded time
		for at := 0; at < b.tenfold; at += piece {
			if err := b.fill(agent, min(piece, b.tenfold-at)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	left, err := b.waiting(ctx, agent)
	if err == nil && left < b.tenfold {
		err = fmt.Errorf("%d events were stored and the backlog has %d", b.tenfold, left)
	}
	if err == nil {
		err = agent.Kill()
	}
	if err == nil {
		err = b.firstAck(ctx, agent, m.crashed)
	}
	b.say("with %d events: RSS %s, start in %s", b.tenfold, megabytes(m.loaded.value), milliseconds(m.crashed.value))
	return err
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
func (b *bench) emptied(ctx context.Context, link *Link, c *Counter, a *Agent, m *backlogRun) error {
	before, err := a.CPU()
	if err != nil {
		return err
	}
	link.Up()
	ctx, cancel := context.WithTimeoutCause(ctx, drainMost, fmt.Errorf("drain in batches: not done in %v", drainMost))
	defer cancel()
	return poll(ctx, 2*time.Millisecond, func() (bool, error) {
		left, err := b.waiting(ctx, a)
		if err != nil || left > 0 {
			return false, err
		}
		m.batches.take(float64(b.backlog) / c.Since().Seconds())
		return true, usedCPU(a.Proc, before, b.backlog, m.cpuBatches)
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
