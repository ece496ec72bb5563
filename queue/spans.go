package queue

import (
	"encoding/binary"
	"errors"
	"slices"
	"sort"
)

// span is a hole as it is kept: without an epoch, which is worked out on reading.
type span struct {
	from, to uint64
	cause    Cause
	rows     Rows // what took the place of a thinned one
}

// tells reports whether b goes on where a ends, and both tell the same: the rows
// of thinned ones must touch too.
func (a *span) tells(b *span) bool {
	if a.to+1 != b.from || a.cause != b.cause || a.rows.Ring != b.rows.Ring {
		return false
	}
	return a.rows.Ring == "" || b.rows.From <= a.rows.To+1 && a.rows.From <= b.rows.To+1
}

// cut is the part of a from one seq to another.
func (a span) cut(from, to uint64) span {
	a.from, a.to = from, to
	return a
}

// grow takes b, which goes on where a ends, into a.
func (a *span) grow(b *span) {
	a.to = b.to
	if b.rows.Ring != "" {
		a.rows.From, a.rows.To = min(a.rows.From, b.rows.From), max(a.rows.To, b.rows.To)
	}
}

// spans are holes, sorted, without overlap.
type spans []span

// maxSpans bounds the holes of one ring: past it holes that touch become one,
// with the cause of the later; but what is in part no more than gone is not told
// as thinned. Holes with records between them stay.
const maxSpans = 4096

// find gives the hole that covers seq.
func (s spans) find(seq uint64) (span, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].to >= seq })
	if i < len(s) && s[i].from <= seq {
		return s[i], true
	}
	return span{}, false
}

// fill covers what of n is not covered yet.
func (s spans) fill(n span) spans {
	from, to := n.from, n.to
	if from > to {
		return s
	}
	if k := len(s); k == 0 || s[k-1].to < from { // the common case: a ring's floor moves up
		return s.join(n).bound()
	}
	out := make(spans, 0, len(s)+2)
	i := 0
	for ; i < len(s) && s[i].to < from; i++ {
		out = append(out, s[i])
	}
	for at := from; at <= to; {
		if i >= len(s) || s[i].from > to {
			out = out.join(span{at, to, n.cause, n.rows})
			break
		}
		if s[i].from > at {
			out = out.join(span{at, s[i].from - 1, n.cause, n.rows})
		}
		out = out.join(s[i])
		at = s[i].to + 1
		i++
	}
	for ; i < len(s); i++ {
		out = out.join(s[i])
	}
	return out.bound()
}

func (s spans) bound() spans {
	for i := 0; len(s) > maxSpans && i+1 < len(s); {
		if s[i].to+1 != s[i+1].from {
			i++
			continue
		}
		a, b := &s[i], &s[i+1]
		switch {
		case b.cause == Thinned && a.cause != Thinned:
			b.cause, b.rows = a.cause, Rows{}
		case a.rows.Ring != "" && a.rows.Ring == b.rows.Ring:
			b.rows.From, b.rows.To = min(a.rows.From, b.rows.From), max(a.rows.To, b.rows.To)
		}
		b.from = a.from
		s = slices.Delete(s, i, i+1)
	}
	return s
}

// join appends a span, into the last one where both tell the same.
func (s spans) join(n span) spans {
	if k := len(s); k > 0 && s[k-1].tells(&n) {
		s[k-1].grow(&n)
		return s
	}
	return append(s, n)
}

// runBefore gives the unbroken run of holes that ends at seq.
func (s spans) runBefore(seq uint64) spans {
	i := sort.Search(len(s), func(i int) bool { return s[i].to >= seq })
	if i >= len(s) || s[i].from > seq {
		return nil
	}
	j := i
	for j > 0 && s[j-1].to+1 == s[j].from {
		j--
	}
	out := slices.Clone(s[j : i+1])
	out[len(out)-1].to = seq
	return out
}

// count gives the seqs in holes with the cause damage, with the cause thinned,
// and in all but the damaged.
func (s spans) count() (damaged, thinned, gone uint64) {
	for _, h := range s {
		n := h.to - h.from + 1
		switch h.cause {
		case Damage:
			damaged += n
			continue
		case Thinned:
			thinned += n
		}
		gone += n
	}
	return damaged, thinned, gone
}

// The versions of a hole list. The second tells of rows, which follow a cause as
// ring, from and to; a ring of no letters stands alone.
const (
	spansV1 = 1
	spansV2 = 2
)

func (s spans) encode() []byte {
	b := []byte{spansV2}
	b = binary.AppendUvarint(b, uint64(len(s)))
	for _, h := range s {
		b = binary.AppendUvarint(b, h.from)
		b = binary.AppendUvarint(b, h.to)
		b = appendString(b, string(h.cause))
		b = appendString(b, h.rows.Ring)
		if h.rows.Ring != "" {
			b = binary.AppendUvarint(b, h.rows.From)
			b = binary.AppendUvarint(b, h.rows.To)
		}
	}
	return b
}

func decodeSpans(b []byte) (spans, error) {
	r := reader{b: b}
	version, n := r.byte(), r.count()
	out := make(spans, 0, n)
	for range n {
		h := span{from: r.uvarint(), to: r.uvarint(), cause: Cause(r.bytes())}
		if version == spansV2 {
			if h.rows.Ring = string(r.bytes()); h.rows.Ring != "" {
				h.rows.From, h.rows.To = r.uvarint(), r.uvarint()
			}
		}
		out = append(out, h)
	}
	if r.bad || version != spansV1 && version != spansV2 {
		return nil, errors.New("damaged hole list")
	}
	return out, nil
}
