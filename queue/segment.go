package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A segment is one bbolt file of a ring's folder, named by its first seq. Its
// bucket "blocks" holds blocks by their first seq, big endian, and "meta" one
// row that sums them up.
const (
	segmentSuffix = ".seg"
	segmentV1     = 1
)

var (
	bucketBlocks = []byte("blocks")
	bucketMeta   = []byte("meta")
	keySum       = []byte("sum")
)

// sum is what a segment notes about itself.
type sum struct {
	ring        string
	first, last uint64 // seqs; last 0 while it is empty
	firstN      uint64
	lastN       uint64
	bytes       uint64 // of block values
	from, to    Stamp
}

// begin is the n of the first record, or the highest there can be.
func (s *sum) begin() uint64 {
	if s.last == 0 {
		return ^uint64(0)
	}
	return s.firstN
}

func (s *sum) encode() []byte {
	b := []byte{segmentV1}
	b = appendString(b, s.ring)
	for _, v := range []uint64{s.first, s.last, s.firstN, s.lastN, s.bytes, uint64(s.from.Boot), uint64(s.from.Mono), uint64(s.to.Boot), uint64(s.to.Mono)} {
		b = binary.AppendUvarint(b, v)
	}
	return seal(bucketMeta, keySum, b)
}

func (s *sum) decode(stored []byte) error {
	b, ok := unseal(bucketMeta, keySum, stored)
	if !ok {
		return fmt.Errorf("read segment: %w", errDamaged)
	}
	r := reader{b: b}
	if v := r.byte(); !r.bad && v > segmentV1 {
		return ErrNewer
	}
	s.ring = string(r.bytes())
	var from, to [2]uint64
	for _, p := range []*uint64{&s.first, &s.last, &s.firstN, &s.lastN, &s.bytes, &from[0], &from[1], &to[0], &to[1]} {
		*p = r.uvarint()
	}
	s.from = Stamp{uint32(from[0]), int64(from[1])}
	s.to = Stamp{uint32(to[0]), int64(to[1])}
	if r.bad {
		return fmt.Errorf("read segment: %w", errDamaged)
	}
	return nil
}

// segment is one file of a ring, open or not. Its ring holds it in order.
type segment struct {
	path  string
	first uint64

	mu     sync.Mutex // guards what follows
	db     *bolt.DB
	write  bool // open for writing
	users  int
	gone   bool // unlinked, or the store is closed: closed with its last user
	full   bool // a newer one is behind it: closed for writing with its last user
	doomed bool // it is being salvaged: nobody opens it any more
	sum    sum
	known  bool // sum was read
	sound  bool // its pages were inspected, or made by this run
	doubt  bool // a commit failed: what memory has of the file may not be on the disk

	size atomic.Int64 // on disk, once it is written no more; 0: not asked yet

	ended bool // a snapshot has it: what comes next begins another one; Store.still guards it

	salvage  chan struct{} // not nil while it is being salvaged; closed after
	salvaged bool          // it was written by a salvage
}

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", first, segmentSuffix))
}

// segmentFirst is the seq that a segment's file name tells.
func segmentFirst(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

// open opens the file if it is not, and counts a user. A missing, empty or
// broken file is errDamaged.
func (s *segment) open(write bool, mapped int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return os.ErrNotExist
	}
	if s.doomed {
		return fmt.Errorf("open segment %s: %w", filepath.Base(s.path), errDoomed)
	}
	if s.db != nil && write && (!s.write || s.doubt) {
		if s.users > 0 {
			return fmt.Errorf("open segment for writing: %d readers have it open: %w", s.users, errBusy)
		}
		s.closeLocked()
	}
	if s.db == nil && write && s.doubt {
		if err := writeAnew(s.path); err != nil {
			return err
		}
		s.doubt = false
	}
	if s.db == nil {
		if err := s.openLocked(write, mapped); err != nil {
			return err
		}
	}
	s.users++
	return nil
}

var (
	errBusy   = errors.New("in use")
	errDoomed = fmt.Errorf("it is being salvaged: %w", errDamaged)
)

// openToWrite opens the file for writing; it waits for its readers, who are short.
func (s *segment) openToWrite(mapped int64) error {
	err := s.open(true, mapped)
	for try := 0; errors.Is(err, errBusy) && try < 1000; try++ {
		time.Sleep(time.Millisecond)
		err = s.open(true, mapped)
	}
	return err
}

