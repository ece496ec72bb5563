package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// state is state.db: everything but the records. Rows of tables lie in a bucket
// "t.<table>" each.
type state struct {
	path  string
	fault func(string) error

	mu       sync.RWMutex // guards db against being opened anew
	db       *bolt.DB
	closed   bool // by us, for good
	doubt    bool // a commit failed: what memory has of the file may not be on the disk
	readOnly bool
}

// about is what state.db says of the store as a whole.
type about struct {
	Format   int    `json:"format"`
	ID       string `json:"id"`
	Serial   string `json:"serial"`
	Boot     string `json:"boot"`     // of the run that wrote last
	Clean    bool   `json:"clean"`    // that run ended with Close
	Consumed uint32 `json:"consumed"` // journal generations up to here are in segments
	Flush    uint64 `json:"flush"`    // the last flush of those

	// Renewed: this is a copy of another store, and nothing was opened since: see Renew.
	Renewed bool `json:"renewed,omitempty"`

	// Rows is how many rows each bucket below has, so that one that damage took out
	// of its page is missed.
	Rows map[string]int `json:"rows"`
}

// ringMark is what state.db says of one ring.
type ringMark struct {
	Last  uint64 `json:"last"` // the highest seq that was moved, or evicted unmoved
	LastN uint64 `json:"last_n"`
	Floor uint64 `json:"floor"` // all up to here is gone
}

// snapshot is all of state.db that is kept in memory.
type snapshot struct {
	about  about
	epochs []Epoch
	boots  []Boot
	rings  map[string]ringMark
	holes  map[string]spans
}

// storeFormat is 2 since rows have checksums: see upgrade.
const storeFormat = 2

var (
	bucketStore  = []byte("store")
	bucketEpochs = []byte("epochs")
	bucketBoots  = []byte("boots")
	bucketRings  = []byte("rings")
	bucketHoles  = []byte("holes")
	keyAbout     = []byte("about")
)

// stateMapped is the address space of state.db, so that growing does not wait for
// who copies it. It is several times what it gets to with all tables full.
const stateMapped = 32 << 20

// stateGrows is how much state.db grows at once, which costs a flush.
const stateGrows = 64 << 10

func openState(path string, fault func(string) error) (*state, error) {
	s := &state{path: path, fault: fault}
	s.doubt = trueToDisk(path) != nil // as the last run may have left it after a failed flush
	return s, s.open()
}

func (s *state) open() error {
	st, err := os.Stat(s.path)
	if err == nil && st.Size() == 0 {
		return fmt.Errorf("open state.db: empty: %w", errDamaged)
	}
	opt := &bolt.Options{Timeout: time.Second, PageSize: blockSize, FreelistType: bolt.FreelistMapType, InitialMmapSize: stateMapped}
	err = guard(func() (err error) {
		s.db, err = bolt.Open(s.path, 0o600, opt)
		return err
	})
	s.readOnly = false
	if errors.Is(err, syscall.EROFS) {
		opt.ReadOnly, s.readOnly = true, true
		err = guard(func() (err error) {
			s.db, err = bolt.Open(s.path, 0o600, opt)
			return err
		})
	}
	if err != nil {
		return openError("store's", s.path, err)
	}
	s.db.AllocSize = stateGrows
	return nil
}

// peek opens a file that does not open for writing: that reads the list of free
// pages too, which may be all that is damaged.
func (s *state) peek() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil || s.closed {
		return
	}
	_ = guard(func() (err error) {
		s.db, err = bolt.Open(s.path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true})
		return err
	})
}

func (s *state) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	return guard(db.Close)
}

