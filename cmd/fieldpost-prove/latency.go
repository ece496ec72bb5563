package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// latencyEvery is the time between two events of the latency measure: 100 a second.
const latencyEvery = 10 * time.Millisecond

// stopwatch takes the time from publishing an event to its coming out upstream.
// An event tells which one it is.
type stopwatch struct {
	began time.Time

	mu   sync.Mutex
	sent []time.Duration // since began
	took []time.Duration // of those that came, in no order
	seen []bool
	left int
	done chan struct{}
}

func newStopwatch(events int) *stopwatch {
	return &stopwatch{began: time.Now(), sent: make([]time.Duration, events), seen: make([]bool, events), left: events, done: make(chan struct{})}
}

// timedMark stands before the number of an event, in its data.
const timedMark = `"bench":`

// timedEvent is the i-th event: telemetry-like, and 200 bytes as the corpus.
func timedEvent(i int) []byte {
	return fmt.Appendf(nil, `{"name":"barn/tank-3","kind":"sample","data":{%s%d,"value":46.48,"unit":"C","quality":"good","sensor":"ads1115","address":"0x4b","reading":41007,"raw":[2962,2871],"battery":3.12,"note":"cal"}}`, timedMark, i)
}

// begin notes that the i-th event is about to be published.
func (s *stopwatch) begin(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[i] = time.Since(s.began)
}

// got takes a payload as it comes out.
func (s *stopwatch) got(payload []byte) {
	now := time.Since(s.began)
	i, ok := timedNumber(payload)
	if !ok || i >= len(s.sent) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[i] {
		return
	}
	s.seen[i] = true
	s.took = append(s.took, now-s.sent[i])
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

// timedNumber reads which event a payload is.
func timedNumber(payload []byte) (int, bool) {
	_, rest, ok := bytes.Cut(payload, []byte(timedMark))
	if !ok {
		return 0, false
	}
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(rest[:end]))
	return n, err == nil
}

// percentile is the time that a share of the events did not exceed.
func (s *stopwatch) percentile(share float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.took)
	return s.took[min(int(share*float64(len(s.took))), len(s.took)-1)]
}

// timed is a contender of the latency measure.
type timed struct {
	name     string
	run      func(ctx context.Context, s *stopwatch) error
	p50, p99 *measure
}

// latencies takes the time from publishing to being received upstream, at 100
// events a second.
func (b *bench) latencies(ctx context.Context) error {
	all := []timed{{"ours", b.oursTimed, less(), less()}}
	if b.nats != "" {
		all = append(all, timed{"NATS, sync always, a consumer across a leaf node", b.natsTimed, less(), less()})
	}
	all = append(all, timed{"mosquitto's bridge: not durable", b.bridgeTimed, less(), less()})
	p50 := &row{name: "published to received upstream, 100 events a second, durable before it is acknowledged, p50", ours: all[0].p50, show: milliseconds, bound: 0.0009}
	p99 := &row{name: "the same, p99", ours: all[0].p99, show: milliseconds, bound: 0.0019}
	for i, t := range all[1:] {
		of50, of99 := peer{name: t.name, of: t.p50}, peer{name: t.name, of: t.p99}
		if i == 0 && b.nats != "" { // what section 10 sets, as ratios to what NATS did there
			of50.reach, of99.reach = 0.77, 0.98
		}
		p50.peers, p99.peers = append(p50.peers, of50), append(p99.peers, of99)
	}
	b.table.add(p50)
	b.table.add(p99)
	for round := range b.rounds {
		for _, t := range all {
			s := newStopwatch(b.paced)
			if err := t.run(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			t.p50.take(s.percentile(0.50).Seconds())
			t.p99.take(s.percentile(0.99).Seconds())
			b.say("round %d: %s: p50 %s, p99 %s", round+1, t.name, milliseconds(t.p50.value), milliseconds(t.p99.value))
		}
	}
	return nil
}

// paced publishes the events, each at its time, and waits until all have come.
func (s *stopwatch) paced(ctx context.Context, publish func(i int) error) error {
	tick := time.NewTicker(latencyEvery)
	defer tick.Stop()
	for i := range s.sent {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		s.begin(i)
		if err := publish(i); err != nil {
			return err
		}
	}
	late := time.NewTimer(lateMost)
	defer late.Stop()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return errors.New("not all events came out upstream")
	}
}

func (b *bench) oursTimed(ctx context.Context, s *stopwatch) error {
	w := waiter{first: newFirst()}
	link, stop, err := b.upstream(ctx, "fieldpost/+/events/samples/#", func(p []byte) { w.first.got(p); s.got(p) })
	w.stop = stop
	defer w.close()
	if err != nil {
		return err
	}
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("timed"), Broker: link.Addr})
	if err != nil {
		return err
	}
	if err := agent.StartReady(ctx); err != nil {
		return err
	}
	defer func() { _ = agent.Kill() }()
	if err := w.through(ctx, oneOurs(agent.Addr, b.corpus)); err != nil {
		return err
	}
	conn, err := dialSocket(agent.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	return s.paced(ctx, func(i int) error {
		if _, err := conn.w.Write(publishFrame(timedEvent(i))); err != nil {
			return err
		}
		if err := conn.w.Flush(); err != nil {
			return err
		}
		return conn.published()
	})
}

// through stores an event and waits until it comes out: the way is open.
func (w *waiter) through(ctx context.Context, one func(int) error) error {
	w.first.arm()
	if err := one(0); err != nil {
		return err
	}
	_, err := w.first.wait(ctx, lateMost)
	return err
}

func (b *bench) bridgeTimed(ctx context.Context, s *stopwatch) error {
	w := waiter{first: newFirst()}
	link, stop, err := b.upstream(ctx, "fieldpost/#", func(p []byte) { w.first.got(p); s.got(p) })
	w.stop = stop
	defer w.close()
	if err != nil {
		return err
	}
	edge, err := startBroker(ctx, b.folder("bridge"), "", &Bridge{To: link.Addr})
	if err != nil {
		return err
	}
	defer func() { _ = edge.Kill() }()
	if err := w.through(ctx, b.oneMQTT(edge.Addr)); err != nil {
		return err
	}
	conn, err := dialMQTT(edge.Addr, "bench")
	if err != nil {
		return err
	}
	defer conn.Close()
	return s.paced(ctx, func(i int) error {
		return conn.publishAll(1, 1, func(int) string { return b.benchTopic(i) }, func(int) []byte { return timedEvent(i) })
	})
}

func (b *bench) natsTimed(ctx context.Context, s *stopwatch) error {
	p, err := b.startPair(ctx, true)
	defer p.close()
	if err != nil {
		return err
	}
	if err := p.up(ctx); err != nil {
		return err
	}
	stop, err := listenNATS(ctx, p.hub, "edge", func(m jetstream.Msg) { s.got(m.Data()) })
	if err != nil {
		return err
	}
	defer stop()
	conn, err := p.edge.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return s.paced(ctx, func(i int) error {
		_, err := conn.js.Publish(ctx, natsSubject+".timed", timedEvent(i))
		return err
	})
}
