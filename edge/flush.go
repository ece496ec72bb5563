package edge

import (
	"context"
	"errors"
	"sync"
	"time"

	"fieldpost/queue"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second

	// lastFlush bounds what Run does after its context ended.
	lastFlush = 3 * time.Second
)

// backoff doubles from firstRetry to lastRetry.
type backoff time.Duration

func (b *backoff) next() time.Duration {
	*b = min(max(2**b, backoff(firstRetry)), backoff(lastRetry))
	return time.Duration(*b)
}

// Run stores what the other methods bring, until ctx is done. Then it stores what
// waits, for 3 s at most, fails the rest with queue.ErrClosed and returns nil.
// Call it once.
func (p *Pump) Run(ctx context.Context) error {
	defer p.close()
	since := p.opt.Store.NextN()
	p.flusher.Unlock()
	defer p.flusher.Lock() // for good: nobody flushes after Run, and none still does
	var loading sync.WaitGroup
	defer loading.Wait()
	loading.Go(func() { p.loadKeys(ctx, since) })
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait, some := p.idle()
		if some && wait <= 0 {
			p.turn()
			continue
		}
		var ring <-chan time.Time
		if some {
			timer.Reset(wait)
			ring = timer.C
		}
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-ring:
		}
	}
	p.tellLosses() // no flush may come that would tell them
	end := time.Now().Add(lastFlush)
	for p.waiting() && time.Now().Before(end) {
		if !p.turn() {
			break
		}
	}
	return nil
}

// loadKeys learns in which order the keys of earlier runs are to be forgotten. They
// count before that too: a key is looked up in the store.
func (p *Pump) loadKeys(ctx context.Context, since uint64) {
	order, err := p.keys.load(ctx, p.opt.Store, since)
	if err != nil {
		p.opt.Log.Warn("read the idempotency keys; they are kept past their time", "err", err)
	}
	p.flusher.Lock()
	defer p.flusher.Unlock()
	p.keys.order = append(order, p.keys.order...)
}

// turn flushes what waits, as soon as nobody else does. False means that the
// store failed.
func (p *Pump) turn() bool {
	p.flusher.Lock()
	defer p.flusher.Unlock()
	return p.flush(p.take())
}

// idle is how long nothing needs to be done; some is false where nothing waits.
func (p *Pump) idle() (wait time.Duration, some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.units) == 0 {
		return 0, false
	}
	now := time.Now()
	if p.err != nil && p.retryAt.After(now) && p.waiters == 0 {
		return p.retryAt.Sub(now), true
	}
	if p.due.IsZero() || p.crowded() {
		return 0, true
	}
	return p.due.Sub(now), true
}

func (p *Pump) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.units) > 0
}

// take takes what waits off the queue, as much as a flush may have. What a
// waiting caller or a ring's Sync asks for takes all before it along.
func (p *Pump) take() []unit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.units) == 0 { // a caller was quicker
		return nil
	}
	events, bytes, n := 0, 0, 0
	for _, u := range p.units {
		if n > 0 && (events+u.events() > MaxPost || bytes+u.size() > MaxPostBytes) {
			break
		}
		events += u.events()
		bytes += u.size()
		if u.r != nil {
			p.waiters--
		}
		n++
	}
	taken := append(p.batch.units[:0], p.units[:n]...)
	p.batch.units = taken
	rest := copy(p.units, p.units[n:])
	clear(p.units[rest:])
	p.units = p.units[:rest]
	p.due = time.Time{} // what is left did not fit: it comes next
	p.flushing, p.asking = time.Now(), p.asker
	return taken
}

// flush stores the units. False means that the store failed.
func (p *Pump) flush(units []unit) bool {
	if len(units) == 0 {
		return true
	}
	err := p.append(units)
	if errors.Is(err, queue.ErrTooLarge) && len(units) > 1 {
		return p.flushEach(units)
	}
	p.settle(units, err)
	clear(units)
	return err == nil
}

