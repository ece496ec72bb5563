package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// Open opens the store in opt.Dir, or makes one. It does not wait for a salvage
// or a move: those go on in the background. ErrNewer and ErrLocked refuse it.
func Open(opt Options) (*Store, error) {
	opt = opt.withDefaults()
	if err := os.MkdirAll(filepath.Join(opt.Dir, "rings"), 0o700); err != nil && !errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("make store: %w", err)
	}
	if _, err := os.Stat(filepath.Join(opt.Dir, "store.json")); errors.Is(err, os.ErrNotExist) {
		syncAbove(opt.Dir, opt.Log)
	}
	id, err := readIdentity(opt.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(opt.Dir)
	if err != nil {
		return nil, err
	}
	left, _ := filepath.Glob(filepath.Join(opt.Dir, signOfLife)) // the pattern is good
	for _, path := range left {
		_ = os.Remove(path) // best effort: it is in nobody's way
	}
	press, err := newPress()
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{opt: opt, log: opt.Log, lock: lock, packer: packer{opt.Codec, press}, limits: opt.Rings, fallback: opt.Default,
		rings: map[string]*ring{}, rows: overlay{}, cursors: map[string]*Cursor{}, watches: map[*Watch]struct{}{}, snapshots: map[*Snapshot]struct{}{},
		moved: make(chan struct{}), kick: make(chan struct{}, 1), wished: make(chan struct{}, 1), asked: make(chan chan error), stop: make(chan struct{})}
	s.spare.Store(opt.Headroom)
	if err := s.recover(id); err != nil {
		s.abandon()
		return nil, err
	}
	active, other := s.halves[s.active], s.halves[1-s.active] // before a mover may turn them
	s.wg.Add(2)
	go s.mover()
	go s.prewriter(active, other)
	return s, nil
}

// recovery is what Open finds out about how the last run ended.
type recovery struct {
	fresh  bool // there was no store
	lost   bool // state.db was damaged or missing
	broken bool // the journal or a newest segment was damaged
	snap   snapshot

	damaged map[*ring]*segment // newest ones, to be salvaged once all is in memory
}

// recover brings the store into memory, decides on the epoch, and makes durable
// that a new run has begun (or leaves that to the first Append, on a disk that
// takes no writes).
func (s *Store) recover(id identity) error {
	rec, err := s.openStateFile(id)
	if err != nil {
		return err
	}
	s.about, s.epochs, s.boots = rec.snap.about, rec.snap.epochs, rec.snap.boots
	if err := s.openRings(rec); err != nil {
		return err
	}
	if err := s.openJournal(rec); err != nil {
		return err
	}
	if err := s.loadCursors(); err != nil {
		return err
	}
	for _, r := range s.rings {
		r.settle()
		r.limits = s.limitsOf(r.name)
		r.keepExact()
	}
	s.settleRows()
	s.enter(rec)
	for r, seg := range rec.damaged {
		s.salvage(r, seg)
	}
	if err := s.begin(); err != nil {
		s.failed(err)
		s.log.Error("store takes no writes yet", "error", err)
	}
	if rec.broken || s.doubt.flush != nil { // what is in the journal is to be elsewhere too, soon
		s.wake()
	}
	return nil
}

// openStateFile opens state.db. A damaged one is set aside; what can be read of
// it goes into a new one, and what store.json repeats is taken from there where
// the store's own rows are not whole.
func (s *Store) openStateFile(id identity) (*recovery, error) {
	rec := &recovery{damaged: map[*ring]*segment{}}
	var err error
	s.state, err = openState(filepath.Join(s.opt.Dir, "state.db"), s.opt.Fault)
	if err == nil {
		err = s.upgrade()
	}
	if err == nil {
		rec.snap, err = s.state.load()
	}
	if err == nil && !s.state.readOnly {
		err = inspect(s.state.path)
	}
	if errors.Is(err, errDamaged) {
		s.log.Error("state.db is damaged and set aside", "error", err)
		rec.snap, err = s.state.rescue(s.aside())
		rec.lost = rec.snap.about.Format == 0
	}
	if err != nil {
		return nil, err
	}
	if rec.snap.about.Format != 0 {
		return rec, nil
	}
	folders, _ := os.ReadDir(filepath.Join(s.opt.Dir, "rings"))
	rec.lost = rec.lost || id.Format != 0 || len(folders) > 0
	rec.fresh = !rec.lost
	rec.snap.about = about{Format: storeFormat, ID: id.ID, Serial: id.Serial}
	rec.snap.epochs, rec.snap.boots = id.Epochs, id.Boots
	if rec.fresh {
		rec.snap.about.Serial = s.opt.Serial
	}
	return rec, nil
}