// view runs a read transaction. fn must not call the store.
func (s *state) view(fn func(*bolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	return guard(func() error { return s.db.View(fn) })
}

// commit runs a write transaction. After a failure the file is opened anew,
// since what a failed flush left in the cache is not to be trusted.
func (s *state) commit(fn func(*bolt.Tx) error) error {
	if err := s.fault("state commit"); err != nil {
		return err
	}
	if err := s.reopen(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.db == nil {
		s.mu.RUnlock()
		return ErrClosed
	}
	var err error
	if s.readOnly {
		err = syscall.EROFS
	} else {
		err = guard(func() error { return s.db.Update(fn) })
	}
	s.mu.RUnlock()
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubt = s.doubt || distrusted(err)
	if s.db != nil {
		closeFile(s.db)
		s.db = nil
		if again := s.open(); again != nil {
			s.db = nil
			return fmt.Errorf("write state.db: %w; then %v", err, again)
		}
	}
	return fmt.Errorf("write state.db: %w", err)
}

// reopen opens the file where that failed after a commit that failed, and before
// the next commit puts what the disk has in its place.
func (s *state) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var doubt error
	if s.doubt {
		if s.db != nil {
			closeFile(s.db)
			s.db = nil
		}
		doubt = writeAnew(s.path)
		s.doubt = doubt != nil
	}
	if s.db == nil {
		if err := s.open(); err != nil {
			s.db = nil
			return err
		}
	}
	return doubt
}

// load reads what is kept in memory. A file without a store in it is new.
func (s *state) load() (snapshot, error) {
	snap := snapshot{rings: map[string]ringMark{}, holes: map[string]spans{}}
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketStore)
		if b == nil {
			return nil
		}
		text, ok := unseal(bucketStore, keyAbout, b.Get(keyAbout))
		if !ok || json.Unmarshal(text, &snap.about) != nil {
			return fmt.Errorf("read state.db: %s: %w", keyAbout, errDamaged)
		}
		if snap.about.Format > storeFormat {
			return ErrNewer
		}
		if err := eachRow(tx, bucketEpochs, func(_, v []byte) error {
			var e Epoch
			err := json.Unmarshal(v, &e)
			snap.epochs = append(snap.epochs, e)
			return err
		}); err != nil {
			return err
		}
		if err := eachRow(tx, bucketBoots, func(k, v []byte) error {
			snap.boots = append(snap.boots, Boot{binary.BigEndian.Uint32(k), string(v)})
			return nil
		}); err != nil {
			return err
		}
		if err := eachRow(tx, bucketRings, func(k, v []byte) error {
			var m ringMark
			err := json.Unmarshal(v, &m)
			snap.rings[string(k)] = m
			return err
		}); err != nil {
			return err
		}
		if err := eachRow(tx, bucketHoles, func(k, v []byte) (err error) {
			snap.holes[string(k)], err = decodeSpans(v)
			return err
		}); err != nil {
			return err
		}
		for bucket, n := range snap.about.Rows {
			if have := rowsOf(tx, []byte(bucket)); have != n {
				return fmt.Errorf("read state.db: %d rows of %d in %s: %w", have, n, bucket, errDamaged)
			}
		}
		return nil
	})
	return snap, err
}

// counted are the buckets whose rows about counts.
func counted() [][]byte { return [][]byte{bucketEpochs, bucketBoots, bucketRings, bucketHoles} }

// rowsOf counts a bucket's rows.
func rowsOf(tx *bolt.Tx, bucket []byte) (n int) {
	b := tx.Bucket(bucket)
	if b == nil {
		return 0
	}
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	return n
}

// eachRow walks a bucket; a row that can't be read is damage.
func eachRow(tx *bolt.Tx, bucket []byte, fn func(k, v []byte) error) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, stored []byte) error {
		v, ok := unseal(bucket, k, stored)
		if !ok {
			return fmt.Errorf("read state.db: %s: %w", bucket, errDamaged)
		}
		if err := fn(k, v); err != nil {
			return fmt.Errorf("read state.db: %s: %w: %v", bucket, errDamaged, err)
		}
		return nil
	})
}

// putAbout, putEpochs, putBoots, putRing and putHoles write their part of a
// snapshot inside a commit. putAbout comes last: it counts what the others wrote.
func putAbout(tx *bolt.Tx, a about) error {
	a.Rows = make(map[string]int)
	for _, bucket := range counted() {
		a.Rows[string(bucket)] = rowsOf(tx, bucket)
	}
	return putJSON(tx, bucketStore, keyAbout, a)
}

func putEpochs(tx *bolt.Tx, epochs []Epoch) error {
	for i, e := range epochs {
		if err := putJSON(tx, bucketEpochs, binary.BigEndian.AppendUint32(nil, uint32(i)), e); err != nil {
			return err
		}
	}
	return nil
}

func putBoots(tx *bolt.Tx, boots []Boot) error {
	for _, boot := range boots {
		if err := putSealed(tx, bucketBoots, binary.BigEndian.AppendUint32(nil, boot.Index), []byte(boot.ID)); err != nil {
			return err
		}
	}
	return nil
}

func putRing(tx *bolt.Tx, name string, m ringMark) error {
	return putJSON(tx, bucketRings, []byte(name), m)
}

func putHoles(tx *bolt.Tx, name string, h spans) error {
	return putSealed(tx, bucketHoles, []byte(name), h.encode())
}

func putJSON(tx *bolt.Tx, bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return putSealed(tx, bucket, key, text)
}

func putSealed(tx *bolt.Tx, bucket, key, value []byte) error {
	b, err := tx.CreateBucketIfNotExists(bucket)
	if err != nil {
		return err
	}
	return b.Put(key, seal(bucket, key, value))
}

// bucketOf is the bucket of a table.
func bucketOf(table string) []byte { return []byte("t." + table) }

// putRow writes one row of a table inside a commit.
func putRow(tx *bolt.Tx, table, key string, value []byte) error {
	bucket := bucketOf(table)
	if value != nil {
		return putSealed(tx, bucket, []byte(key), value)
	}
	b, err := tx.CreateBucketIfNotExists(bucket)
	if err != nil {
		return err
	}
	return b.Delete([]byte(key))
}

func putRows(tx *bolt.Tx, rows []Row) error {
	for _, r := range rows {
		if err := putRow(tx, r.Table, r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
}
