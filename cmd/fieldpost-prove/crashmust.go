package main

import (
	"fmt"
	"maps"
	"slices"

	"fieldpost/queue"
)

// crashMust is what the world was told up to an instant: what a state of the disk
// from then on must have, and the ids that must not be given again.
type crashMust struct {
	told   map[string]map[uint64]crashID // by ring and seq: acknowledged, or seen by a reader
	acked  int
	tried  map[uint64]string    // the ring of each C that was posted
	keyed  map[string][]crashID // the answer to each key
	asked  map[string][]crashID // the events of each key that was tried
	byN    map[epochN]uint64    // C of each id
	bySeq  map[epochSeq]uint64
	idOf   map[uint64]crashID // of each C
	damage map[string][]queue.Range

	mail      uint64 // of the mailbox; mailTried since then
	mailKnown bool
	mailTried []uint64

	may, must map[string][]queue.Range // of the cursor

	thin, thinned []queue.Range // of the samples: tried, and acknowledged
}

type epochN struct {
	epoch uint32
	n     uint64
}

type epochSeq struct {
	ring  string
	epoch uint32
	seq   uint64
}

func newCrashMust() *crashMust {
	return &crashMust{
		told: map[string]map[uint64]crashID{}, tried: map[uint64]string{}, keyed: map[string][]crashID{}, asked: map[string][]crashID{},
		byN: map[epochN]uint64{}, bySeq: map[epochSeq]uint64{}, idOf: map[uint64]crashID{}, damage: map[string][]queue.Range{},
		may: map[string][]queue.Range{}, must: map[string][]queue.Range{},
	}
}

// clone is for who adds what one state alone knows.
func (m *crashMust) clone() *crashMust {
	c := *m
	c.told = maps.Clone(m.told)
	for ring, ids := range c.told {
		c.told[ring] = maps.Clone(ids)
	}
	c.tried, c.keyed, c.asked = maps.Clone(m.tried), maps.Clone(m.keyed), maps.Clone(m.asked)
	c.byN, c.bySeq, c.idOf = maps.Clone(m.byN), maps.Clone(m.bySeq), maps.Clone(m.idOf)
	c.may, c.must, c.damage = maps.Clone(m.may), maps.Clone(m.must), maps.Clone(m.damage)
	return &c
}

// add takes a note in. It gives what the note itself breaks.
func (m *crashMust) add(n crashNote) (broken []string) {
	switch n.What {
	case noteTry:
		for _, id := range n.IDs {
			m.tried[id.C] = id.Ring
		}
		if n.Key != "" {
			m.asked[n.Key] = n.IDs
		}
	case noteAck:
		for _, id := range n.IDs {
			broken = append(broken, m.tell(id)...)
			m.acked++
		}
		if n.Key != "" {
			m.keyed[n.Key] = n.IDs
		}
	case noteSaw:
		for _, id := range n.IDs {
			broken = append(broken, m.tell(id)...)
		}
	case noteMail:
		m.mailTried = append(slices.Clone(m.mailTried), n.N)
	case noteMailed:
		m.mail, m.mailKnown, m.mailTried = n.N, true, nil
	case noteCursor:
		m.may[n.Ring] = spanUnion(m.may[n.Ring], n.Range)
	case noteKept:
		for ring, rs := range n.Kept {
			m.must[ring] = rs
		}
	case noteThin:
		m.thin = spanUnion(m.thin, n.Range)
	case noteThinned:
		m.thinned = spanUnion(m.thinned, n.Range)
	case noteDamage:
		m.damage[n.Ring] = spanUnion(m.damage[n.Ring], n.Range)
	}
	return broken
}

// tell notes that somebody has an event under an id.
func (m *crashMust) tell(id crashID) []string {
	broken := m.number(id)
	if m.told[id.Ring] == nil {
		m.told[id.Ring] = map[uint64]crashID{}
	}
	m.told[id.Ring][id.Seq] = id
	return broken
}

// number notes that an event has an id: one id never has two contents, nor one
// event two ids.
func (m *crashMust) number(id crashID) (broken []string) {
	if ring, ok := m.tried[id.C]; !ok || ring != id.Ring {
		return []string{fmt.Sprintf("%v was never posted", id)}
	}
	n, seq := epochN{id.Epoch, id.N}, epochSeq{id.Ring, id.Epoch, id.Seq}
	if c, ok := m.byN[n]; ok && c != id.C {
		broken = append(broken, fmt.Sprintf("the id %08x-%d has two contents: %d and %d", id.Epoch, id.N, c, id.C))
	}
	if c, ok := m.bySeq[seq]; ok && c != id.C {
		broken = append(broken, fmt.Sprintf("seq %d of ring %s in epoch %08x has two contents: %d and %d", id.Seq, id.Ring, id.Epoch, c, id.C))
	}
	if old, ok := m.idOf[id.C]; ok && old != id {
		broken = append(broken, fmt.Sprintf("the event %d is stored twice: %v and %v", id.C, old, id))
	}
	m.byN[n], m.bySeq[seq], m.idOf[id.C] = id.C, id.C, id
	return broken
}

// forget takes back that the events of notes are stored, but not their ids: the
// card lied about them.
func (m *crashMust) forget(notes []crashNote) (broken []string) {
	for _, n := range notes {
		switch n.What {
		case noteTry, noteMail, noteCursor, noteThin:
			m.add(n)
		case noteAck, noteSaw:
			for _, id := range n.IDs {
				broken = append(broken, m.number(id)...)
				delete(m.idOf, id.C) // posted again, it is another event
			}
			if n.Key != "" && m.keyed[n.Key] == nil {
				delete(m.asked, n.Key)
			}
		}
	}
	return broken
}

// spanUnion adds a range to sorted ranges that don't touch.
func spanUnion(have []queue.Range, r queue.Range) []queue.Range {
	out := append(slices.Clone(have), r)
	slices.SortFunc(out, func(a, b queue.Range) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	k := 0
	for _, r := range out[1:] {
		if r.From <= out[k].To+1 {
			out[k].To = max(out[k].To, r.To)
			continue
		}
		k++
		out[k] = r
	}
	return out[:k+1]
}

// spanHolds reports whether sorted ranges that don't touch cover a range.
func spanHolds(have []queue.Range, r queue.Range) bool {
	return slices.ContainsFunc(have, func(h queue.Range) bool { return h.From <= r.From && r.To <= h.To })
}
