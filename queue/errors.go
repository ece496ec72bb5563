package queue

import (
	"errors"
	"fmt"
)

// At Open.
var (
	// ErrNewer: the store was written by a newer Fieldpost. Nothing was changed.
	ErrNewer = errors.New("the store was written by a newer version of fieldpost; install that version again, or point data_dir at an empty folder")
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("another process has the store open")
)

// At use.
var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrFull: the journal has no room, since it can't be moved to segments
	// (the wrapped error says why). It may work again later.
	ErrFull = errors.New("the store is full")
	// ErrTooLarge: a record is over MaxRecord, or a batch over a journal half.
	ErrTooLarge = errors.New("too large to store")
	// ErrName: a ring's name can't be a folder's, or a row has no table or key,
	// or one that is too long. It is an ErrTooLarge too: trying again is no use.
	ErrName = fmt.Errorf("a name that can't be stored: %w", ErrTooLarge)
	// ErrNotFound: there is no such record, ring or cursor.
	ErrNotFound = errors.New("not found")
)

// MaxRecord is the most bytes a record may have.
const MaxRecord = 256 << 10
