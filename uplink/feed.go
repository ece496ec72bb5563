package uplink

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// The two orders of an uplink.
const (
	InOrder   = "in-order"   // oldest first, ring by ring
	LiveFirst = "live-first" // what is new goes before the backlog
)

// pageEvents and pageBytes bound what is read at once. A page is also how long a
// new event of one ring waits behind another ring's backlog.
const (
	pageEvents = 512
	pageBytes  = 256 << 10
)

// eventLog is what the forwarder reads from. *edge.Log is one.
type eventLog interface {
	Ring(ring string, after uint64, max queue.Max) (evs []edge.Event, next uint64, end bool, err error)
	One(ring string, seq uint64) (edge.Event, error)
	Read(q edge.Query) (edge.EventPage, error)
	Watch() *queue.Watch
}

// ringLister is what the feed asks of the store.
type ringLister interface{ Rings() []queue.RingInfo }

// page is a run of one ring's events that are to go now.
type page struct {
	ring   string
	events []edge.Event
}

// feed reads what one connection is to send, page by page: rings in turn, each
// in order of seq. With LiveFirst what came after the connection began goes
// before what was there. It is used by one goroutine.
type feed struct {
	log    eventLog
	store  ringLister
	cursor *queue.Cursor
	takes  func(ring string) bool
	shy    func(ring string) bool // rings that go last: they may cost the connection
	live   bool                   // LiveFirst
	per    int                    // events in a message
	wait   time.Duration

	runs []*run // sorted by ring; with LiveFirst two a ring
	turn int    // the run to look at first
	news bool   // rings may have got events since runs was last looked at
}

// run is a part of a ring: what is after a seq, up to a last one.
type run struct {
	ring    string
	after   uint64
	last    uint64 // 0: no end
	stored  uint64 // the ring's last seq when it was last looked at
	backlog bool
	skip    []queue.Range // acknowledged before this connection
	since   time.Time     // when a part of a batch was first seen; zero: none waits
}

// refresh takes notice of new rings and new events.
func (f *feed) refresh() {
	for _, info := range f.store.Rings() {
		if !f.takes(info.Name) {
			continue
		}
		found := false
		for _, r := range f.runs {
			if r.ring == info.Name {
				r.stored, found = info.Last, true
			}
		}
		if !found {
			f.open(info)
		}
	}
}

// open begins to read a ring.
func (f *feed) open(info queue.RingInfo) {
	skip := f.cursor.Ranges(info.Name)
	next := f.cursor.Next(info.Name)
	r := &run{ring: info.Name, after: next - 1, stored: info.Last, skip: skip}
	f.runs = append(f.runs, r)
	if f.live && info.Last >= next {
		r.backlog, r.last = true, info.Last
		f.runs = append(f.runs, &run{ring: info.Name, after: info.Last, stored: info.Last, skip: skip})
	}
	slices.SortStableFunc(f.runs, func(a, b *run) int {
		switch {
		case a.backlog != b.backlog && a.backlog:
			return 1
		case a.backlog != b.backlog:
			return -1
		case a.ring < b.ring:
			return -1
		case a.ring > b.ring:
			return 1
		}
		return 0
	})
}

// next gives the next page to send. Where there is none, it gives none, and how
// long until a part of a batch has waited long enough (0: there is none). With
// final nothing waits to fill.
func (f *feed) next(now time.Time, final bool) (p page, again time.Duration, err error) {
	if f.news {
		f.news = false
		f.refresh()
	}
	for pass := range 4 { // what is live first, then the backlog, then both of shy rings
		for i := range f.runs {
			r := f.runs[(f.turn+i)%len(f.runs)]
			if r.backlog != (pass&1 == 1) || f.shy(r.ring) != (pass&2 == 2) {
				continue
			}
			evs, wait, err := f.read(r, now, final)
			if err != nil {
				return page{}, 0, err
			}
			if len(evs) > 0 {
				f.turn = (f.turn + i + 1) % len(f.runs)
				return page{r.ring, evs}, 0, nil
			}
			if wait > 0 && (again == 0 || wait < again) {
				again = wait
			}
		}
	}
	return page{}, again, nil
}

// read takes the next events of a run, or says how long they may still wait to
// make a whole batch.
func (f *feed) read(r *run, now time.Time, final bool) ([]edge.Event, time.Duration, error) {
	for {
		r.pass()
		end := r.stored
		if r.last > 0 {
			end = min(end, r.last)
		}
		if r.after >= end {
			return nil, 0, nil
		}
		if f.per > 1 && !final && end-r.after < uint64(f.per) {
			if r.since.IsZero() {
				r.since = now
			}
			if left := f.wait - now.Sub(r.since); left > 0 {
				return nil, left, nil
			}
		}
		evs, next, _, err := f.log.Ring(r.ring, r.after, queue.Max{Records: f.most(), Bytes: pageBytes})
		if err != nil {
			return nil, 0, fmt.Errorf("read ring %s after %d: %w", r.ring, r.after, err)
		}
		if next <= r.after && len(evs) == 0 {
			return nil, 0, nil
		}
		evs, next = r.keep(evs, next)
		r.since = time.Time{}
		if rest := len(evs) % max(f.per, 1); rest > 0 && rest < len(evs) && next >= end && f.wait > 0 && !final {
			evs = evs[:len(evs)-rest] // the rest waits to make a whole batch
			next, r.since = rangeOf(&evs[len(evs)-1]).To, now
		}
		r.after = next
		if len(evs) > 0 {
			return evs, 0, nil
		}
	}
}

// most is how many events to read at once: whole batches.
func (f *feed) most() int {
	if f.per > 1 {
		return max(pageEvents/f.per, 1) * f.per
	}
	return pageEvents
}

// pass moves over what was acknowledged before.
func (r *run) pass() {
	for _, s := range r.skip {
		if s.From <= r.after+1 && s.To > r.after {
			r.after = s.To
		}
	}
}

// keep leaves out what was acknowledged before and what is behind the run's end.
func (r *run) keep(evs []edge.Event, next uint64) ([]edge.Event, uint64) {
	out := evs[:0]
	for i := range evs {
		at := rangeOf(&evs[i])
		if r.last > 0 && at.From > r.last {
			next = r.last
			break
		}
		if !slices.ContainsFunc(r.skip, func(s queue.Range) bool { return s.From <= at.From && at.To <= s.To }) {
			out = append(out, evs[i])
		}
	}
	return out, next
}

// run reads ahead into pages until ctx is done. Once stop is closed it ends when
// nothing is left to read.
func (f *feed) run(ctx context.Context, stop <-chan struct{}, pages chan<- page) error {
	watch := f.log.Watch()
	defer watch.Stop()
	f.news = true
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		final := false
		select {
		case <-watch.C:
			f.news = true
		case <-stop:
			final, f.news = true, true // its token may still wait, and nobody looks again
		default:
		}
		p, again, err := f.next(time.Now(), final)
		if err != nil {
			return err
		}
		if len(p.events) > 0 {
			select {
			case pages <- p:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if final {
			return nil
		}
		if again == 0 {
			again = time.Hour
		}
		timer.Reset(again)
		select {
		case <-watch.C:
			f.news = true
		case <-timer.C:
		case <-stop:
			f.news = true
		case <-ctx.Done():
			return nil
		}
	}
}
