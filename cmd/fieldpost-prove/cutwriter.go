package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// writer is one API client of a store that is struck. It outlives the agent: what
// broke off without an answer is sent again to the next one, with its key.
type writer struct {
	client  int
	history *history
	rand    *rand.Rand

	k       int    // of its next event
	pending []mark // of the request that was not answered
	key     string
	body    []byte
}

// pace is how the writers of one life write.
type pace struct {
	most   int           // events of a request, at most
	every  time.Duration // between two requests of a writer; 0: none
	budget int           // events of all writers together; then they write one each few ms
}

// refusal is an answer that the event is not stored, and what was wrong with it.
type refusal struct {
	status int
	retry  int // seconds; 0: the answer did not say
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %.200s", r.status, r.text) }

// writers are all of one store.
type writers struct {
	list    []*writer
	agent   *Agent
	history *history

	acknowledged atomic.Int64 // events, of all runs
	refused      atomic.Int64 // requests that got a 503
	slowest      atomic.Int64 // ns until the slowest answer, of any kind

	mu     sync.Mutex
	faults []string // answers that no writer should get
}

// newWriters makes so many writers; their events are numbered from first on, so
// that no two writers of a store share a number.
func newWriters(count int, a *Agent, h *history, r *rand.Rand) *writers {
	ws := &writers{agent: a, history: h}
	for c := range count {
		ws.list = append(ws.list, &writer{client: c, history: h, rand: rand.New(rand.NewPCG(r.Uint64(), uint64(c)))})
	}
	return ws
}

// Run lets the first n of them write until stop is closed. Nothing that they meet
// ends them but an answer that must not be.
func (ws *writers) Run(ctx context.Context, n int, p pace, stop <-chan struct{}) {
	if p.budget > 0 {
		p.budget += int(ws.acknowledged.Load())
	}
	// A request that is under way when the power is cut ends then.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	var wg sync.WaitGroup
	for _, w := range ws.list[:min(n, len(ws.list))] {
		wg.Go(func() {
			for ctx.Err() == nil {
				if !ws.turn(ctx, w, p) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// turn is one request of a writer, and the wait after it; false ends the writer.
func (ws *writers) turn(ctx context.Context, w *writer, p pace) bool {
	wait := p.every
	if p.budget > 0 && ws.acknowledged.Load() >= int64(p.budget) {
		p.most, wait = 1, max(wait, 3*time.Millisecond)
	}
	began := time.Now()
	err := ws.send(ctx, w, p.most)
	if ctx.Err() == nil {
		for took := int64(time.Since(began)); ; {
			if old := ws.slowest.Load(); took <= old || ws.slowest.CompareAndSwap(old, took) {
				break
			}
		}
	}
	var no *refusal
	switch {
	case err == nil:
	case errors.As(err, &no):
		if why := no.wrong(); why != "" {
			ws.fault("%s: %v", why, no)
			return false
		}
		ws.refused.Add(1)
		wait = max(wait, 10*time.Millisecond)
	case errors.Is(err, errAgain): // the agent is away
		wait = max(wait, 2*time.Millisecond)
	default:
		ws.fault("%v", err)
		return false
	}
	return wait == 0 || pause(ctx, wait) == nil
}

// wrong says what such an answer must not be, or "".
func (r *refusal) wrong() string {
	switch r.status {
	case http.StatusServiceUnavailable:
		if r.retry <= 0 {
			return "a 503 without Retry-After"
		}
	case http.StatusConflict: // the first request with this key still runs
	default:
		return "an answer that a full or failing disk gives no reason for"
	}
	return ""
}

func (ws *writers) fault(format string, args ...any) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.faults = append(ws.faults, fmt.Sprintf(format, args...))
}

// takeFaults gives what was wrong with answers since the last call.
func (ws *writers) takeFaults() []string {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	out := ws.faults
	ws.faults = nil
	return out
}

// send posts the writer's next events, or those that it got no answer for.
func (ws *writers) send(ctx context.Context, w *writer, most int) error {
	if w.pending == nil {
		w.next(most)
	}
	got, err := ws.post(ctx, w)
	if err != nil {
		return err
	}
	if len(got) != len(w.pending) {
		return fmt.Errorf("sent %d events, %d were answered", len(w.pending), len(got))
	}
	for i, n := range got {
		ws.history.Acknowledged(n, w.pending[i])
	}
	ws.acknowledged.Add(int64(len(got)))
	w.pending = nil
	return nil
}

// next makes the writer's next request: mostly of one event or a few.
func (w *writer) next(most int) {
	count := 1
	if most > 1 && w.rand.IntN(3) > 0 {
		count = 1 + w.rand.IntN(most)
	}
	w.key = fmt.Sprintf("cut-%d-%d", w.client, w.k)
	w.body = w.body[:0]
	for range count {
		m := mark{w.client, w.k}
		w.k++
		w.pending = append(w.pending, m)
		w.body = append(markInput(w.body, m), '\n')
	}
}

// post is one request. A *refusal tells what was answered instead of a 201.
func (ws *writers) post(ctx context.Context, w *writer) ([]numbered, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+ws.agent.Addr+"/v1/events", bytes.NewReader(w.body))
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // what is sent again is counted here
	req.Header.Set("Authorization", "Bearer "+agentKey)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", w.key)
	res, err := ws.agent.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAgain, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: read answer: %w", errAgain, err)
	}
	if res.StatusCode != http.StatusCreated {
		retry, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 where there is none
		return nil, &refusal{res.StatusCode, retry, string(bytes.TrimSpace(b))}
	}
	var answer struct{ Events []numbered }
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("read answer to events: %w: %.200s", err, b)
	}
	return answer.Events, nil
}
