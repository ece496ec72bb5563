package main

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"time"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// surveySegment finds which blocks lie in which pages of a segment, where bbolt
// itself has mapped them: the count of a block's records is at 16 of its value,
// its first seq is its key.
func (f *rotFacts) surveySegment(path, name string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("survey %s: %w", name, err)
	}
	defer db.Close()
	ring := filepath.Base(filepath.Dir(name))
	return db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("blocks")).ForEach(func(k, v []byte) error {
			at := uintptr(unsafe.Pointer(&v[0])) - db.Info().Data
			first := binary.BigEndian.Uint64(k)
			count := uint64(binary.LittleEndian.Uint16(v[16:]))
			for page := int(at / rotPage); page <= int((at+uintptr(len(v))-1)/rotPage); page++ {
				f.Loss[name][page] = append(f.Loss[name][page], rotRange{ring, first, first + count - 1})
			}
			return nil
		})
	})
}
