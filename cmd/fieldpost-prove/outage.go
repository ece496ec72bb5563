package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// waiter is a contender whose upstream goes away and comes back.
type waiter struct {
	name  string
	link  *Link
	one   func(i int) error // stores an event
	first *first            // sees what comes out upstream
	took  *measure
	stop  []func()
}

func (w *waiter) close() {
	for i := len(w.stop) - 1; i >= 0; i-- {
		w.stop[i]()
	}
}

// outages takes the time from the moment the upstream can be reached again to the
// first event that a subscriber gets there. An event a second comes meanwhile. Between
// two outages the upstream is there for longer than one lasts.
// The wait before a try is a matter of chance for some, so the slowest counts.
func (b *bench) outages(ctx context.Context) error {
	all := []*waiter{{name: "ours"}, {name: "mosquitto's bridge (restart_timeout 1)"}}
	build := []func(context.Context, *waiter) error{b.oursWaiter, b.bridgeWaiter}
	if b.nats != "" {
		all = append(all, &waiter{name: "NATS, a source across a leaf node"})
		build = append(build, b.natsWaiter)
	}
	row := &row{name: fmt.Sprintf("upstream back to the first event delivered, after an outage of %v, the slowest of %d", b.outage, b.rounds), show: seconds, bound: 1}
	for i, w := range all {
		w.first, w.took = newFirst(), &measure{lower: true, worst: true}
		defer w.close()
		if err := build[i](ctx, w); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		row.peers = append(row.peers, peer{name: w.name, of: w.took})
	}
	row.ours, row.peers = all[0].took, row.peers[1:]
	b.table.add(row)
	for round := range b.rounds {
		if round > 0 { // else it would be one outage with a gap in it
			if err := pause(ctx, b.outage+10*time.Second); err != nil {
				return err
			}
		}
		if err := each(all, func(w *waiter) error { return w.away(ctx, b.outage) }); err != nil {
			return err
		}
		for _, w := range all {
			b.say("round %d: %s: back after %s", round+1, w.name, seconds(w.took.value))
		}
	}
	return nil
}

// lateMost bounds how long a contender may take to come back.
const lateMost = time.Minute

// away makes sure that events come through, and then takes the upstream away.
func (w *waiter) away(ctx context.Context, outage time.Duration) error {
	w.first.arm()
	if err := w.one(0); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	if _, err := w.first.wait(ctx, lateMost); err != nil {
		return fmt.Errorf("%s: before the outage: %w", w.name, err)
	}
	w.link.Down()
	for i := range int(outage / time.Second) {
		if err := w.one(i + 1); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	w.first.arm()
	back := time.Now()
	w.link.Up()
	at, err := w.first.wait(ctx, lateMost)
	if err != nil {
		return fmt.Errorf("%s: after the outage: %w", w.name, err)
	}
	w.took.take(at.Sub(back).Seconds())
	return nil
}

// upstream is a broker, a line to it that is up, and a subscriber there.
func (b *bench) upstream(ctx context.Context, filter string, got func([]byte)) (*Link, []func(), error) {
	broker, err := startBroker(ctx, b.folder("target"), "", nil)
	if err != nil {
		return nil, nil, err
	}
	stop := []func(){func() { _ = broker.Kill() }}
	listener, err := listenMQTT(broker.Addr, "bench-listener", filter, got)
	if err != nil {
		return nil, stop, err
	}
	stop = append(stop, listener.Close)
	link, err := newLink(broker.Addr, unwatched{})
	if err != nil {
		return nil, stop, err
	}
	return link, append(stop, link.Close), nil
}

func (b *bench) oursWaiter(ctx context.Context, w *waiter) (err error) {
	if w.link, w.stop, err = b.upstream(ctx, "fieldpost/+/events/samples/#", w.first.got); err != nil {
		return err
	}
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("away"), Broker: w.link.Addr})
	if err != nil {
		return err
	}
	if err := agent.StartReady(ctx); err != nil {
		return err
	}
	w.stop = append(w.stop, func() { _ = agent.Kill() })
	w.one = oneOurs(agent.Addr, b.corpus)
	return nil
}

func (b *bench) bridgeWaiter(ctx context.Context, w *waiter) (err error) {
	if w.link, w.stop, err = b.upstream(ctx, "fieldpost/#", w.first.got); err != nil {
		return err
	}
	edge, err := startBroker(ctx, b.folder("bridge"), "", &Bridge{To: w.link.Addr})
	if err != nil {
		return err
	}
	w.stop = append(w.stop, func() { _ = edge.Kill() })
	w.one = b.oneMQTT(edge.Addr)
	return nil
}

func (b *bench) natsWaiter(ctx context.Context, w *waiter) error {
	p, err := b.startPair(ctx, true)
	w.stop = append(w.stop, p.close)
	if err != nil {
		return err
	}
	w.link, w.one = p.link, oneNATS(p.edge, b.corpus)
	if err := p.up(ctx); err != nil {
		return err
	}
	if err := p.hub.sourceFrom(ctx, "edge"); err != nil {
		return err
	}
	stop, err := listenNATS(ctx, p.hub, "", func(m jetstream.Msg) { w.first.got(m.Data()) })
	if err == nil {
		w.stop = append(w.stop, stop)
	}
	return err
}

// listenNATS reads the stream of a domain, or of the server itself, as it grows.
func listenNATS(ctx context.Context, n *NATS, domain string, got func(jetstream.Msg)) (stop func(), err error) {
	conn, err := n.dial()
	if err != nil {
		return nil, err
	}
	js := conn.js
	if domain != "" {
		if js, err = jetstream.NewWithDomain(conn.Conn, domain); err != nil {
			conn.Close()
			return nil, err
		}
	}
	var c jetstream.Consumer
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		c, err = js.CreateConsumer(ctx, natsStream, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
		return err == nil, nil
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("make a consumer: %w", err)
	}
	reading, err := c.Consume(got)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("consume: %w", err)
	}
	return func() { reading.Stop(); conn.Close() }, nil
}
