package edge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fieldpost/queue"
)

// A Read that finds little stops after this much and gives a short page, so that
// no call holds the disk for long.
const (
	scanRecords = 16384
	scanTime    = 100 * time.Millisecond
	scanPage    = 1024
)

// pageBytes ends a page whose events are large: a reader that is slow to take
// its page holds all of it.
const pageBytes = 256 << 10

// EventPage is what one read gave.
type EventPage struct {
	Events []Event
	// Next is where to go on from, as After, or with Desc as Before. With Desc and End there is
	// nothing to go on to.
	Next  Position
	End   bool // nothing more was stored
	Reset bool // the position was of a past that was lost: the page begins after it
}

// Read reads a page. It may be short, or empty, and still not be the end. A
// position of an epoch that the store does not know reads from the oldest, with
// Reset.
func (l *Log) Read(q Query) (EventPage, error) {
	if q.BySeq && len(q.Rings) != 1 {
		return EventPage{}, fmt.Errorf("read events: positions by seq need one ring, not %d", len(q.Rings))
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	r := reading{l: l, q: &q, d: decoder{l: l}, gaps: q.wantsGaps(), open: q.Rings == nil}
	if r.open {
		q.Rings = l.open()
	}
	if err := r.locate(); err != nil {
		return EventPage{}, err
	}
	began := time.Now()
	for scanned := 0; !r.done && scanned < scanRecords && time.Since(began) < scanTime; {
		n, err := r.page()
		if err != nil {
			return EventPage{}, err
		}
		scanned += max(n, 1)
	}
	r.out.Next = r.position()
	return r.out, nil
}

// open is the rings that a read without names covers.
func (l *Log) open() []string {
	rings := []string{}
	for _, r := range l.store.Rings() {
		if !Guarded(r.Name) {
			rings = append(rings, r.Name)
		}
	}
	return rings
}

// reading is one Read under way.
type reading struct {
	l    *Log
	q    *Query
	d    decoder
	gaps bool
	open bool // of all rings that are not guarded
	out  EventPage
	done bool
	size int // events that are no gaps
	held int // bytes of their data

	after, before uint64 // where they are; 0: no bound
	at            uint64 // read up to here: the n or seq to go on from
	epoch         uint32 // of at, where a record is there; else 0
}

// locate finds the query's positions in what survived.
func (r *reading) locate() error {
	var err error
	if r.after, err = r.find(r.q.After, false); err != nil {
		return err
	}
	if r.before, err = r.find(r.q.Before, true); err != nil {
		return err
	}
	r.at = r.after
	if r.q.Desc {
		r.at = r.before
	}
	return nil
}

func (r *reading) find(p Position, before bool) (uint64, error) {
	if p.Epoch == 0 {
		return p.N, nil
	}
	var at uint64
	var reset bool
	var err error
	if r.q.BySeq {
		at, reset, err = r.l.store.LocateSeq(r.q.Rings[0], p.Epoch, p.N)
	} else {
		at, reset, err = r.l.store.Locate(p.Epoch, p.N)
	}
	switch {
	case errors.Is(err, queue.ErrNotFound):
		r.out.Reset = true
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("find position %s: %w", p, err)
	}
	r.out.Reset = r.out.Reset || reset
	if before {
		if reset {
			return at + 1, nil
		}
		return p.N, nil
	}
	return at, nil
}

// page reads one page of the store and takes what fits.
func (r *reading) page() (scanned int, err error) {
	most := queue.Max{Records: scanPage}
	if !r.q.filtered() {
		most = queue.Max{Records: r.q.Limit - r.size, Bytes: pageBytes}
	}
	page, err := r.fetch(most)
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	if r.open {
		// A ring that was made meanwhile has events below page.Next that are not in it.
		if rings := r.l.open(); !slices.Equal(rings, r.q.Rings) {
			r.q.Rings = rings
			return 0, nil
		}
	}
	for i := range page.Items {
		it := &page.Items[i]
		if r.beyond(it) {
			r.done, r.out.End = true, true
			return i, nil
		}
		r.take(it)
		if r.size >= r.q.Limit || r.held >= pageBytes {
			r.done = true
			r.out.End = page.End && i == len(page.Items)-1
			return i + 1, nil
		}
	}
	if r.at != page.Next && !(r.q.Desc && page.End) {
		r.at, r.epoch = page.Next, 0
	}
	r.done, r.out.End = page.End, page.End
	return len(page.Items), nil
}

func (r *reading) fetch(max queue.Max) (queue.Page, error) {
	s, q := r.l.store, r.q
	switch {
	case len(q.Rings) == 0:
		return queue.Page{Next: r.at, End: true}, nil
	case q.BySeq && q.Desc:
		return s.ReadBack(q.Rings[0], r.at, max)
	case q.BySeq:
		return s.Read(q.Rings[0], r.at, max)
	case q.Desc:
		return s.ReadAllBack(q.Rings, r.at, max)
	}
	return s.ReadAll(q.Rings, r.at, max)
}

// beyond reports whether the item is past the query's far bound. A hole in a
// read of several rings has no place in n of its own: it goes with its record.
func (r *reading) beyond(it *queue.Item) bool {
	at := it.N
	if it.Hole != nil {
		if !r.q.BySeq {
			return false
		}
		at = it.Hole.From
		if r.q.Desc {
			at = it.Hole.To
		}
	} else if r.q.BySeq {
		at = it.Seq
	}
	if r.q.Desc {
		return at <= r.after
	}
	return r.before > 0 && at >= r.before
}

// take adds an item to the page if the query wants it.
func (r *reading) take(it *queue.Item) {
	if it.Hole != nil {
		if r.gaps {
			r.out.Events = append(r.out.Events, Event{})
			r.d.item(it, &r.out.Events[len(r.out.Events)-1])
		}
		if r.q.BySeq {
			r.at, r.epoch = it.Hole.To, it.Hole.Epoch
			if r.q.Desc {
				r.at = it.Hole.From
			}
		}
		return
	}
	var ev Event
	r.d.record(&it.Record, &ev)
	if r.at, r.epoch = it.N, it.Epoch; r.q.BySeq {
		r.at = it.Seq
	}
	if ev.Hole == nil && !r.q.takes(&ev) || ev.Hole != nil && !r.gaps {
		return
	}
	r.out.Events = append(r.out.Events, ev)
	r.size++
	r.held += len(ev.Data)
}

// position is where to go on from, with the epoch that it belongs to.
func (r *reading) position() Position {
	if r.epoch != 0 {
		return Position{r.epoch, r.at}
	}
	if r.q.BySeq {
		return Position{r.l.store.EpochOf(r.q.Rings[0], max(r.at, 1)), r.at}
	}
	epochs := r.l.store.Epochs()
	for i := len(epochs) - 1; i >= 0; i-- {
		if epochs[i].First <= r.at || i == 0 {
			return Position{epochs[i].ID, r.at}
		}
	}
	return Position{N: r.at}
}
