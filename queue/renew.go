package queue

import (
	"errors"
	"fmt"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Renew makes a copy of a store one of its own: when it is opened next it gets a
// new id, and a new epoch begins, since the store that it was copied from may have
// given the next numbers to something else. It is durable when it returns. Nobody
// may have the store open; a damaged or newer one is refused.
func Renew(dir string) error {
	unlock, err := Lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	path := filepath.Join(dir, "state.db")
	if err := inspect(path); err != nil {
		return err
	}
	st, err := openState(path, func(string) error { return nil })
	if err != nil {
		return err
	}
	defer st.close() // what counts is committed
	snap, err := st.load()
	if err == nil && snap.about.Format == 0 {
		err = errors.New("there is no store in it")
	}
	if err != nil {
		return fmt.Errorf("renew store %s: %w", dir, err)
	}
	snap.about.ID, snap.about.Renewed = "", true
	if err := st.commit(func(tx *bolt.Tx) error { return putAbout(tx, snap.about) }); err != nil {
		return err
	}
	id := identity{Format: storeFormat, Serial: snap.about.Serial, Epochs: snap.epochs, Boots: snap.boots}
	return id.write(dir)
}

// Lock keeps every other process from opening the store in dir, until unlock is
// called or the process ends. ErrLocked: one has it open.
func Lock(dir string) (unlock func(), err error) {
	f, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}
