package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// growAfter is how many acknowledged events double a batch that was halved.
const growAfter = 4096

// session is the use of one connection, from its first batch to its end. Its
// goroutines: the feed reads ahead, feed pages go out through send, one publishes
// states where the connection can, and run receives what comes back.
type session struct {
	f    *Forwarder
	conn Conn
	feed *feed
	stop chan struct{} // closed: send what there is and end

	mu      sync.Mutex
	win     *window
	flight  map[string]*flight // by ring
	gaps    []edge.Event       // in place of refused events, not sent yet
	refused map[span]bool      // what is refused and whose gap is not acknowledged yet
	moved   chan struct{}      // for send: has a token after the window or gaps changed
	never   chan verdict       // for receive: what send found the peer will never take

	// Of the goroutine in run:
	progress time.Time
	hurried  time.Time // when a route or address last changed
	unsent   int
	grown    int  // events acknowledged since the batch was last halved or doubled
	byPeer   bool // it was the connection that ended, not we
}

// flight is what is on its way of one ring.
type flight struct {
	head, last uint64 // the first and last seq in flight; head 0: none
	sizes      []int  // bytes of each event in flight, in order of sending
}

// acked takes what was answered off and gives the size of the largest event of it.
func (f *flight) acked(a Ack) (largest int) {
	if f == nil {
		return 0
	}
	if f.head > 0 { // else only the gap of what was refused was in flight
		if f.head = max(f.head, a.Range.To+1); f.head > f.last {
			f.head = 0
		}
	}
	n := min(a.Events, len(f.sizes))
	if n > 0 {
		largest = slices.Max(f.sizes[:n])
	}
	f.sizes = f.sizes[n:]
	return largest
}

// span is a range of one ring.
type span struct {
	ring string
	at   queue.Range
}

// verdict is what the peer will never take, and why.
type verdict struct {
	span
	why error
}

func newSession(f *Forwarder, conn Conn) *session {
	return &session{
		f: f, conn: conn, stop: make(chan struct{}), moved: make(chan struct{}, 1),
		win:    newWindow(max(startWindow>>f.halved(), 1), f.per()),
		never:  make(chan verdict),
		flight: map[string]*flight{}, refused: map[span]bool{},
		feed: &feed{
			log: f.opt.Log, store: f.opt.Store, cursor: f.cursor, takes: f.takes, shy: f.suspect.shy,
			live: f.opt.Order == LiveFirst, per: f.opt.BatchEvents, wait: f.opt.BatchWait,
		},
	}
}

// run uses the connection until it ends or ctx is done, and then sends what is
// stored for up to 4 s more. It gives nil only in the latter case.
func (s *session) run(ctx context.Context) error {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	pages, ended := make(chan page, 1), make(chan error, 3)
	parts.Go(func() {
		if err := s.feed.run(live, s.stop, pages); err != nil {
			ended <- err // before pages is closed: send takes that for a good end
		}
		close(pages)
	})
	parts.Go(func() { s.send(live, pages, ended) })
	parts.Go(func() { s.tell(live) })

	err := s.receive(ctx, ended)
	cancel()
	parts.Wait()
	if s.byPeer {
		s.lost()
	}
	s.close(err == nil)
	return err
}

// close ends the connection: with a goodbye that is waited for, or without one
// and beside what follows, since a dead peer must not delay the next try.
func (s *session) close(clean bool) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	if !clean {
		cancel()
	}
	s.f.closing.Go(func() {
		defer cancel()
		if err := s.conn.Close(ctx); err != nil && clean {
			s.f.log.Warn("uplink did not close cleanly", "error", err)
		}
	})
	if clean {
		s.f.closing.Wait()
	}
}

// receive takes what comes back and watches over progress.
func (s *session) receive(ctx context.Context, ended <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	s.progress = time.Now()
	stopping, sent := ctx.Done(), false
	var late <-chan time.Time
	for {
		if sent && s.idle() {
			return nil
		}
		select {
		case a, ok := <-s.conn.Acks():
			if !ok {
				s.byPeer = true
				return s.whyLost()
			}
			if err := s.take(a); err != nil {
				return err
			}
		case err := <-s.conn.Lost():
			s.byPeer = true
			return errors.Join(err, s.drain())
		case err := <-ended:
			if errors.Is(err, ErrNotConnected) { // why is for the connection to say
				s.byPeer = true
				return errors.Join(s.whyLost(), s.drain())
			}
			if err != nil {
				return err
			}
			sent = true
		case v := <-s.never:
			if err := s.refuse(v); err != nil {
				return err
			}
		case now := <-tick.C:
			if err := s.watch(now); err != nil {
				return err
			}
		case <-s.f.opt.Wake:
			s.hurried = time.Now()
		case <-stopping:
			stopping = nil
			close(s.stop)
			t := time.NewTimer(drainWithin)
			defer t.Stop()
			late = t.C
		case <-late:
			return nil
		}
	}
}

