package queue

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// seqKey is a block's key.
func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// readBytes ends one read of a segment: records may be large, and their reader
// may want few of them.
const readBytes = 256 << 10

// read gives at most records from seq on, and the first seq behind what it
// looked at. Blocks that are damaged are passed over: the caller sees the jump.
// The segment must be open.
func (s *segment) read(seq uint64, records int, pk packer) (out []Record, next uint64, err error) {
	next = seq
	err = guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketBlocks)
			if b == nil {
				return nil
			}
			c := b.Cursor()
			k, v := seekBlock(c, seq)
			for held := 0; k != nil && len(out) < records && held < readBytes; k, v = c.Next() {
				blk, err := copyBlock(k, v, pk)
				if err != nil {
					if errors.Is(err, ErrNewer) {
						return err
					}
					continue
				}
				for i := range blk.records {
					r := &blk.records[i]
					if r.seq < seq || len(out) >= records {
						continue
					}
					out = append(out, Record{Epoch: blk.epoch, N: r.n, Seq: r.seq, Stamp: r.stamp, Data: r.data})
					next = r.seq + 1
					held += len(r.data)
				}
			}
			return nil
		})
	})
	return out, next, err
}

// seekBlock finds the block that holds seq, or the one behind it.
func seekBlock(c *bolt.Cursor, seq uint64) (k, v []byte) {
	k, v = c.Seek(seqKey(seq))
	if k != nil && binary.BigEndian.Uint64(k) == seq {
		return k, v
	}
	pk, pv := c.Prev()
	if k == nil && pk == nil {
		pk, pv = c.Last()
	}
	if pk != nil {
		if first, count, _, ok := blockRange(pv); ok && first+uint64(count) > seq {
			return pk, pv
		}
	}
	return c.Seek(seqKey(seq))
}

// copyBlock decodes a block out of the map, which it must not point into.
func copyBlock(k, v []byte, pk packer) (*block, error) {
	if len(v) > 9 && v[9] == codecPlain { // else it is decompressed, and so a copy
		v = append([]byte(nil), v...)
	}
	blk, err := parseBlockValue(v, pk)
	if err != nil {
		return nil, err
	}
	if len(k) != 8 || binary.BigEndian.Uint64(k) != blk.first() {
		return nil, errBlock
	}
	return blk, nil
}

// after gives the lowest seq whose record may have an n above n, or last+1.
// Blocks are in the order of n as well as of seq. The segment must be open.
func (s *segment) after(n uint64, pk packer) (seq uint64, err error) {
	err = guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketBlocks).Cursor()
			sum := s.summary()
			seq = sum.first
			lo, hi := sum.first, sum.last+1
			var at []byte // the last block known to begin at or below n
			for lo < hi {
				mid := lo + (hi-lo)/2
				k, v := seekBlock(c, mid)
				for k != nil && !intact(k, v) && binary.BigEndian.Uint64(k) >= lo { // damaged: ask the one before it
					k, v = c.Prev()
				}
				if k == nil || binary.BigEndian.Uint64(k) >= hi || binary.BigEndian.Uint64(k) < lo {
					if k != nil && binary.BigEndian.Uint64(k) < lo {
						lo = mid + 1
					} else {
						hi = mid
					}
					continue
				}
				first, count, firstN, _ := blockRange(v)
				if firstN > n {
					hi = min(mid, first)
					continue
				}
				at = append(at[:0], k...)
				lo = max(mid+1, first+uint64(count))
			}
			if at == nil {
				return nil
			}
			_, v := c.Seek(at)
			if k, next := c.Next(); k != nil && intact(k, next) {
				if _, _, firstN, _ := blockRange(next); firstN <= n {
					return fmt.Errorf("the block behind %d begins at or below n %d: %w", binary.BigEndian.Uint64(at), n, errDamaged)
				}
			}
			blk, err := copyBlock(at, v, pk)
			if err != nil {
				seq = binary.BigEndian.Uint64(at)
				return nil
			}
			seq = blk.last() + 1
			for _, r := range blk.records {
				if r.n > n {
					seq = r.seq
					break
				}
			}
			return nil
		})
	})
	return seq, err
}

// intact reports whether a block's checksum holds and its key is its own.
func intact(k, v []byte) bool {
	length, ok := blockFrame(v)
	first, _, _, _ := blockRange(v)
	return ok && length == len(v) && len(k) == 8 && binary.BigEndian.Uint64(k) == first
}
