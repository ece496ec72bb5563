package queue

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// heal puts a fresh state.db in the place of one whose pages are damaged, with
// all that memory knows and the rows that can still be read. Without it the
// journal could never be moved again. No number is lost by it, so that the epoch
// goes on.
func (s *Store) heal(cause error) error {
	s.log.Error("state.db is damaged: it is set aside and written anew", "error", cause)
	rows := s.state.salvage(tableCursors)
	if err := s.state.anew(s.aside()); err != nil {
		return err
	}
	s.mu.RLock()
	about, epochs, boots := s.about, s.epochs, s.boots
	marks, holes := map[string]ringMark{}, map[string]spans{}
	for name, r := range s.rings {
		marks[name] = ringMark{Last: r.moved, LastN: r.movedN, Floor: min(r.floor, r.moved)}
		holes[name] = append(spans(nil), r.holes...)
	}
	for _, c := range s.cursors { // memory has them all
		c.mu.Lock()
		rows = append(rows, Row{tableCursors, c.name, c.encode()})
		c.mu.Unlock()
	}
	s.mu.RUnlock()
	return s.state.commit(func(tx *bolt.Tx) error {
		if err := putRows(tx, rows); err != nil {
			return err
		}
		for name, mark := range marks {
			if err := putRing(tx, name, mark); err != nil {
				return err
			}
			if err := putHoles(tx, name, holes[name]); err != nil {
				return err
			}
		}
		if err := putEpochs(tx, epochs); err != nil {
			return err
		}
		if err := putBoots(tx, boots); err != nil {
			return err
		}
		return putAbout(tx, about)
	})
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
				for k, v := walk.first(c); k != nil && !seen[string(k)]; k, v = walk.next(c) {
					seen[string(k)] = true
					rows = append(rows, Row{string(name[2:]), string(k), append([]byte{}, v...)})
				}
				return nil
			})
		}
	}
	return rows
}

// anew sets the file aside and opens an empty one.
func (s *state) anew(aside string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil {
		closeFile(s.db)
		s.db = nil
	}
	if err := setAside(s.path, "store", aside, false); err != nil {
		return err
	}
	return s.open()
}
