package uplink

import (
	"context"
	"errors"
	"time"

	"fieldpost/edge"
)

// send puts pages on their way as the window allows, and gaps of refused events
// between them. It tells ended once no page is left, and goes on with gaps until
// ctx is done.
func (s *session) send(ctx context.Context, pages <-chan page, ended chan<- error) {
	for {
		if err := s.sendGaps(ctx); err != nil {
			ended <- err
			return
		}
		select {
		case p, ok := <-pages:
			if !ok {
				pages = nil
				ended <- nil
				continue
			}
			if err := s.sendPage(ctx, p); err != nil {
				ended <- err
				return
			}
		case <-s.moved:
		case <-ctx.Done():
			return
		}
	}
}

// sendPage sends a page in as many batches as the window makes of it. It gives
// nil when ctx is done.
func (s *session) sendPage(ctx context.Context, p page) error {
	for len(p.events) > 0 {
		head := rangeOf(&p.events[0])
		alone, never := s.f.suspect.judge(p.ring, head.From, sizeOf(&p.events[0]))
		if never {
			v := verdict{span{p.ring, head}, errTooLarge}
			select {
			case s.never <- v:
			case <-ctx.Done():
				return nil
			}
			p.events = p.events[1:]
			continue
		}
		n, ok := s.await(ctx, p.events, alone)
		if !ok {
			return nil
		}
		if err := s.put(ctx, p.ring, p.events[:n]); err != nil {
			return err
		}
		p.events = p.events[n:]
		if alone && !s.quiet(ctx) {
			return nil
		}
		if err := s.sendGaps(ctx); err != nil {
			return err
		}
	}
	return nil
}

// errTooLarge is why suspects give an event up.
var errTooLarge = Permanent(errors.New("the peer closed the connection each time this event was sent alone, and took smaller ones"))

// sendGaps sends what stands in the place of refused events.
func (s *session) sendGaps(ctx context.Context) error {
	s.mu.Lock()
	gaps := s.gaps
	s.gaps = nil
	s.mu.Unlock()
	for i := range gaps {
		if _, ok := s.await(ctx, gaps[i:i+1], false); !ok {
			return nil
		}
		if err := s.put(ctx, gaps[i].Ring, gaps[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// await blocks until the window has room and says how many of the events may go.
// It is false when ctx is done. alone waits until nothing is in flight and lets
// one go.
func (s *session) await(ctx context.Context, evs []edge.Event, alone bool) (n int, ok bool) {
	if alone {
		return 1, s.quiet(ctx)
	}
	per := s.f.per()
	for {
		s.mu.Lock()
		room, left, empty := s.win.room(), mostBytes-s.win.bytes, s.win.events == 0
		// A few at once keep the cost of a batch down; the last ones need not wait.
		enough := min(len(evs), max(s.win.size/8, per))
		s.mu.Unlock()
		if room >= enough || empty {
			if n = fit(evs, max(room, 1), left, per); n > 0 {
				return n, true
			}
			if empty {
				return 1, true
			}
		}
		select {
		case <-s.moved:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// fit is how many of evs fit into room events and left bytes: whole messages of
// per events, or all.
func fit(evs []edge.Event, room, left, per int) int {
	n := 0
	for n < len(evs) && n < room {
		if left -= sizeOf(&evs[n]); left < 0 {
			break
		}
		n++
	}
	if n < len(evs) && n > per {
		n -= n % per
	}
	return n
}

// quiet blocks until nothing is in flight. It is false when ctx is done.
func (s *session) quiet(ctx context.Context) bool {
	for {
		s.mu.Lock()
		empty := s.win.events == 0
		s.mu.Unlock()
		if empty {
			return true
		}
		select {
		case <-s.moved:
		case <-ctx.Done():
			return false
		}
	}
}

// put hands events to the connection.
func (s *session) put(ctx context.Context, ring string, evs []edge.Event) error {
	first, last := rangeOf(&evs[0]), rangeOf(&evs[len(evs)-1])
	s.mu.Lock()
	fl := s.flight[ring]
	if fl == nil {
		fl = &flight{}
		s.flight[ring] = fl
	}
	bytes := 0
	for i := range evs {
		size := sizeOf(&evs[i])
		bytes += size
		fl.sizes = append(fl.sizes, size)
	}
	s.win.sent(len(evs), bytes, time.Now())
	if !s.refused[span{ring, first}] { // a gap in place of what was sent before
		if fl.head == 0 {
			fl.head = first.From
		}
		fl.last = max(fl.last, last.To)
	}
	inflight := s.win.events
	s.mu.Unlock()
	s.f.set(func(st *status) { st.inflight = inflight })
	err := s.conn.Send(ctx, Batch{Ring: ring, Events: evs, Per: s.f.per()})
	if ctx.Err() != nil {
		return nil
	}
	return err
}
