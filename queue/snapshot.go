package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Snapshot is a store as it is between two moves of its journal: files that belong
// together, to be copied while the store goes on. It has every record and row that
// was acknowledged before it was asked for. Whoever took it closes it. Files that
// the store evicts meanwhile stay on the disk for it, until they are copied; once a
// quarter of the headroom is used up it has to give up the rest.
type Snapshot struct {
	ID    string // the store's own id
	Epoch uint32
	LastN uint64 // the highest n in it

	// Files are to be copied in their order, state.db first: while a snapshot has a large
	// one, it can't grow past what is mapped of it.
	Files []*SnapshotFile

	store *Store
	state *state
	db    *bolt.DB
	tx    *bolt.Tx
	once  sync.Once
	short atomic.Bool // it was ended for the disk's headroom
}

// SnapshotFile is one file of a snapshot.
type SnapshotFile struct {
	Name string // below the store's folder, with slashes
	Size int64  // in bytes, exactly

	content []byte   // a small file that will be written to again
	file    *os.File // one that will not; it may be unlinked meanwhile
	snap    *Snapshot
	until   time.Time
}

const (
	// snapshotHeld bounds the bytes of newest segments that a snapshot holds in RAM.
	snapshotHeld = 4 << 20
	// stateHeld is up to what size state.db is held in RAM too: who takes it slowly then
	// keeps nothing from being opened anew.
	stateHeld = 4 << 20
	// snapshotHold is how long the copy of a larger state.db may take: a move that needs it to
	// grow past stateMapped waits for that.
	snapshotHold = time.Minute
)