// learn inspects a segment that this run has not written to, and reads its sum.
func (s *segment) learn(mapped int64) error {
	s.mu.Lock()
	known, sound := s.known, s.sound
	s.mu.Unlock()
	if !sound {
		if err := inspect(s.path); err != nil {
			return err
		}
		s.mu.Lock()
		s.sound = true
		s.mu.Unlock()
	}
	if known {
		return nil
	}
	if err := s.openToWrite(mapped); err != nil {
		return err
	}
	s.release()
	return nil
}

func (s *segment) openLocked(write bool, mapped int64) error {
	st, err := os.Stat(s.path)
	switch {
	case err == nil && st.Size() == 0:
		return fmt.Errorf("open segment %s: empty: %w", filepath.Base(s.path), errDamaged)
	case errors.Is(err, os.ErrNotExist) && !write:
		return fmt.Errorf("open segment %s: missing: %w", filepath.Base(s.path), errDamaged)
	}
	opt := &bolt.Options{Timeout: time.Second, PageSize: blockSize, FreelistType: bolt.FreelistArrayType, ReadOnly: !write}
	if write {
		opt.InitialMmapSize = int(mapped) // so that growing never waits for a reader
	}
	var db *bolt.DB
	err = guard(func() (err error) {
		db, err = bolt.Open(s.path, 0o600, opt)
		return err
	})
	if err != nil {
		return openError("segment", s.path, err)
	}
	db.AllocSize = 1 << 20
	s.db, s.write = db, write
	if err := s.readSum(); err != nil {
		s.closeLocked()
		return err
	}
	return nil
}

// openError tells a broken file from one that can't be opened now. A sector that
// can't be read is damage like any other.
func openError(what, path string, err error) error {
	var errno interface{ Temporary() bool }
	if broken := errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EUCLEAN); !broken && errors.As(err, &errno) || errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("open %s %s: %w", what, filepath.Base(path), err)
	}
	return fmt.Errorf("open %s %s: %w: %v", what, filepath.Base(path), errDamaged, err)
}

// readSum reads the segment's sum; a file without one is empty or damaged.
func (s *segment) readSum() error {
	return guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketMeta)
			if b == nil {
				if tx.Size() <= 4*blockSize && tx.Bucket(bucketBlocks) == nil { // made, and nothing committed yet
					s.sum, s.known = sum{first: s.first}, true
					return nil
				}
				return fmt.Errorf("open segment %s: no sum: %w", filepath.Base(s.path), errDamaged)
			}
			if err := s.sum.decode(b.Get(keySum)); err != nil {
				return err
			}
			s.known = true
			return nil
		})
	})
}

// unborn reports whether the file is one that a stop or a full disk left while it
// was being made: bbolt begins one with four pages, and no commit came after.
func (s *segment) unborn() bool {
	st, err := os.Stat(s.path)
	return err == nil && st.Size() <= 4*blockSize
}

// release ends one use of the segment.
func (s *segment) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users == 0 && (s.gone || s.full && s.write) {
		s.closeLocked()
	}
}

// retire closes a segment that is written no more, once nobody reads it.
func (s *segment) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = true
	if s.users == 0 {
		s.closeLocked()
	}
}

func (s *segment) closeLocked() {
	if s.db == nil {
		return
	}
	db := s.db
	s.db, s.write = nil, false
	closeFile(db)
}

// idle closes the segment if nobody uses it.
func (s *segment) idle() { s.unused() }

// doom sees that nobody opens the segment any more, and closes it if nobody uses
// it; it reports whether that is so.
func (s *segment) doom() bool {
	s.mu.Lock()
	s.doomed = true
	s.mu.Unlock()
	return s.unused()
}

// unused closes the segment if nobody uses it, and reports whether that is so.
func (s *segment) unused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		s.closeLocked()
	}
	return s.users == 0
}

// shut closes the segment for good, with its last user.
func (s *segment) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if s.users == 0 {
		s.closeLocked()
	}
}

// disk is what the file takes on the disk. Only the newest segment changes.
func (s *segment) disk(newest bool) int64 {
	if size := s.size.Load(); size > 0 && !newest {
		return size
	}
	size := diskUse(s.path)
	if !newest {
		s.size.Store(size)
	}
	return size
}

// remove unlinks the file; readers that have it open go on.
func (s *segment) remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if s.users == 0 {
		s.closeLocked()
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("evict segment: %w", err)
	}
	return nil
}

// summary gives the segment's sum as far as it is known.
func (s *segment) summary() sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum
}
