package queue

import (
	"errors"
	"fmt"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// filler puts records into a ring's newest segment, and rolls to a new one when
// it is full. It belongs to the mover.
type filler struct {
	dir     string // the ring's folder
	ring    string
	packer  packer
	events  int
	bytes   int64
	mapped  int64 // the address space of an open segment
	fault   func(string) error
	newest  func() *segment              // the ring's newest segment, or nil
	rolled  func(first uint64) *segment  // adds one behind it
	told    func(from, to uint64) bool   // what the newest need not have; nil: it is all there
	dropped func(*segment)               // takes it back, nothing having been stored in it
	old     func(began, next Stamp) bool // it spans time enough; nil: never
	scratch []byte
}

// put writes records, which are consecutive in seq, in as few transactions as
// the segments allow. What an earlier try has stored already is passed over.
func (f *filler) put(epochs []uint32, records []stored) error {
	for len(records) > 0 {
		seg := f.newest()
		if seg != nil { // after a start nobody may have looked into it yet
			if err := seg.learn(f.mapped); err != nil {
				return err
			}
			if last := seg.summary().last; last > 0 && last+1 < records[0].seq && f.told != nil && !f.told(last+1, records[0].seq-1) {
				return fmt.Errorf("segment %s ends at %d, and %d comes next: %w", filepath.Base(seg.path), last, records[0].seq, errDamaged)
			}
		}
		if seg == nil || f.isFull(seg, &records[0]) {
			var err error
			if seg, err = f.roll(records[0].seq); err != nil {
				return err
			}
		}
		done, err := f.putInto(seg, epochs, records)
		if err != nil {
			return err
		}
		records, epochs = records[done:], epochs[done:]
	}
	return nil
}

// isFull reports whether the next record belongs into a new segment: the count
// or bytes are reached, it spans time enough, a snapshot has it, or a jump in seq
// would make it span more seqs than it may hold records.
func (f *filler) isFull(seg *segment, next *stored) bool {
	sum := seg.summary()
	if sum.last == 0 { // made for a record that was gone before it was moved
		return next.seq != seg.first
	}
	if seg.ended && next.seq > sum.last {
		return true
	}
	return next.seq > sum.last && next.seq-seg.first >= uint64(f.events) || int64(sum.bytes) >= f.bytes*15/16 || f.old != nil && f.old(sum.from, next.stamp)
}

func (f *filler) roll(first uint64) (*segment, error) {
	if old := f.newest(); old != nil {
		old.retire()
	}
	if err := f.fault("segment create"); err != nil {
		return nil, err
	}
	return f.rolled(first), nil
}

// putInto writes as many records as fit into one segment, in one transaction.
func (f *filler) putInto(seg *segment, epochs []uint32, records []stored) (done int, err error) {
	if err := seg.openToWrite(f.mapped); err != nil {
		return 0, f.notOpened(seg, err)
	}
	defer seg.release()
	now := seg.summary()
	fresh := now.last == 0
	for done < len(records) && records[done].seq <= now.last { // a second replay
		done++
	}
	if done == len(records) {
		return done, nil
	}
	err = f.fault("segment commit")
	if err == nil {
		err = f.commit(seg, &now, epochs, records, &done)
	}
	if err != nil {
		seg.mu.Lock()
		seg.doubt = seg.doubt || distrusted(err)
		if seg.users == 1 { // what a failed commit left in the cache is not to be trusted
			seg.closeLocked()
		}
		seg.mu.Unlock()
		if fresh {
			f.dropped(seg)
		}
		return 0, fmt.Errorf("write segment %s of ring %q: %w", filepath.Base(seg.path), f.ring, err)
	}
	if fresh {
		if err := SyncFolder(f.dir); err != nil {
			return 0, err
		}
	}
	seg.mu.Lock()
	seg.sum = now
	seg.mu.Unlock()
	return done, nil
}

// notOpened takes a segment back that could not be opened and that nothing was
// stored in: a full disk lets a file be made and not filled, which is no damage.
func (f *filler) notOpened(seg *segment, err error) error {
	if seg.summary().last > 0 {
		return err
	}
	f.dropped(seg)
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("make segment of ring %q: %v", f.ring, err)
	}
	return err
}

// commit writes records from done on, in one transaction, and moves done and now.
func (f *filler) commit(seg *segment, now *sum, epochs []uint32, records []stored, done *int) error {
	return guard(func() error {
		return seg.db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketBlocks)
			if err != nil {
				return err
			}
			b.FillPercent = 1
			meta, err := tx.CreateBucketIfNotExists(bucketMeta)
			if err != nil {
				return err
			}
			n, err := f.putBlocks(b, now, seg.first, epochs[*done:], records[*done:])
			if err != nil {
				return err
			}
			*done += n
			now.ring = f.ring
			return meta.Put(keySum, now.encode())
		})
	})
}

// putBlocks fills the last block and goes on with new ones, until the records
// end or the segment is full.
func (f *filler) putBlocks(b *bolt.Bucket, now *sum, first uint64, epochs []uint32, records []stored) (done int, err error) {
	open := f.lastBlock(b, now, epochs[0], records[0].seq)
	for done < len(records) && records[done].seq-first < uint64(f.events) && int64(now.bytes) < f.bytes*15/16 {
		if open == nil {
			open = &block{epoch: epochs[done]}
		}
		size := dataHeader
		for _, r := range open.records {
			size += len(r.data) + 16
		}
		for done < len(records) && len(open.records) < blockRecords && epochs[done] == open.epoch && records[done].seq-first < uint64(f.events) {
			r := records[done]
			if k := len(open.records); k > 0 && (size+len(r.data) > blockBytes || r.seq != open.records[k-1].seq+1) {
				break
			}
			open.records = append(open.records, r)
			size += len(r.data) + 16
			done++
		}
		var value []byte // bbolt keeps it until the commit
		value, f.scratch = appendBlock(nil, f.scratch, open, f.packer)
		if err := b.Put(seqKey(open.first()), value); err != nil {
			return done, err
		}
		if now.last == 0 {
			now.firstN, now.from = open.records[0].n, open.records[0].stamp
		}
		last := open.records[len(open.records)-1]
		now.last, now.lastN, now.to = last.seq, last.n, last.stamp
		now.bytes += uint64(len(value))
		open = nil
	}
	return done, nil
}

// lastBlock gives the segment's last block where the next record belongs into it.
func (f *filler) lastBlock(b *bolt.Bucket, now *sum, epoch uint32, seq uint64) *block {
	k, v := b.Cursor().Last()
	if k == nil {
		return nil
	}
	blk, err := copyBlock(k, v, f.packer)
	if err != nil || blk.epoch != epoch || blk.last()+1 != seq || len(blk.records) >= blockRecords || len(v) >= blockBytes*3/4 {
		return nil
	}
	now.bytes -= min(now.bytes, uint64(len(v)))
	return blk
}
