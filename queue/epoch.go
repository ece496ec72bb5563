package queue

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"io"
	"maps"

	bolt "go.etcd.io/bbolt"
)

// Epoch is the present epoch.
func (s *Store) Epoch() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.epochs[len(s.epochs)-1].ID
}

// Epochs gives the epoch table, oldest first.
func (s *Store) Epochs() []Epoch {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Epoch, len(s.epochs))
	for i, e := range s.epochs {
		e.Rings = maps.Clone(e.Rings)
		out[i] = e
	}
	return out
}

// epochIDs are the epochs, oldest first. s.mu must be held, or Open run.
func (s *Store) epochIDs() []uint32 {
	ids := make([]uint32, len(s.epochs))
	for i := range s.epochs {
		ids[i] = s.epochs[i].ID
	}
	return ids
}

// EpochOf is the epoch that a seq of a ring belongs to.
func (s *Store) EpochOf(name string, seq uint64) uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, _ := s.epochOf(name, seq)
	return e
}

// epochOf gives the epoch of a seq, and the last seq of that epoch, or the
// highest there is. s.mu must be held.
func (s *Store) epochOf(name string, seq uint64) (epoch uint32, last uint64) {
	last = ^uint64(0)
	for i := len(s.epochs) - 1; i >= 0; i-- {
		e := &s.epochs[i]
		first, ok := e.Rings[name]
		if !ok && i == len(s.epochs)-1 { // a ring is in the table from the next epoch on
			first, ok = 1, true
		}
		if !ok {
			continue
		}
		epoch = e.ID
		if first <= seq {
			return epoch, last
		}
		last = first - 1
	}
	return epoch, last
}

// Locate gives the n to read on after from a position of a known epoch: the
// position's own n where that survived; else the reader begins with the next
// epoch, and reset is true. An epoch that the store does not know is ErrNotFound.
func (s *Store) Locate(epoch uint32, n uint64) (at uint64, reset bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, e := range s.epochs {
		if e.ID != epoch {
			continue
		}
		if i == len(s.epochs)-1 || n <= e.Last {
			return min(n, s.lastN), n > s.lastN, nil
		}
		return s.epochs[i+1].First - 1, true, nil
	}
	return 0, true, ErrNotFound
}

// LocateSeq does the same for a position in one ring.
func (s *Store) LocateSeq(name string, epoch uint32, seq uint64) (at uint64, reset bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	last := uint64(0)
	if r := s.rings[name]; r != nil {
		last = r.last
	}
	for i, e := range s.epochs {
		if e.ID != epoch {
			continue
		}
		for _, later := range s.epochs[i+1:] {
			if first, ok := later.Rings[name]; ok && seq >= first {
				return first - 1, true, nil
			}
		}
		return min(seq, last), seq > last, nil
	}
	return 0, true, ErrNotFound
}

// beginEpoch puts a new epoch into the table and cuts what was acknowledged
// above the highest survivors. Nothing is numbered yet.
func (s *Store) beginEpoch(why string) {
	e := Epoch{ID: s.random32(), First: s.lastN + 1, Why: why, Rings: map[string]uint64{}}
	for _, old := range s.epochs {
		if old.ID == e.ID || e.ID == 0 {
			e.ID = s.random32()
		}
	}
	for name, r := range s.rings {
		e.Rings[name] = r.last + 1
		if k := len(s.epochs); k > 0 {
			if _, ok := s.epochs[k-1].Rings[name]; !ok && r.last > 0 {
				s.epochs[k-1].Rings[name] = 1
			}
		}
	}
	if k := len(s.epochs); k > 0 {
		s.epochs[k-1].Last = s.lastN
	}
	s.epochs = append(s.epochs, e)
	for _, c := range s.cursors {
		c.cut(func(name string) uint64 {
			if r := s.rings[name]; r != nil {
				return r.last
			}
			return 0
		})
	}
}

// cutRows takes back what rows tell of numbers that did not survive: mailboxes
// move down, idempotency keys go.
func (s *Store) cutRows(tx *bolt.Tx) error {
	bucket := bucketOf(tableMailboxes)
	if b := tx.Bucket(bucket); b != nil {
		c := b.Cursor()
		for k, stored := c.First(); k != nil; k, stored = c.Next() {
			v, ok := unseal(bucket, k, stored)
			if !ok || len(v) < 8 || binary.BigEndian.Uint64(v) <= s.lastN {
				continue
			}
			k = append([]byte(nil), k...)
			cut := append(binary.BigEndian.AppendUint64(nil, s.lastN), v[8:]...)
			if err := b.Put(k, seal(bucket, k, cut)); err != nil {
				return err
			}
		}
	}
	bucket = bucketOf(tableIdempotency)
	b := tx.Bucket(bucket)
	if b == nil {
		return nil
	}
	var gone [][]byte
	c := b.Cursor()
	for k, stored := c.First(); k != nil; k, stored = c.Next() {
		if v, ok := unseal(bucket, k, stored); !ok || len(v) >= 8 && binary.BigEndian.Uint64(v) > s.lastN {
			gone = append(gone, append([]byte(nil), k...))
		}
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) random32() uint32 {
	var b [4]byte
	s.random(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (s *Store) randomID() string {
	var b [16]byte
	s.random(b[:])
	return hex.EncodeToString(b[:])
}

// random fills b with what ids are made of.
func (s *Store) random(b []byte) {
	from := s.opt.Rand
	if from == nil {
		from = rand.Reader
	}
	if _, err := io.ReadFull(from, b); err != nil {
		_, _ = rand.Read(b) // which never fails
	}
}
