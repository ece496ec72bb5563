package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// loadMost bounds the events of one request, where a client catches up.
const loadMost = 100

// Load is a number of API clients that send events at a steady rate, each
// request with an Idempotency-Key, and again with the same one until it is
// acknowledged. What an agent's absence delayed is sent afterwards, so the mean
// rate holds.
type Load struct {
	Agent   *Agent
	Ledgers []*Ledger // told of each event that was acknowledged
	Clients int
	Rate    float64 // events a second, of all clients together

	inFlight atomic.Int64 // requests that the agent has and has not answered
	cut      atomic.Int64 // requests that broke off without an answer
	repeats  atomic.Int64 // requests that were sent again
	sent     atomic.Int64 // events acknowledged
}

// InFlight is how many requests are under way.
func (l *Load) InFlight() int64 { return l.inFlight.Load() }

// Cut is how many requests broke off so far after they had reached the agent.
func (l *Load) Cut() int64 { return l.cut.Load() }

// Run sends until stop is closed, and returns when the last request is
// acknowledged. It fails where an agent refuses an event for good.
func (l *Load) Run(ctx context.Context, stop <-chan struct{}) error {
	var wg sync.WaitGroup
	errs := make([]error, l.Clients)
	for c := range l.Clients {
		wg.Go(func() { errs[c] = l.client(ctx, c, stop) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *Load) client(ctx context.Context, client int, stop <-chan struct{}) error {
	every := time.Duration(float64(l.Clients) / l.Rate * float64(time.Second))
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	// Evenly spread over the clients, so that they don't all send at once.
	began := time.Now().Add(every * time.Duration(client) / time.Duration(l.Clients))
	next.Reset(time.Until(began))
	for k := 0; ; {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-next.C:
		}
		due := min(int(max(0, time.Since(began))/every)+1-k, loadMost)
		if due > 0 {
			if err := l.send(ctx, client, k, due); err != nil {
				return fmt.Errorf("client %d: %w", client, err)
			}
			k += due
		}
		next.Reset(time.Until(began.Add(time.Duration(k) * every)))
	}
}

// send posts the events k to k+count-1 of a client until they are acknowledged.
func (l *Load) send(ctx context.Context, client, k, count int) error {
	var body []byte
	for i := range count {
		body = append(body, loadEvent(client, k+i)...)
		body = append(body, '\n')
	}
	key := fmt.Sprintf("load-%d-%d", client, k)
	for try := 0; ; try++ {
		if try > 0 {
			l.repeats.Add(1)
		}
		l.inFlight.Add(1)
		got, err := l.Agent.post(ctx, key, body)
		l.inFlight.Add(-1)
		switch {
		case err == nil && len(got) != count:
			return fmt.Errorf("sent %d events, %d were answered", count, len(got))
		case err == nil:
			for i, n := range got {
				for _, ledger := range l.Ledgers {
					ledger.Acknowledged(n.ID, mark{client, k + i})
				}
			}
			l.sent.Add(int64(count))
			return nil
		case !errors.Is(err, errAgain) || ctx.Err() != nil:
			return err
		case !refused(err):
			l.cut.Add(1)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// loadEvent is the k-th event of a client. The clients spread over rings: the two
// that kinds choose, alarms, and one that is made at run time.
func loadEvent(client, k int) []byte {
	extra := [...]string{``, `,"kind":"sample"`, `,"ring":"alarms"`, `,"ring":"lab"`}[client%4]
	return fmt.Appendf(nil, `{"name":"load/client-%d"%s,"data":{"client":%d,"k":%d,"value":%d.%d,"unit":"C","note":"one of many, and none may be lost"}}`,
		client, extra, client, k, 20+k%9, k%10)
}
