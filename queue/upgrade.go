package queue

import (
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// upgrade gives the rows of a state.db of format 1 the checksums that they have in
// format 2. It is one commit: a power cut leaves the one or the other. The sums of
// segments have none either: each is written anew when it is first read, or moved
// to, as a damaged one is.
func (s *state) upgrade() (done bool, err error) {
	var a about
	old := false
	err = s.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketStore); b != nil {
			old = json.Unmarshal(b.Get(keyAbout), &a) == nil && a.Format == 1 // no JSON with a checksum behind it
		}
		return nil
	})
	if err != nil || !old {
		return false, err
	}
	if err := inspect(s.path); err != nil {
		return false, err
	}
	err = s.commit(func(tx *bolt.Tx) error {
		if err := tx.ForEach(sealBucket); err != nil {
			return err
		}
		a.Format = storeFormat
		return putAbout(tx, a)
	})
	if err != nil {
		return false, fmt.Errorf("bring state.db to format %d: %w", storeFormat, err)
	}
	return true, nil
}

// upgrade does it for the store, and says so.
func (s *Store) upgrade() error {
	done, err := s.state.upgrade()
	if done {
		s.log.Info("store of format 1 is brought to format 2: a segment is told as damaged and written anew when it is first used, and loses nothing by it")
	}
	return err
}

// sealBucket seals all values of a bucket that have no checksum.
func sealBucket(name []byte, b *bolt.Bucket) error {
	var rows []Row
	err := b.ForEach(func(k, v []byte) error {
		rows = append(rows, Row{Key: string(k), Value: seal(name, k, v)})
		return nil
	})
	for i := 0; err == nil && i < len(rows); i++ {
		err = b.Put([]byte(rows[i].Key), rows[i].Value)
	}
	return err
}