// Snapshot moves the journal to the segments and takes hold of all files as they
// are then, which takes as long as two moves do. During the second one, which has
// little to do, flushes wait: a row that is written again meanwhile would be in
// neither its old nor its new form, since a move leaves it to the next one. A newest
// segment that is not small is closed for writing: what comes next begins another.
func (s *Store) Snapshot() (*Snapshot, error) {
	err := s.Move()
	if err == nil || s.readsAll(err) {
		s.oneAppend.Lock()
		err = s.Move()
		s.still.Lock()
		defer s.still.Unlock()
		s.oneAppend.Unlock() // what comes now is in the journal until s.still is free
	}
	if err != nil && !s.readsAll(err) {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	snap := &Snapshot{store: s, state: s.state}
	if err := snap.hold(s); err != nil {
		snap.Close()
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	s.mu.Lock()
	s.snapshots[snap] = struct{}{}
	s.mu.Unlock()
	return snap, nil
}

// readsAll reports whether a move failed for want of a disk that takes writes, and
// had nothing to do.
func (s *Store) readsAll(err error) bool {
	return errors.Is(err, syscall.EROFS) && !s.hasPending()
}

// hold fills the snapshot. s.still must be held.
func (p *Snapshot) hold(s *Store) error {
	s.mu.RLock()
	p.ID, p.Epoch = s.about.ID, s.epochs[len(s.epochs)-1].ID
	rings := map[string][]*segment{}
	for name, r := range s.rings {
		rings[name] = slices.Clone(r.segments)
		p.LastN = max(p.LastN, r.movedN)
	}
	s.mu.RUnlock()
	if err := p.beginState(); err != nil {
		return err
	}
	if err := p.holdState(); err != nil {
		return err
	}
	held := int64(0)
	for _, name := range slices.Sorted(maps.Keys(rings)) {
		for i, seg := range rings[name] {
			if err := p.holdSegment(name, seg, i == len(rings[name])-1, &held); err != nil {
				return err
			}
		}
	}
	return nil
}

// beginState begins a read transaction on state.db, past the lock of the store's
// own reads: each commit takes that for an instant.
func (p *Snapshot) beginState() error {
	p.state.mu.RLock()
	defer p.state.mu.RUnlock()
	if p.db = p.state.db; p.db == nil {
		return ErrClosed
	}
	err := guard(func() (err error) {
		p.tx, err = p.db.Begin(false)
		return err
	})
	if err != nil {
		return err
	}
	return nil
}

// holdState takes hold of state.db: of one that is not large at once.
func (p *Snapshot) holdState() error {
	file := &SnapshotFile{Name: "state.db", Size: p.tx.Size(), snap: p, until: time.Now().Add(snapshotHold)}
	p.Files = append(p.Files, file)
	if file.Size > stateHeld {
		return nil
	}
	content := bytes.NewBuffer(make([]byte, 0, file.Size))
	if _, err := p.writeState(content); err != nil {
		return fmt.Errorf("copy %s: %w", file.Name, err)
	}
	file.content = content.Bytes()
	return nil
}

func (p *Snapshot) holdSegment(ring string, seg *segment, newest bool, held *int64) error {
	f, err := os.Open(seg.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // evicted, or never filled: state.db knows
	}
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	size := pagesIn(f, st.Size())
	file := &SnapshotFile{Name: path.Join("rings", ring, filepath.Base(seg.path)), Size: size, file: f, snap: p}
	p.Files = append(p.Files, file)
	if !newest {
		return nil
	}
	if size > leastSegment || *held+size > snapshotHeld {
		seg.ended = true
		return nil
	}
	*held += size
	file.content, file.file = make([]byte, size), nil
	defer f.Close()
	if _, err := io.ReadFull(f, file.content); err != nil {
		return fmt.Errorf("read %s: %w", file.Name, err)
	}
	return nil
}

// pagesIn is how much of a bbolt file its pages take: behind them it has room to
// grow. Of a damaged one it is all.
func pagesIn(f *os.File, size int64) int64 {
	in := inspection{f: f, size: size}
	if _, _, err := in.meta(); err != nil || in.high > uint64(size)/blockSize {
		return size
	}
	return int64(in.high) * blockSize
}

// WriteTo copies the file, once, and lets go of it. A failure leaves less than Size
// written.
func (f *SnapshotFile) WriteTo(w io.Writer) (n int64, err error) {
	switch {
	case f.file != nil:
		n, err = io.Copy(w, io.NewSectionReader(f.file, 0, f.Size))
		switch {
		case errors.Is(err, os.ErrClosed) && f.snap.short.Load():
			err = errShort
		case err == nil && n < f.Size:
			err = io.ErrUnexpectedEOF
		}
		f.file.Close() // it may be unlinked, and is on the disk for us alone
	case f.content == nil:
		n, err = f.snap.writeState(&untilWriter{w, f.until})
	default:
		var k int
		k, err = w.Write(f.content)
		n = int64(k)
	}
	if err != nil {
		return n, fmt.Errorf("copy %s: %w", f.Name, err)
	}
	return n, nil
}

// writeState copies state.db, and lets go of it.
func (p *Snapshot) writeState(w io.Writer) (n int64, err error) {
	if p.tx == nil {
		return 0, ErrClosed
	}
	err = guard(func() (err error) {
		n, err = p.tx.WriteTo(w)
		return err
	})
	p.letGo()
	if err != nil {
		return n, err
	}
	// bbolt reads the file by its name, and a commit that failed puts another one
	// in its place.
	p.state.mu.RLock()
	defer p.state.mu.RUnlock()
	if p.state.db != p.db || p.state.doubt {
		return n, errors.New("it was opened anew meanwhile: try again")
	}
	return n, nil
}

// letGo ends the transaction on state.db.
func (p *Snapshot) letGo() {
	if p.tx != nil {
		_ = guard(p.tx.Rollback) // of a read: there is nothing to lose
		p.tx = nil
	}
}

// Close lets go of all files. More than once is fine.
func (p *Snapshot) Close() {
	p.once.Do(func() {
		p.letGo()
		p.closeFiles()
		p.store.mu.Lock()
		delete(p.store.snapshots, p)
		p.store.mu.Unlock()
	})
}

// closeFiles may run beside a copy, which then ends with os.ErrClosed.
func (p *Snapshot) closeFiles() {
	for _, f := range p.Files {
		if f.file != nil {
			f.file.Close()
		}
	}
}

// errShort: the snapshot had to give its files up.
var errShort = errors.New("the disk ran short, and what the copy kept of evicted events had to go: free some space, or copy to another disk")

// unlinked is what the disk still has of evicted segments for this snapshot alone.
func (p *Snapshot) unlinked() (bytes int64) {
	for _, f := range p.Files {
		if f.file == nil {
			continue
		}
		info, err := f.file.Stat()
		if err != nil { // copied already
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
			bytes += int64(st.Blocks) * 512
		}
	}
	return bytes
}

// keptBySnapshots is what snapshots keep of evicted segments on the disk.
func (s *Store) keptBySnapshots() (bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for p := range s.snapshots {
		bytes += p.unlinked()
	}
	return bytes
}

// endSnapshots takes the files from all snapshots, and reports whether there were any.
func (s *Store) endSnapshots() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.snapshots {
		p.short.Store(true)
		p.closeFiles()
	}
	ended := len(s.snapshots) > 0
	clear(s.snapshots)
	return ended
}

// untilWriter takes nothing after a moment.
type untilWriter struct {
	w     io.Writer
	until time.Time
}

func (u *untilWriter) Write(b []byte) (int, error) {
	if time.Now().After(u.until) {
		return 0, fmt.Errorf("it was not taken within %v", snapshotHold)
	}
	return u.w.Write(b)
}