// drain takes what the connection acknowledged before it ended.
func (s *session) drain() error {
	for {
		select {
		case a, ok := <-s.conn.Acks():
			if !ok {
				return nil
			}
			if err := s.take(a); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// whyLost is the error of a connection whose acknowledgements ended.
func (s *session) whyLost() error {
	select {
	case err := <-s.conn.Lost():
		return err
	default:
		return ErrNotConnected
	}
}

// take handles one answer of the peer.
func (s *session) take(a Ack) error {
	now := time.Now()
	s.progress = now
	s.mu.Lock()
	s.win.acked(a.Events, now)
	inflight := s.win.events
	largest := s.flight[a.Ring].acked(a)
	at := span{a.Ring, a.Range}
	gap := s.refused[at]
	delete(s.refused, at)
	s.mu.Unlock()
	s.kick()
	s.f.set(func(st *status) { st.inflight = inflight })

	switch {
	case gap: // also where the peer takes not even the gap: nothing more can be told
		s.f.cursor.Refuse(a.Ring, a.Range)
	case a.Err != nil:
		return s.refuse(verdict{at, a.Err})
	default:
		s.f.cursor.Ack(a.Ring, a.Range)
		s.f.suspect.took(a.Ring, a.Range.To, largest)
	}
	s.f.meter.add(a.Events)
	s.grow(a.Events)
	return nil
}

// refuse puts an event into quarantine and lines a gap up in its place.
func (s *session) refuse(v verdict) error {
	if !IsPermanent(v.why) {
		return v.why
	}
	gap, err := s.f.quarantine(context.Background(), v.ring, v.at, v.why)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.gaps = append(s.gaps, gap)
	s.refused[v.span] = true
	s.mu.Unlock()
	s.kick()
	return nil
}

// watch ends a connection on which nothing moves.
func (s *session) watch(now time.Time) error {
	s.mu.Lock()
	oldest, some := s.win.oldest()
	s.mu.Unlock()
	if !some {
		s.progress = now
		return nil
	}
	if oldest.After(s.progress) { // nothing was in flight before
		s.progress = oldest
	}
	if u, ok := s.conn.(unsenter); ok {
		if n, err := u.Unsent(); err == nil {
			if n < s.unsent {
				s.progress = now
			}
			s.unsent = n
		}
	}
	idle := now.Sub(s.progress)
	if !s.hurried.Before(s.progress) && now.Sub(s.hurried) >= hurryStall {
		// Our address may be gone, and the connection with it: no fault of the batch.
		return fmt.Errorf("%w: no acknowledgement since a route or address changed %v ago", ErrStalled, hurryStall)
	}
	if idle >= stallAfter {
		s.f.halve()
		return fmt.Errorf("%w: no acknowledgement for %v", ErrStalled, idle.Round(time.Second))
	}
	return nil
}

// grow takes a halving back once enough went through.
func (s *session) grow(events int) {
	if s.grown += events; s.grown >= growAfter {
		s.grown = 0
		s.f.double()
	}
}

// lost notes what was first in flight when the peer ended the connection.
func (s *session) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	heads := map[string]uint64{}
	for ring, fl := range s.flight {
		if fl.head > 0 {
			heads[ring] = fl.head
		}
	}
	if len(heads) > 0 {
		// A line that only takes short packets also ends connections, but slowly.
		oldest, _ := s.win.oldest()
		s.f.suspect.lost(heads, s.win.events == 1 && time.Since(oldest) < chokeWithin)
	}
}

// idle reports whether nothing is in flight and nothing waits to be.
func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.win.events == 0 && len(s.gaps) == 0 && len(s.refused) == 0
}

// kick wakes send where it waits for the window or for gaps.
func (s *session) kick() {
	select {
	case s.moved <- struct{}{}:
	default:
	}
}
