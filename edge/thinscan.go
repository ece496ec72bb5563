package edge

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"fieldpost/queue"
)

// What one flush of rows is made from, at most. Where that is not even one
// bucket, the bucket gets several rows of each name.
const (
	maxThinRows    = 4096
	maxThinBytes   = 2 << 20 // of memory, and about that of the flush
	maxThinRuns    = 512
	maxThinRecords = 1 << 16
	thinPage       = 1024
)

// thinScan sums up the oldest records of a ring.
type thinScan struct {
	clock *Clock
	every time.Duration
	fine  bool // the ring holds rows itself
	texts interner
	ev    Event // of the record at hand; its texts are used again

	rows    map[thinKey]*thinRow
	order   []*thinRow
	buckets map[thinBucket]*queue.Range // where the samples of each are
	runs    []thinRun
	size    int
	records int
	upTo    uint64
}

// thinRun is a run of records that go for one reason.
type thinRun struct {
	queue.Range
	cause queue.Cause // "": the wish's
}

func newThinScan(c *Clock, every time.Duration, fine bool, from uint64) *thinScan {
	return &thinScan{
		clock: c, every: every, fine: fine, upTo: from - 1,
		rows: make(map[thinKey]*thinRow), buckets: make(map[thinBucket]*queue.Range),
	}
}

// full reports whether nothing more fits into the flush.
func (s *thinScan) full() bool {
	return len(s.order) >= maxThinRows || s.size >= maxThinBytes || len(s.runs) >= maxThinRuns || s.records >= maxThinRecords
}

// take takes the next of the ring.
func (s *thinScan) take(it *queue.Item) {
	if it.Hole != nil {
		s.run(it.Hole.From, it.Hole.To, it.Hole.Cause)
		return
	}
	s.records++
	ev := &s.ev
	switch err := decodePayload(it.Data, ev, &s.texts); {
	case err != nil:
		s.run(it.Seq, it.Seq, queue.Damage)
	case ev.Kind != Sample || len(ev.Data) == 0:
		s.run(it.Seq, it.Seq, "")
	default:
		s.run(it.Seq, it.Seq, queue.Thinned)
		s.sample(it, ev)
	}
}

func (s *thinScan) run(from, to uint64, cause queue.Cause) {
	s.upTo = to
	if k := len(s.runs); k > 0 && s.runs[k-1].cause == cause {
		s.runs[k-1].To = to
		return
	}
	s.runs = append(s.runs, thinRun{queue.Range{From: from, To: to}, cause})
}

// sample adds a sample, or a row of a finer ring, to its row.
func (s *thinScan) sample(it *queue.Item, ev *Event) {
	wall, state, _ := s.clock.Time(it.Stamp)
	at := thinTime{it.Stamp, wall.UnixMicro()}
	key := thinKey{bucket: thinBucket{at: floorDiv(at.wall, s.every.Microseconds())}, name: ev.Name}
	if state == Unsynced {
		key.bucket.boot = it.Stamp.Boot
	}
	if ev.Origin != nil {
		key.agent = ev.Origin.Agent
	}
	if b := s.buckets[key.bucket]; b != nil {
		b.To = it.Seq
	} else {
		s.buckets[key.bucket] = &queue.Range{From: it.Seq, To: it.Seq}
	}
	var d rowData
	isRow := s.fine && (ev.From == thinFrom || ev.Origin != nil) && json.Unmarshal(ev.Data, &d) == nil && (d.N > 0 || d.Fields != nil)
	if isRow && key.agent == "" {
		key.agent = d.Agent
	}
	row := s.rows[key]
	if row == nil {
		key.name, key.agent = strings.Clone(key.name), strings.Clone(key.agent)
		row = &thinRow{key: key}
		s.rows[key] = row
		s.order = append(s.order, row)
		s.size += thinRowSize + len(key.name) + len(key.agent)
	}
	if isRow {
		s.size += row.merge(&d, at)
	} else {
		s.size += row.add(ev.Data, at)
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// cut chooses where to end: up to the first seq from to on that splits no bucket,
// or else the last below it. ok is false where there is none: what was read is of
// one bucket, or of several that are mixed.
func (s *thinScan) cut(to uint64) (at uint64, ok bool) {
	if len(s.buckets) == 0 {
		return min(to, s.upTo), s.upTo > 0
	}
	all := make([]queue.Range, 0, len(s.buckets))
	for _, b := range s.buckets {
		all = append(all, *b)
	}
	slices.SortFunc(all, func(a, b queue.Range) int { return cmp.Compare(a.From, b.From) })
	end := all[0].To
	for _, b := range all[1:] {
		if b.From > end { // all before it is whole, as far as was read
			if at, ok = b.From-1, true; at >= to {
				return at, true
			}
		}
		end = max(end, b.To)
	}
	return at, ok
}

// thinning is what goes with all up to a cut, for the wish's cause where it is
// not summed up.
func (s *thinScan) thinning(w queue.Wish, into string, at uint64) queue.Thinning {
	t := queue.Thinning{Ring: w.Ring}
	for _, r := range s.runs {
		if r.From > at {
			break
		}
		if r.cause == "" {
			r.cause = w.Cause
		}
		if r.cause == queue.Thinned {
			t.Into = into
		}
		t.Gone = append(t.Gone, queue.Gone{From: r.From, To: min(r.To, at), Cause: r.cause})
	}
	return t
}

// events are the rows of all buckets that end at or before a cut.
func (s *thinScan) events(into string, at uint64) []Event {
	var evs []Event
	for _, r := range s.order {
		if s.buckets[r.key.bucket].To <= at {
			evs = append(evs, r.event(into))
		}
	}
	return evs
}
