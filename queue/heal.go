package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// heal puts a fresh state.db in the place of one whose pages are damaged, with
// all that memory knows and the rows that can still be read. Without it the
// journal could never be moved again. No number is lost by it, so that the epoch
// goes on.
func (s *Store) heal(cause error) error {
	s.log.Error("state.db is damaged: it is set aside and written anew", "error", cause)
	rows := s.state.salvage(tableCursors)
	s.mu.RLock()
	snap := snapshot{about: s.about, epochs: s.epochs, boots: s.boots, rings: map[string]ringMark{}, holes: map[string]spans{}}
	for name, r := range s.rings {
		snap.rings[name] = ringMark{Last: r.moved, LastN: r.movedN, Floor: min(r.floor, r.moved)}
		snap.holes[name] = append(spans(nil), r.holes...)
	}
	for _, c := range s.cursors { // memory has them all
		c.mu.Lock()
		rows = append(rows, Row{tableCursors, c.name, c.encode()})
		c.mu.Unlock()
	}
	s.mu.RUnlock()
	return s.state.replace(s.aside(), &snap, rows)
}

// commit writes to state.db, which is healed first where it turns out damaged.
func (s *Store) commit(fn func(*bolt.Tx) error) error {
	err := s.state.commit(fn)
	if !errors.Is(err, errDamaged) {
		return err
	}
	if again := s.heal(err); again != nil {
		return fmt.Errorf("%w; then %w", err, again)
	}
	return s.state.commit(fn)
}

// salvage reads the rows that can be read, but those of the table except, from
// both ends of each table: a damaged page hides what lies behind it.
func (s *state) salvage(except string) (rows []Row) {
	var tables [][]byte
	_ = s.view(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
			if len(name) > 2 && string(name[:2]) == "t." && string(name[2:]) != except {
				tables = append(tables, append([]byte(nil), name...))
			}
			return nil
		})
	})
	for _, name := range tables {
		seen := map[string]bool{}
		for _, walk := range []struct {
			first, next func(*bolt.Cursor) ([]byte, []byte)
		}{
			{(*bolt.Cursor).First, (*bolt.Cursor).Next}, {(*bolt.Cursor).Last, (*bolt.Cursor).Prev},
		} {
			_ = s.view(func(tx *bolt.Tx) error { // it ends at the damage
				c := tx.Bucket(name).Cursor()
				for k, stored := walk.first(c); k != nil && !seen[string(k)]; k, stored = walk.next(c) {
					seen[string(k)] = true
					if v, ok := unseal(name, k, stored); ok {
						rows = append(rows, Row{string(name[2:]), string(k), append([]byte{}, v...)})
					}
				}
				return nil
			})
		}
	}
	return rows
}

// rescue replaces the file by one with all that can be read of it: the store's
// own rows where they are whole, which the snapshot then has, and each table's.
func (s *state) rescue(aside string) (snapshot, error) {
	s.peek()
	snap, err := s.load()
	if errors.Is(err, ErrNewer) {
		return snapshot{}, err
	}
	rows := s.salvage("") // none where it can't even be read
	if err != nil || snap.about.Format == 0 {
		return snapshot{}, s.replace(aside, nil, rows)
	}
	return snap, s.replace(aside, &snap, rows)
}

// replace puts a new file with the given rows, and all of snap if it is not nil,
// in the place of the damaged one, which is kept aside. No instant has neither.
func (s *state) replace(aside string, snap *snapshot, rows []Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := &state{path: s.path + ".new", fault: s.fault}
	if err := os.Remove(fresh.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace state.db: %w", err)
	}
	if err := fresh.open(); err != nil {
		return err
	}
	err := fresh.commit(func(tx *bolt.Tx) error {
		if err := putRows(tx, rows); err != nil || snap == nil {
			return err
		}
		return snap.put(tx)
	})
	if cerr := fresh.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if s.db != nil {
		closeFile(s.db)
		s.db = nil
	}
	if err := setAside(s.path, "store", aside, true); err != nil {
		return err
	}
	if err := os.Rename(fresh.path, s.path); err != nil {
		return fmt.Errorf("replace state.db: %w", err)
	}
	if err := SyncFolder(filepath.Dir(s.path)); err != nil {
		return err
	}
	return s.open()
}

// put writes all of a snapshot inside a commit.
func (snap *snapshot) put(tx *bolt.Tx) error {
	for name, mark := range snap.rings {
		if err := putRing(tx, name, mark); err != nil {
			return err
		}
	}
	for name, holes := range snap.holes {
		if err := putHoles(tx, name, holes); err != nil {
			return err
		}
	}
	if err := putEpochs(tx, snap.epochs); err != nil {
		return err
	}
	if err := putBoots(tx, snap.boots); err != nil {
		return err
	}
	return putAbout(tx, snap.about)
}
