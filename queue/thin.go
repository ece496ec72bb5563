package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A ring that thins (Limits.Thin) does not let go of its oldest records by
// itself. It asks (Wishes), and whoever thins it reads them, and appends what
// takes their place and the row of a Thinning in one batch: with that flush, and not
// without it, the records become holes. Nothing is thinned twice or in part,
// wherever a power cut strikes.
//
// It does not wait for ever. What a ring has beyond its bound by a quarter goes
// as it would from any other ring; so does what its age took, once nobody has
// thinned it for a while.

// Wish is what a ring that thins is to let go of.
type Wish struct {
	Ring   string
	From   uint64 // the oldest record that is there
	To     uint64 // the newest that is to go
	Cause  Cause  // Evicted, Aged or Headroom
	Urgent bool   // it is half way to going unthinned
}

// Gone is a run of records that a ring lets go of. The cause Thinned is for those
// that rows stand for; others, which are not to be thinned, go by the wish's cause.
type Gone struct {
	From  uint64
	To    uint64
	Cause Cause
}

// Thinning says what of a ring goes with a flush.
type Thinning struct {
	Ring string
	Into string // the ring of the rows, which are all its records in the batch
	Gone []Gone // in order, without a gap, from Wish.From on
}

const tableThinned = "thinned"

const thinnedV1 = 1

// Row is the row that makes it so: the records of its ring become holes when the
// flush that has it is readable, and stay so.
func (t Thinning) Row() Row {
	v := appendString([]byte{thinnedV1}, t.Into)
	v = binary.AppendUvarint(v, uint64(len(t.Gone)))
	for _, g := range t.Gone {
		v = binary.AppendUvarint(v, g.From)
		v = binary.AppendUvarint(v, g.To)
		v = appendString(v, string(g.Cause))
	}
	return Row{Table: tableThinned, Key: t.Ring, Value: v}
}

func parseThinned(row Row) (Thinning, error) {
	r := reader{b: row.Value}
	version := r.byte()
	t := Thinning{Ring: row.Key, Into: string(r.bytes())}
	for range r.count() {
		t.Gone = append(t.Gone, Gone{r.uvarint(), r.uvarint(), Cause(r.bytes())})
	}
	if r.bad || version != thinnedV1 {
		return t, fmt.Errorf("read what ring %q was thinned of: %w", row.Key, errDamaged)
	}
	return t, nil
}

// Wishes gives what rings ask for now, sorted by ring.
func (s *Store) Wishes() []Wish {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Wish
	for _, r := range s.rings {
		if w := r.pending(); r.limits.Thin && w.to > 0 {
			out = append(out, Wish{Ring: r.name, From: r.floor + 1, To: w.to, Cause: w.cause, Urgent: w.urgent})
		}
	}
	slices.SortFunc(out, func(a, b Wish) int { return strings.Compare(a.Ring, b.Ring) })
	return out
}

// Wished gets a token when a ring begins to ask, and when that becomes urgent. One
// token stands for any number.
func (s *Store) Wished() <-chan struct{} { return s.wished }

// thin does what the rows of a flush say was thinned. s.mu must be held.
func (s *Store) thin(f *flush) {
	woken := false
	for _, row := range f.rows {
		if row.Table != tableThinned || row.Value == nil {
			continue
		}
		t, err := parseThinned(row)
		if err != nil {
			s.log.Error("ring stays as it is", "ring", row.Key, "error", err)
			continue
		}
		if r := s.rings[t.Ring]; r != nil && r.thin(t, f.rowsIn(t.Into)) {
			woken = true
		}
	}
	if woken { // what it freed goes from the disk with a move
		s.wake()
	}
}

// rowsIn names the records of a ring that a flush has.
func (f *flush) rowsIn(ring string) (rows Rows) {
	for i := range f.entries {
		e := &f.entries[i]
		switch {
		case ring == "" || e.ring != ring:
		case rows.Ring == "":
			rows = Rows{ring, e.seq, e.seq}
		default:
			rows.To = e.seq
		}
	}
	return rows
}

// thin lets go of what was thinned. It reports whether a wish is fulfilled that
// leaves a segment without a record.
func (r *ring) thin(t Thinning, rows Rows) (fulfilled bool) {
	pending := r.pending().to > 0
	for _, g := range t.Gone {
		h := span{from: g.From, to: g.To, cause: g.Cause}
		if g.Cause == Thinned {
			h.rows = rows
		}
		if h.from > r.floor+1 { // the floor was lost with state.db
			r.letGo(span{from: r.floor + 1, to: h.from - 1, cause: Damage})
		}
		r.letGo(h)
	}
	if r.wish.since = time.Now(); !pending || r.pending().to > 0 {
		return false
	}
	r.gaveUp = false
	return len(r.liveSegments()) < len(r.segments)
}

// settleRows takes back that records were thinned where their rows were lost: an
// epoch begins, and other records get those numbers. s.mu must be held, or Open run.
func (s *Store) settleRows() {
	for _, r := range s.rings {
		for i := range r.holes {
			h := &r.holes[i]
			if h.rows.Ring == "" {
				continue
			}
			var last uint64
			if into := s.rings[h.rows.Ring]; into != nil {
				last = into.last
			}
			switch {
			case h.rows.From > last:
				h.cause, h.rows = Damage, Rows{}
				r.newHoles = true
			case h.rows.To > last:
				h.rows.To = last
				r.newHoles = true
			}
		}
	}
}

var errThinning = errors.New("what is gone is nothing, or has gaps")

// checkThinned refuses a row that its ring could do nothing with.
func checkThinned(row Row) error {
	t, err := parseThinned(row)
	bad := err != nil || len(t.Gone) == 0
	for i, g := range t.Gone {
		bad = bad || g.From == 0 || g.From > g.To || i > 0 && g.From != t.Gone[i-1].To+1
	}
	if bad {
		return fmt.Errorf("thin ring %q: %w", row.Key, errThinning)
	}
	return nil
}
