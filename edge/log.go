package edge

import (
	"time"

	"fieldpost/queue"
)

// Log reads events out of a store. Its methods are safe for concurrent use, and
// block on the disk alone. The Data of the events that it gives must not be changed.
type Log struct {
	store *queue.Store
	clock *Clock
	agent string
}

// NewLog reads s with the times of c, as the events of agent.
func NewLog(s *queue.Store, c *Clock, agent string) *Log { return &Log{s, c, agent} }

// The limits of one Query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Query says what to read.
type Query struct {
	Rings  []string // nil: all but the guarded ones
	BySeq  bool     // positions are seqs of Rings[0], the one ring
	After  Position // read what is later; zero: from the oldest
	Before Position // read what is earlier; zero: up to the newest
	Limit  int      // events; DefaultLimit where it is 0, at most MaxLimit
	Desc   bool     // newest first
	Names  []string // patterns, * matches any run; nil: all
	Scope  []string // a key's names, the same patterns; nil: all
	Kinds  []Kind   // nil: all
	Since  time.Time
	Until  time.Time
}

// filtered: the reader does not get whole rings, so their ledger can't close for
// it, and it is told no gaps unless it asks for that kind.
func (q *Query) filtered() bool {
	return q.Names != nil || q.Scope != nil || q.Kinds != nil || !q.Since.IsZero() || !q.Until.IsZero()
}

func (q *Query) wantsGaps() bool {
	if !q.filtered() {
		return true
	}
	for _, k := range q.Kinds {
		if k == Gap {
			return true
		}
	}
	return false
}

// takes reports whether the event passes the filters. Gaps made on reading don't
// come here.
func (q *Query) takes(e *Event) bool {
	if q.Kinds != nil {
		ok := false
		for _, k := range q.Kinds {
			ok = ok || k == e.Kind
		}
		if !ok {
			return false
		}
	}
	if !q.Since.IsZero() && e.Time.Before(q.Since) || !q.Until.IsZero() && !e.Time.Before(q.Until) {
		return false
	}
	return matchAny(q.Names, e.Name) && matchAny(q.Scope, e.Name)
}

func matchAny(patterns []string, name string) bool {
	if patterns == nil {
		return true
	}
	for _, p := range patterns {
		if MatchName(p, name) {
			return true
		}
	}
	return false
}

// MatchName reports whether a name fits a pattern, in which * stands for any run
// of characters, also none.
func MatchName(pattern, name string) bool {
	star, from := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Ring reads one ring in the order of seq, with gaps in their places, for a
// reader of the whole ring. next is the seq to read on after; end says that
// nothing more was stored. A ring that is not there is empty.
func (l *Log) Ring(ring string, after uint64, max queue.Max) (evs []Event, next uint64, end bool, err error) {
	page, err := l.store.Read(ring, after, max)
	if err != nil {
		return nil, after, false, err
	}
	d := decoder{l: l}
	evs = make([]Event, len(page.Items))
	for i := range page.Items {
		d.item(&page.Items[i], &evs[i])
	}
	return evs, page.Next, page.End, nil
}

// One reads one event; queue.ErrNotFound where it is gone or not yet stored.
func (l *Log) One(ring string, seq uint64) (Event, error) {
	rec, err := l.store.One(ring, seq)
	if err != nil {
		return Event{}, err
	}
	var ev Event
	d := decoder{l: l}
	d.record(&rec, &ev)
	return ev, nil
}

// Watch gives a token after each flush that others can see. Stop it.
func (l *Log) Watch() *queue.Watch { return l.store.Watch() }

// decoder turns what the store has into events.
type decoder struct {
	l     *Log
	texts interner
}

func (d *decoder) item(it *queue.Item, e *Event) {
	if it.Hole != nil {
		d.gap(it.Hole, e)
		return
	}
	d.record(&it.Record, e)
}

func (d *decoder) gap(h *queue.Hole, e *Event) {
	*e = Event{
		Epoch: h.Epoch, Ring: h.Ring, Seq: h.To, Agent: d.l.agent, Name: "gap", Kind: Gap,
		Hole: &Hole{From: h.From, To: h.To, Count: h.To - h.From + 1, Cause: string(h.Cause), Thinned: Thinned(h.Rows)},
	}
}

// record decodes a record. One that is damaged in spite of the store's own
// checksums becomes a gap: the reader goes on.
func (d *decoder) record(r *queue.Record, e *Event) {
	if err := decodePayload(r.Data, e, &d.texts); err != nil {
		d.gap(&queue.Hole{Ring: r.Ring, Epoch: r.Epoch, From: r.Seq, To: r.Seq, Cause: queue.Damage}, e)
		return
	}
	e.Epoch, e.N, e.Ring, e.Seq, e.Agent = r.Epoch, r.N, r.Ring, r.Seq, d.l.agent
	e.Time, e.Clock, e.Bound = d.l.clock.Time(r.Stamp)
	e.Boot, e.Mono = d.l.clock.BootID(r.Stamp.Boot), r.Stamp.Mono
}
