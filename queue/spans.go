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
}

// spans are holes, sorted, without overlap.
type spans []span

// maxSpans bounds the holes of one ring: past it holes that touch become one,
// with the cause of the later. Holes with records between them stay.
const maxSpans = 4096

// find gives the hole that covers seq.
func (s spans) find(seq uint64) (span, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].to >= seq })
	if i < len(s) && s[i].from <= seq {
		return s[i], true
	}
	return span{}, false
}

// fill covers what of from..to is not covered yet.
func (s spans) fill(from, to uint64, cause Cause) spans {
	if from > to {
		return s
	}
	if k := len(s); k > 0 && s[k-1].to+1 == from && s[k-1].cause == cause { // the common case: a ring's floor moves up
		s[k-1].to = to
		return s
	}
	out := make(spans, 0, len(s)+2)
	i := 0
	for ; i < len(s) && s[i].to < from; i++ {
		out = append(out, s[i])
	}
	for at := from; at <= to; {
		if i >= len(s) || s[i].from > to {
			out = out.join(span{at, to, cause})
			break
		}
		if s[i].from > at {
			out = out.join(span{at, s[i].from - 1, cause})
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
		s[i+1].from = s[i].from
		s = slices.Delete(s, i, i+1)
	}
	return s
}

// join appends a span, into the last one where both tell the same.
func (s spans) join(n span) spans {
	if k := len(s); k > 0 && s[k-1].cause == n.cause && s[k-1].to+1 == n.from {
		s[k-1].to = n.to
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

// count gives the seqs in holes with the cause damage, and in all others.
func (s spans) count() (damaged, gone uint64) {
	for _, h := range s {
		if h.cause == Damage {
			damaged += h.to - h.from + 1
		} else {
			gone += h.to - h.from + 1
		}
	}
	return damaged, gone
}

func (s spans) encode() []byte {
	b := []byte{1}
	b = binary.AppendUvarint(b, uint64(len(s)))
	for _, h := range s {
		b = binary.AppendUvarint(b, h.from)
		b = binary.AppendUvarint(b, h.to)
		b = appendString(b, string(h.cause))
	}
	return b
}

func decodeSpans(b []byte) (spans, error) {
	r := reader{b: b}
	version, n := r.byte(), r.count()
	out := make(spans, 0, n)
	for range n {
		out = append(out, span{r.uvarint(), r.uvarint(), Cause(r.bytes())})
	}
	if r.bad || version != 1 {
		return nil, errors.New("damaged hole list")
	}
	return out, nil
}
