package queue

import (
	"log/slog"
	"sort"
)

// ring is the state of one ring in memory. Store.mu guards it.
type ring struct {
	name   string
	dir    string
	limits Limits

	last   uint64 // the highest seq given
	lastN  uint64 // its n
	moved  uint64 // the highest seq that is in segments, or was gone before its move
	movedN uint64 // its n
	floor  uint64 // all up to here is gone: holes cover it

	holes    spans
	newHoles bool // holes or floor are not in state.db yet

	wish   wish          // of a ring that thins
	asked  chan struct{} // gets a token for a new wish
	log    *slog.Logger
	gaveUp bool // it was told that the ring is not thinned in time

	segments []*segment // in the order of seq; the last is the newest

	tailFrom uint64   // the seq of tail[0]
	tail     []uint64 // the n of each seq of the RAM tail; where one is missing, of one before it
}

// first is the oldest seq that may be readable.
func (r *ring) first() uint64 { return r.floor + 1 }

// tailLow is the lowest seq in the RAM tail, or last+1.
func (r *ring) tailLow() uint64 {
	if len(r.tail) == 0 {
		return r.last + 1
	}
	return r.tailFrom
}

// given notes that seq was given to the record n.
func (r *ring) given(seq, n uint64) {
	if len(r.tail) == 0 {
		r.tailFrom = seq
	}
	for r.tailFrom+uint64(len(r.tail)) < seq { // the journal lost some
		r.tail = append(r.tail, r.tail[len(r.tail)-1])
	}
	r.tail = append(r.tail, n)
	r.last, r.lastN = seq, n
}

// raise moves the floor up: all up to seq is gone for the given cause.
func (r *ring) raise(seq uint64, cause Cause) {
	r.letGo(span{from: r.floor + 1, to: seq, cause: cause})
}

// letGo moves the floor up over a hole that begins right above it.
func (r *ring) letGo(h span) {
	h.from, h.to = max(h.from, r.floor+1), min(h.to, r.last)
	if h.from > h.to {
		return
	}
	r.holes = r.holes.fill(h)
	r.floor = h.to
	r.newHoles = true
}

// keepExact raises the floor so that the ring shows no more than it keeps. One
// that thins shows a little more until it is thinned.
func (r *ring) keepExact() {
	keep := r.limits.Keep
	switch {
	case keep == 0 || r.last-r.floor <= keep:
	case r.limits.Thin:
		r.askKeep(keep)
	default:
		r.raise(r.last-keep, Evicted)
	}
}

// lose notes that the seqs from..to are damaged.
func (r *ring) lose(from, to uint64) {
	to = min(to, r.last)
	if from > to {
		return
	}
	r.holes = r.holes.fill(span{from: from, to: to, cause: Damage})
	r.newHoles = true
}

// settle takes back holes above the last seq that survived: those numbers are
// given again, in a new epoch.
func (r *ring) settle() {
	if len(r.holes) > 0 && r.holes[len(r.holes)-1].to > r.last {
		var kept spans
		for _, h := range r.holes {
			if h.from <= r.last {
				kept = append(kept, h.cut(h.from, min(h.to, r.last)))
			}
		}
		r.holes, r.newHoles = kept, true
	}
	r.floor = min(r.floor, r.last)
}

// trim forgets the tail up to seq.
func (r *ring) trim(seq uint64) {
	if len(r.tail) == 0 || seq < r.tailFrom {
		return
	}
	k := min(seq-r.tailFrom+1, uint64(len(r.tail)))
	r.tail = append([]uint64(nil), r.tail[k:]...)
	r.tailFrom += k
}

// segmentAt gives the segment that may hold seq, and the highest seq it may hold.
func (r *ring) segmentAt(seq uint64) (*segment, uint64) {
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].first > seq }) - 1
	if i < 0 {
		return nil, 0
	}
	to := r.moved
	if i+1 < len(r.segments) {
		to = r.segments[i+1].first - 1
	}
	return r.segments[i], to
}

func (r *ring) newest() *segment {
	if len(r.segments) == 0 {
		return nil
	}
	return r.segments[len(r.segments)-1]
}

// info sums the ring up for who asks.
func (r *ring) info() RingInfo {
	damaged, thinned, gone := r.holes.count()
	return RingInfo{Name: r.name, First: r.first(), Last: r.last, LastN: r.lastN, Bytes: r.disk(r.segments),
		Lost: damaged, Gone: gone, Thinned: thinned, Limits: r.limits}
}

// disk is what some of the ring's segments take on the disk.
func (r *ring) disk(segments []*segment) (bytes int64) {
	newest := r.newest()
	for _, g := range segments {
		bytes += g.disk(g == newest)
	}
	return bytes
}

// loseAhead notes that numbers up to seq were given but are not to be found.
func (r *ring) loseAhead(seq uint64) {
	from := r.last + 1
	r.last = seq
	r.lose(from, seq)
}
