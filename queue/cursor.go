package queue

import (
	"encoding/binary"
	"slices"
	"sort"
	"sync"
)

// Cursor is a named, durable set of acknowledged ranges, one set a ring. It is
// made on first use and begins at the oldest record. It does not hold eviction.
//
// Its moves are in memory at once, and durable with the next flush or move of
// the journal, 60 s later at most: a crash repeats what was acknowledged since.
type Cursor struct {
	name  string
	rings func() []RingInfo

	mu      sync.Mutex
	acked   map[string]ranges
	refused map[string]ranges
	dirty   bool
	dropped bool
}

func newCursor(name string) *Cursor {
	return &Cursor{name: name, acked: map[string]ranges{}, refused: map[string]ranges{}}
}

// Ack notes that the peer has these seqs. Those of holes are acknowledged like
// any others, once the peer was told.
func (c *Cursor) Ack(ring string, rs ...Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rs {
		c.acked[ring] = c.acked[ring].add(r)
	}
	c.dirty = true
}

// Refuse notes that the peer will never take these seqs: they count as
// acknowledged, and are a hole for this reader alone.
func (c *Cursor) Refuse(ring string, rs ...Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rs {
		c.acked[ring] = c.acked[ring].add(r)
		c.refused[ring] = c.refused[ring].add(r)
	}
	c.dirty = true
}

// Acked reports whether seq is acknowledged.
func (c *Cursor) Acked(ring string, seq uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked[ring].has(seq)
}

// Next is the lowest seq of the ring that is not acknowledged.
func (c *Cursor) Next(ring string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked[ring].next()
}

// Ranges gives the acknowledged ranges of a ring, in order.
func (c *Cursor) Ranges(ring string) []Range {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acked[ring])
}

// Refused gives the refused ranges of a ring, in order.
func (c *Cursor) Refused(ring string) []Range {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.refused[ring])
}

// cut takes back what lies above the last survivor of each ring.
func (c *Cursor) cut(last func(ring string) uint64) {
	for _, set := range []map[string]ranges{c.acked, c.refused} {
		for ring, rs := range set {
			if cut := rs.cut(last(ring)); !slices.Equal(cut, rs) {
				set[ring] = cut
				c.dirty = true
			}
		}
	}
}

// row gives the cursor's row if it is not durable yet, and takes it as written.
func (c *Cursor) row() (Row, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return Row{}, false
	}
	c.dirty = false
	if c.dropped {
		return Row{Table: tableCursors, Key: c.name}, true
	}
	return Row{tableCursors, c.name, c.encode()}, true
}

func (c *Cursor) encode() []byte {
	names := make([]string, 0, len(c.acked))
	for ring := range c.acked {
		names = append(names, ring)
	}
	sort.Strings(names)
	b := binary.AppendUvarint([]byte{1}, uint64(len(names)))
	for _, ring := range names {
		b = appendString(b, ring)
		b = c.acked[ring].append(b)
		b = c.refused[ring].append(b)
	}
	return b
}

func decodeCursor(name string, b []byte) (*Cursor, error) {
	c := newCursor(name)
	r := reader{b: b}
	version, n := r.byte(), r.count()
	for range n {
		ring := string(r.bytes())
		c.acked[ring] = readRanges(&r)
		c.refused[ring] = readRanges(&r)
	}
	if r.bad || version != 1 {
		return nil, errCursor
	}
	return c, nil
}

// redo marks rows as not written, after the flush that carried them failed.
func (s *Store) redo(rows []Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		switch c := s.cursors[r.Key]; {
		case r.Table != tableCursors:
		case c != nil:
			c.mu.Lock()
			c.dirty = true
			c.mu.Unlock()
		case r.Value == nil:
			s.leaving = append(s.leaving, &Cursor{name: r.Key, dirty: true, dropped: true})
		}
	}
}

// Cursor gives the cursor of that name.
func (s *Store) Cursor(name string) *Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursors[name]
	if c == nil {
		c = newCursor(name)
		c.rings = s.Rings
		s.cursors[name] = c
	}
	return c
}

// Cursors gives the names of all cursors, sorted.
func (s *Store) Cursors() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]string, 0, len(s.cursors))
	for name := range s.cursors {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// DropCursor forgets a cursor, durably with the next flush or move.
func (s *Store) DropCursor(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursors[name]
	if c == nil {
		return ErrNotFound
	}
	c.mu.Lock()
	c.acked, c.refused = map[string]ranges{}, map[string]ranges{}
	c.dirty, c.dropped = true, true
	c.mu.Unlock()
	delete(s.cursors, name)
	s.leaving = append(s.leaving, c)
	return nil
}

// SkipAll acknowledges all that is stored now.
func (c *Cursor) SkipAll() {
	for _, r := range c.rings() {
		if r.Last > 0 {
			c.Ack(r.Name, Range{1, r.Last})
		}
	}
}

// cursorRows gives the rows of all cursors that moved.
func (s *Store) cursorRows() []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Row
	for _, c := range s.leaving {
		if row, ok := c.row(); ok {
			out = append(out, row)
		}
	}
	s.leaving = nil
	for _, c := range s.cursors {
		if row, ok := c.row(); ok {
			out = append(out, row)
		}
	}
	return out
}
