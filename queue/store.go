package queue

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Store is an open store. Its methods may be called at once from anywhere, but
// Append from one goroutine at a time.
type Store struct {
	opt  Options
	log  *slog.Logger
	lock *os.File

	packer packer

	state *state

	// appendMu makes a flush, and a change of the journal's halves, one thing.
	// oneAppend is held by an Append as a whole; it comes before appendMu.
	oneAppend sync.Mutex
	appendMu  sync.Mutex
	still     sync.Mutex // held by a move, and by who needs the files not to change; comes before appendMu
	halves    [2]*half
	active    int
	plain     int64  // bytes that the flushes of the active half take in the tail
	number    uint64 // of the last flush that was acknowledged
	suspect   bool   // a flush failed: the next one is read back before it counts
	unflushed bool   // the journal could not be flushed at Open
	doubt     doubt  // the last flush that was read then
	started   bool   // state.db says that this run is under way
	running   bool   // and store.json has its copy: flushes may count
	moving    sealed // what waits for its move; of the half that is not active

	mu       sync.RWMutex // guards what follows: what readers see
	about    about
	epochs   []Epoch
	boots    []Boot
	boot     uint32
	rings    map[string]*ring
	limits   map[string]Limits
	fallback Limits
	lastN    uint64
	tail     tail
	rows     overlay
	cursors  map[string]*Cursor
	leaving  []*Cursor // dropped, their rows not written yet
	watches  map[*Watch]struct{}
	open     []*segment // open for reading alone, at most readers
	health   Health
	moveErr  error         // of the last move; nil when it worked
	moved    chan struct{} // closed and made anew when a move ends, well or not

	snapshots map[*Snapshot]struct{} // that were neither closed nor ended

	closed atomic.Bool
	spare  atomic.Int64  // Options.Headroom, as it is now
	kick   chan struct{} // wakes the mover
	wished chan struct{} // a ring that thins asks for it
	asked  chan chan error
	stop   chan struct{}
	wg     sync.WaitGroup // the mover and the salvages

	oneSalvage sync.Mutex // held while a segment is rebuilt; comes before all others
}

// sealed is a journal half on its way to the segments.
type sealed struct {
	half  *half
	to    uint64 // the highest n in it
	flush uint64 // its last flush
	gen   uint32
}

// Health is the state of the store.
type Health struct {
	Err       error         // of the last flush or move that failed; nil when both work
	Full      bool          // a move fails for want of space
	ReadOnly  bool          // the file system is read-only
	Salvaging int           // segments being salvaged
	Unmoved   int           // records that only the journal has
	Free      int64         // bytes free for us on the file system
	Flushes   uint64        // since the start
	Moves     uint64        // since the start
	FlushTime time.Duration // of the last flush
	Written   int64         // bytes that flushes wrote since the start
}

// withDefaults fills what the caller left out.
func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.MoveEvery == 0 {
		o.MoveEvery = time.Minute
	}
	if o.MoveRecords == 0 {
		o.MoveRecords = 10_000
	}
	if o.JournalBytes == 0 {
		o.JournalBytes = 8 << 20
	}
	if o.SegmentEvents == 0 {
		o.SegmentEvents = 1 << 16
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if o.Fault == nil {
		o.Fault = func(string) error { return nil }
	}
	return o
}

func (s *Store) alive() bool { return !s.closed.Load() }

// ID is the store's own id, 32 hex digits: made with the store, kept through
// epochs, new after Renew and on another board.
func (s *Store) ID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.about.ID
}

// Boot is the index of the running boot in the boot table.
func (s *Store) Boot() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.boot
}

// Boots gives the boot table, oldest first.
func (s *Store) Boots() []Boot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]Boot(nil), s.boots...)
}

// NextN is the n that the first entry of the next Append gets.
func (s *Store) NextN() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lastN + 1
}

// NextSeq is the seq that the ring's next entry gets.
func (s *Store) NextSeq(name string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.rings[name]; r != nil {
		return r.last + 1
	}
	return 1
}

// Rings gives the state of all rings, sorted by name.
func (s *Store) Rings() []RingInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]RingInfo, 0, len(s.rings))
	for _, r := range s.rings {
		out = append(out, r.info())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Ring gives the state of one ring.
func (s *Store) Ring(name string) (RingInfo, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.rings[name]
	if r == nil {
		return RingInfo{}, false
	}
	return r.info(), true
}

// SetLimits changes the bounds of all rings; what exceeds them goes with the
// next move, or at once where Keep is lower.
func (s *Store) SetLimits(rings map[string]Limits, fallback Limits) {
	s.mu.Lock()
	s.limits, s.fallback = rings, fallback
	for _, r := range s.rings {
		r.limits = s.limitsOf(r.name)
		r.keepExact()
	}
	s.mu.Unlock()
	s.wake()
}

// SetHeadroom changes Options.Headroom; segments that are to go for it go with the
// next move.
func (s *Store) SetHeadroom(bytes int64) {
	s.spare.Store(bytes)
	s.wake()
}

func (s *Store) limitsOf(name string) Limits {
	if l, ok := s.limits[name]; ok {
		return l
	}
	return s.fallback
}

// DeleteRing takes all records out of a ring; they become a hole. Numbers go on
// if the ring is used again. It returns once it is durable.
func (s *Store) DeleteRing(name string) error {
	s.mu.Lock()
	r := s.rings[name]
	if r == nil {
		s.mu.Unlock()
		return ErrNotFound
	}
	r.raise(r.last, Evicted)
	s.mu.Unlock()
	return s.Move()
}

// ringNamed gives the ring, made if need be. s.mu must be held for writing.
func (s *Store) ringNamed(name string) *ring {
	r := s.rings[name]
	if r == nil {
		r = &ring{name: name, dir: filepath.Join(s.opt.Dir, "rings", name), limits: s.limitsOf(name), asked: s.wished, log: s.log}
		s.rings[name] = r
	}
	return r
}

// Health tells how the store is.
func (s *Store) Health() Health {
	_, free, err := diskSpace(s.opt.Dir)
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.health
	h.Unmoved = len(s.tail.entries)
	if err == nil {
		h.Free = free
	}
	return h
}

// Watch tells that records have become readable: C gets a token after a flush,
// and one token stands for any number of flushes.
type Watch struct {
	C     <-chan struct{}
	c     chan struct{}
	store *Store
}

// Watch begins to watch; Stop ends it.
func (s *Store) Watch() *Watch {
	c := make(chan struct{}, 1)
	w := &Watch{C: c, c: c, store: s}
	s.mu.Lock()
	s.watches[w] = struct{}{}
	s.mu.Unlock()
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.store.mu.Lock()
	delete(w.store.watches, w)
	w.store.mu.Unlock()
}

// tell gives each watch its token. s.mu must be held.
func (s *Store) tell() {
	for w := range s.watches {
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