func (s *Store) aside() string { return filepath.Join(s.opt.Dir, "damaged") }

// openRings lists the folders of all rings and finds the last number of each.
func (s *Store) openRings(rec *recovery) error {
	for name := range rec.snap.rings {
		s.ringNamed(name)
	}
	folders, err := os.ReadDir(filepath.Join(s.opt.Dir, "rings"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list rings: %w", err)
	}
	for _, f := range folders {
		if f.IsDir() {
			s.ringNamed(f.Name())
		}
	}
	for name, r := range s.rings {
		mark := rec.snap.rings[name]
		r.last, r.lastN, r.moved, r.movedN, r.floor = mark.Last, mark.LastN, mark.Last, mark.LastN, mark.Floor
		r.holes = rec.snap.holes[name]
		if err := r.list(); err != nil {
			return err
		}
		if !rec.snap.about.Clean {
			if err := s.probe(r, rec); err != nil {
				return err
			}
		}
		s.lastN = max(s.lastN, r.lastN)
	}
	return nil
}

// list finds the ring's segments. What a crash left below the floor, or half
// made, goes.
func (r *ring) list() error {
	files, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list ring %q: %w", r.name, err)
	}
	for _, f := range files {
		path := filepath.Join(r.dir, f.Name())
		if first, ok := segmentFirst(f.Name()); ok {
			r.segments = append(r.segments, &segment{path: path, first: first})
		} else if strings.HasSuffix(f.Name(), ".new") {
			_ = os.Remove(path) // best effort: it is in nobody's way
		}
	}
	sort.Slice(r.segments, func(i, j int) bool { return r.segments[i].first < r.segments[j].first })
	for len(r.segments) > 1 && r.segments[1].first-1 <= r.floor {
		_ = r.segments[0].remove() // best effort: tried again at the next start
		r.segments = r.segments[1:]
	}
	return nil
}

// probe looks into a ring's newest segment after a stop that was not clean: a
// move may have gone further there than state.db says.
func (s *Store) probe(r *ring, rec *recovery) error {
	for len(r.segments) > 0 {
		seg := r.newest()
		seg.doubt = trueToDisk(seg.path) != nil // as the last run may have left it after a failed flush
		err := seg.open(false, 0)
		if err == nil {
			sum := seg.summary()
			if sum.last == 0 { // a stop came between making it and its first commit
				seg.release()
				r.segments = r.segments[:len(r.segments)-1]
				s.dropUnfilled(seg)
				continue
			}
			if sum.last >= r.moved {
				r.moved, r.movedN = sum.last, sum.lastN
				r.last, r.lastN = max(r.last, sum.last), max(r.lastN, sum.lastN)
			}
			seg.release()
			seg.idle()
			return nil
		}
		if !errors.Is(err, errDamaged) {
			return err
		}
		if !rec.lost && seg.first > r.moved && seg.unborn() { // what it was made for is in the journal yet
			r.segments = r.segments[:len(r.segments)-1]
			s.dropUnfilled(seg)
			continue
		}
		rec.broken = true
		if !rec.lost { // state.db knows the last number: salvage can wait
			rec.damaged[r] = seg
			return nil
		}
		sum, kept, err := rebuild(seg, r.name, seg.first, ^uint64(0)-1, s.epochIDs(), s.aside(), &s.opt, s.packer)
		if err != nil {
			return err
		}
		if sum.last > 0 {
			r.segments[len(r.segments)-1] = &segment{path: seg.path, first: seg.first}
			r.moved, r.movedN, r.last, r.lastN = sum.last, sum.lastN, sum.last, sum.lastN
			r.loseBetween(seg.first, sum.last, kept)
			return nil
		}
		r.segments = r.segments[:len(r.segments)-1]
	}
	return nil
}

