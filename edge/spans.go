package edge

import (
	"slices"
	"sort"

	"fieldpost/queue"
)

// spans is a set of numbers as ranges in order that neither touch nor overlap.
type spans []queue.Range

// add adds from to to; it reports whether any of it was there before.
func (s *spans) add(from, to uint64) (known bool) {
	if n := len(*s); n > 0 && (*s)[n-1].To+1 == from { // the usual case: the next in order
		(*s)[n-1].To = to
		return false
	}
	// The ranges i up to j touch the new one.
	i := sort.Search(len(*s), func(i int) bool { return (*s)[i].To+1 >= from })
	j := i
	for j < len(*s) && (*s)[j].From <= to+1 {
		r := (*s)[j]
		known = known || r.From <= to && from <= r.To
		from, to = min(from, r.From), max(to, r.To)
		j++
	}
	*s = slices.Replace(*s, i, j, queue.Range{From: from, To: to})
	return known
}

// missing gives what of from to to is in neither a nor b: how much, and the first
// few ranges of it.
func missing(from, to uint64, a, b spans, few int) (count uint64, out []queue.Range) {
	for from != 0 && from <= to {
		next, have := to, false
		for _, s := range []spans{a, b} {
			i := sort.Search(len(s), func(i int) bool { return s[i].To >= from })
			if i == len(s) || s[i].From > to {
				continue
			}
			if s[i].From <= from {
				next, have = max(s[i].To, from), true
				break
			}
			next = min(next, s[i].From-1)
		}
		if !have {
			count += next - from + 1
			if len(out) < few {
				out = append(out, queue.Range{From: from, To: next})
			}
		}
		from = next + 1
	}
	return count, out
}

// count is how many numbers are in the set.
func (s spans) count() (n uint64) {
	for _, r := range s {
		n += r.To - r.From + 1
	}
	return n
}

// low is the lowest number in the set, the highest of all where it is empty.
func (s spans) low() uint64 {
	if len(s) == 0 {
		return ^uint64(0)
	}
	return s[0].From
}

// without is how many numbers of s are not in o.
func (s spans) without(o spans) (n uint64) {
	for _, r := range s {
		gone, _ := missing(r.From, r.To, o, nil, 0)
		n += gone
	}
	return n
}
