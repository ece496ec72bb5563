package queue

import (
	"encoding/binary"
	"errors"
	"sort"
)

// ranges are acknowledged seqs: sorted, without overlap and not touching.
type ranges []Range

// maxRanges bounds a cursor's ranges in one ring. Past it the smallest is
// forgotten: its records are sent again, a duplicate and never a loss.
const maxRanges = 64

func (s ranges) add(n Range) ranges {
	if n.From == 0 || n.From > n.To {
		return s
	}
	if k := len(s); k > 0 && s[k-1].From <= n.From && n.From <= s[k-1].To+1 { // the common case: on from the last
		s[k-1].To = max(s[k-1].To, n.To)
		return s
	}
	out := make(ranges, 0, len(s)+1)
	i := 0
	for ; i < len(s) && s[i].To+1 < n.From; i++ {
		out = append(out, s[i])
	}
	for ; i < len(s) && s[i].From <= n.To+1; i++ {
		n = Range{min(n.From, s[i].From), max(n.To, s[i].To)}
	}
	out = append(out, n)
	return append(out, s[i:]...).bound()
}

func (s ranges) bound() ranges {
	for len(s) > maxRanges {
		at := 0
		for i, r := range s {
			if r.To-r.From < s[at].To-s[at].From {
				at = i
			}
		}
		s = append(s[:at], s[at+1:]...)
	}
	return s
}

func (s ranges) has(seq uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].To >= seq })
	return i < len(s) && s[i].From <= seq
}

// next is the lowest seq from 1 on that is in no range.
func (s ranges) next() uint64 {
	if len(s) == 0 || s[0].From > 1 {
		return 1
	}
	return s[0].To + 1
}

// cut takes out all that is above last.
func (s ranges) cut(last uint64) ranges {
	var out ranges
	for _, r := range s {
		if r.From <= last {
			out = append(out, Range{r.From, min(r.To, last)})
		}
	}
	return out
}

func (s ranges) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	for _, r := range s {
		b = binary.AppendUvarint(b, r.From)
		b = binary.AppendUvarint(b, r.To)
	}
	return b
}

func readRanges(r *reader) ranges {
	n := r.count()
	var out ranges
	for range n {
		out = append(out, Range{r.uvarint(), r.uvarint()})
	}
	return out
}

var errCursor = errors.New("damaged cursor")
