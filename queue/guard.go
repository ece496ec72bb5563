package queue

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// errDamaged: the file's structure is broken. It is set aside and salvaged.
var errDamaged = errors.New("damaged file")

// closeFile closes a bbolt file. A damaged one can make even Close panic, and a
// rollback that panicked leaves bbolt's lock held, so that Close never returns:
// then the file stays open until the process ends.
func closeFile(db *bolt.DB) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guard(db.Close) // there is nothing more to lose
	}()
	select {
	case <-done:
	case <-time.After(closeWait):
	}
}

// closeWait is long for a close, which writes nothing.
const closeWait = 2 * time.Second

// guard runs what touches a bbolt file. bbolt panics on a damaged page, and
// reading past a truncated file under its map is a SIGBUS, which becomes a panic
// only where the goroutine asked for it; both come back as errDamaged.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return fn()
}
