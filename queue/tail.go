package queue

// tail is what the journal holds and the segments do not yet, in the order of n.
// Store.mu guards it.
type tail struct {
	first   uint64 // n of entries[0]
	entries []kept
}

// kept is an entry in the tail; ring is "" where damage of the journal took it.
type kept struct {
	entry
	epoch uint32
}

func (t *tail) next() uint64 { return t.first + uint64(len(t.entries)) }

// add appends an entry with the given n; what is missing before it stays empty.
func (t *tail) add(n uint64, epoch uint32, e entry) {
	if len(t.entries) == 0 {
		t.first = n
	}
	for t.next() < n {
		t.entries = append(t.entries, kept{})
	}
	t.entries = append(t.entries, kept{e, epoch})
}

func (t *tail) at(n uint64) *kept {
	if n < t.first || n >= t.next() {
		return nil
	}
	return &t.entries[n-t.first]
}

// trim forgets all up to n.
func (t *tail) trim(n uint64) {
	if n < t.first {
		return
	}
	k := min(n-t.first+1, uint64(len(t.entries)))
	t.entries = append([]kept(nil), t.entries[k:]...)
	t.first += k
}

func (k *kept) record(n uint64) Record {
	return Record{Ring: k.ring, Epoch: k.epoch, N: n, Seq: k.seq, Stamp: k.stamp, Data: k.data}
}
