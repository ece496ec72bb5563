package queue

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errDamaged: the file's structure is broken. It is set aside and salvaged.
var errDamaged = errors.New("damaged file")

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