// flushEach stores the units one by one, so that one that is too large does not
// hold up the others.
func (p *Pump) flushEach(units []unit) bool {
	defer clear(units)
	for i := range units {
		err := p.append(units[i : i+1])
		if err != nil && !errors.Is(err, queue.ErrTooLarge) {
			p.settle(units[i:], err) // as one: a cause is put back before its effects
			return false
		}
		p.settle(units[i:i+1], err)
	}
	return true
}

// append numbers the units and stores them. On success their tickets and
// requests are filled in, but nobody is told yet.
func (p *Pump) append(units []unit) error {
	b := &p.batch
	b.begin(units, p.opt.Store.Epoch(), p.opt.Store.NextN())
	for _, u := range units {
		if err := b.add(u, p); err != nil {
			return err
		}
	}
	if len(b.entries) == 0 && len(b.rows) == 0 {
		return nil // a Commit that only waits for what was before it
	}
	rec, err := p.opt.Store.Append(queue.Batch{Entries: b.entries, Rows: b.rows})
	if err != nil {
		return err
	}
	if len(b.entries) > 0 && (rec.First != b.first || rec.Epoch != b.epoch) {
		p.opt.Log.Error("store numbered a batch otherwise than it said; causes may name other events", "said", b.first, "is", rec.First)
	}
	b.fill(units, rec, p.opt.Clock)
	return nil
}

// settle tells those who wait what came of it, and puts what must be tried again
// back to the front of the queue.
func (p *Pump) settle(units []unit, err error) {
	now := time.Now()
	gone := err == nil || errors.Is(err, queue.ErrTooLarge)
	p.mu.Lock()
	var again []unit
	for _, u := range units {
		if u.t != nil && !gone {
			again = append(again, u)
			continue
		}
		if u.t != nil && err != nil {
			p.lost.add(&u.t.ev)
		}
		p.count -= u.events()
		p.bytes -= u.size()
	}
	if again != nil {
		p.units = append(again, p.units...)
		p.due = time.Time{}
	}
	failing := p.err != nil
	if !p.flushing.IsZero() {
		p.took = now.Sub(p.flushing)
	}
	p.flushing = time.Time{}
	if err == nil {
		p.flushes++
		p.asks[p.asking]++
		p.events += uint64(len(p.batch.entries))
		p.err, p.wait = nil, 0
	} else if !gone {
		p.err = err
		p.retryAt = now.Add(p.wait.next())
	}
	p.mu.Unlock()
	p.tell(units, err, gone)
	if err == nil {
		p.tellLosses()
	}
	switch {
	case err == nil && failing:
		p.opt.Log.Info("the store takes events again")
	case err != nil && !gone && !failing:
		p.opt.Log.Error("store events", "err", err)
	}
}

func (p *Pump) tell(units []unit, err error, gone bool) {
	for _, u := range units {
		switch {
		case u.r != nil:
			if u.r.call != nil && err == nil {
				p.keys.stored(u.r)
			}
			p.keys.end(u.r.call)
			u.r.err = err
			close(u.r.done)
		case gone:
			u.t.finish(err)
		}
	}
}

// tellLosses queues the loss events that are owed, now that the store works.
func (p *Pump) tellLosses() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.count > p.opt.Room {
		return
	}
	for _, ev := range p.lost.tell() {
		p.prepare(&ev)
		ev.Mono = p.opt.Clock.Stamp().Mono
		t := newTicket(ev, nil)
		t.size = len(ev.Data) + overhead
		p.push(unit{t: t}, time.Time{})
	}
}

// close fails what still waits.
func (p *Pump) close() {
	p.mu.Lock()
	units := p.units
	p.units, p.count, p.bytes, p.waiters, p.closed = nil, 0, 0, 0, true
	p.mu.Unlock()
	p.tell(units, queue.ErrClosed, true)
}
