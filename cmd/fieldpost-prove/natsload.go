package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// produceNATS publishes events over one connection until stop is closed, with at
// most window of them unanswered, and tells how many were acknowledged.
func produceNATS(n *NATS, c *Corpus, window int, stop <-chan struct{}) (int, error) {
	var acked atomic.Int64
	err := publishNATS(n, c, window, -1, &acked, stop)
	return int(acked.Load()), err
}

// fillNATS stores a number of events.
func fillNATS(n *NATS, c *Corpus, events int) error {
	var acked atomic.Int64
	return publishNATS(n, c, natsWindow, events, &acked, nil)
}

// publishNATS publishes count events, or until stop is closed where count is
// below 0. Each acknowledgement is counted as it is seen.
func publishNATS(n *NATS, c *Corpus, window, count int, acked *atomic.Int64, stop <-chan struct{}) error {
	conn, err := n.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn.SetClosedHandler(func(*natsgo.Conn) { cancel() }) // nobody answers what is in flight then
	subjects := natsSubjects(c)
	if window == 1 {
		for i := 0; count < 0 || i < count; i++ {
			select {
			case <-stop:
				return nil
			default:
			}
			if _, err := conn.js.Publish(ctx, subjects[i%len(subjects)], c.Line(i)); err != nil {
				return fmt.Errorf("publish to nats: %w", err)
			}
			acked.Add(1)
		}
		return nil
	}
	waiting := make(chan jetstream.PubAckFuture, window-2) // one more is being waited for, and one sent
	answered := make(chan error, 1)
	go func() { answered <- collect(ctx, cancel, waiting, acked) }()
	for i := 0; (count < 0 || i < count) && err == nil; i++ {
		var f jetstream.PubAckFuture
		if f, err = conn.js.PublishAsync(subjects[i%len(subjects)], c.Line(i)); err != nil {
			err = fmt.Errorf("publish to nats: %w", err)
			break
		}
		select {
		case waiting <- f:
		case <-ctx.Done():
			err = ctx.Err()
		case <-stop:
			count = 0
		}
	}
	close(waiting)
	return errors.Join(err, <-answered)
}

// collect counts the acknowledgements, in the order of what was published, until
// waiting is closed and empty. At the first that fails it ends the publishing.
func collect(ctx context.Context, end func(), waiting <-chan jetstream.PubAckFuture, acked *atomic.Int64) error {
	var failed error
	for f := range waiting {
		if failed != nil {
			continue
		}
		select {
		case <-f.Ok():
			acked.Add(1)
		case failed = <-f.Err():
			end()
		case <-ctx.Done():
			failed = ctx.Err()
		}
	}
	if failed != nil {
		return fmt.Errorf("wait for nats: %w", failed)
	}
	return nil
}

// oneNATS stores one event on a connection of its own.
func oneNATS(n *NATS, c *Corpus) func(int) error {
	subjects := natsSubjects(c)
	return func(i int) error {
		conn, err := n.dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err = conn.js.Publish(ctx, subjects[i%len(subjects)], c.Line(i))
		return err
	}
}