// dropUnfilled removes a file that nothing was ever stored in. On a disk that takes
// no writes it stays, and the store is read all the same.
func (s *Store) dropUnfilled(seg *segment) {
	if err := seg.remove(); err != nil {
		s.log.Warn("a segment that was never filled stays", "error", err)
	}
}

// loseBetween notes as damaged what of from..to is not in kept.
func (r *ring) loseBetween(from, to uint64, kept []Range) {
	at := max(from, r.floor+1)
	for _, k := range kept {
		if k.From > at {
			r.lose(at, min(k.From-1, to))
		}
		at = max(at, k.To+1)
	}
	if at <= to {
		r.lose(at, to)
	}
}

func (s *Store) loadCursors() error {
	var bad []string
	err := s.Each(tableCursors, "", func(name string, v []byte) bool {
		c, err := decodeCursor(name, v)
		if err != nil {
			bad = append(bad, name)
			return true
		}
		c.rings = s.Rings
		s.cursors[name] = c
		return true
	})
	if errors.Is(err, errDamaged) { // the first write heals state.db
		s.log.Error("cursors can't be read: some begin anew", "error", err)
		err = nil
	}
	for _, name := range bad { // it begins at the oldest record again: duplicates, no loss
		s.log.Error("cursor is damaged and begins anew", "cursor", name)
	}
	return err
}

// enter finds this run's boot, and begins a new epoch where the tail of the old
// one may have been lost.
func (s *Store) enter(rec *recovery) {
	why := ""
	switch {
	case rec.fresh || len(s.epochs) == 0 && !rec.lost:
		why = "new"
	case rec.lost || rec.broken:
		why = "salvage"
	case s.about.Renewed:
		why = "restore"
	case s.about.Serial != s.opt.Serial:
		why = "board"
	case !s.about.Clean && s.about.Boot != s.opt.Boot:
		why = "power"
	}
	if s.about.ID == "" || s.about.Renewed || s.about.Serial != s.opt.Serial {
		s.about.ID = s.randomID()
	}
	if why != "" {
		s.beginEpoch(why)
	}
	s.about.Format, s.about.Serial, s.about.Boot, s.about.Clean, s.about.Renewed = storeFormat, s.opt.Serial, s.opt.Boot, false, false
	at := slices.IndexFunc(s.boots, func(b Boot) bool { return b.ID == s.opt.Boot })
	if at < 0 {
		next := uint32(1)
		if k := len(s.boots); k > 0 {
			next = s.boots[k-1].Index + 1
		}
		s.boots = append(s.boots, Boot{next, s.opt.Boot})
		at = len(s.boots) - 1
	}
	s.boot = s.boots[at].Index
}

// saveStart makes durable that this run is under way, with its boot and epoch.
func (s *Store) saveStart() error {
	return s.commit(func(tx *bolt.Tx) error {
		if err := putEpochs(tx, s.epochs); err != nil {
			return err
		}
		if err := putBoots(tx, s.boots); err != nil {
			return err
		}
		if err := s.cutRows(tx); err != nil {
			return err
		}
		return putAbout(tx, s.about)
	})
}

// saveIdentity writes the copy in store.json.
func (s *Store) saveIdentity() error {
	id := identity{Format: storeFormat, ID: s.about.ID, Serial: s.about.Serial, Epochs: s.epochs, Boots: s.boots}
	if err := id.write(s.opt.Dir); err != nil {
		return err
	}
	return SyncFolder(s.opt.Dir)
}

// abandon lets go of all files without making anything durable.
func (s *Store) abandon() {
	s.closed.Store(true)
	s.mu.RLock()
	for _, r := range s.rings {
		for _, seg := range r.segments {
			seg.shut()
		}
	}
	s.mu.RUnlock()
	for _, h := range s.halves {
		if h != nil {
			h.close()
		}
	}
	if s.state != nil {
		_ = s.state.close()
	}
	s.lock.Close()
}
