package queue

import (
	"io"
	"log/slog"
	"time"
)

// Options say where a store is and how it behaves. Dir and Boot are needed; the
// rest have the defaults given.
type Options struct {
	Dir    string // made if missing, 0700
	Boot   string // the running kernel's boot id
	Serial string // the board's serial: another one begins a new epoch and a new store id

	Rings   map[string]Limits // bounds by ring
	Default Limits            // bounds of a ring that Rings does not name

	// Headroom is the free space in bytes below which the oldest segments are
	// evicted. 0 means 200 MB or a tenth of the file system, whichever is less;
	// a negative one turns it off.
	Headroom int64

	Codec Codec                     // packs the payloads of a block; nil stores them as they are
	Age   func(Stamp) time.Duration // the age that can be proven; nil: no ring evicts by age
	Log   *slog.Logger              // nil: discard

	MoveRecords   int           // so many records in the journal go to the segments; 10,000
	MoveEvery     time.Duration // after this time a tenth of that is enough, and after ten times this any; 60 s
	JournalBytes  int64         // bytes of a journal half, a multiple of 4096; 8 MB
	SegmentEvents int           // records in a segment; 65,536
	SegmentBytes  int64         // bytes in a segment; 16 MB

	// Rand is what the ids of the store and of its epochs are made of; nil is
	// crypto/rand, which nobody can foretell. A simulation gives its own.
	Rand io.Reader

	// Fault, where it is set, is called before each write, flush and commit with
	// the step's name; its error takes the place of the step. It is the failure
	// dial of the proofs.
	Fault func(step string) error
}

// Codec packs the payloads of one block together, so that what they share is
// stored once. Unpack must give back exactly what Pack got, for any bytes.
type Codec interface {
	Pack(dst []byte, payloads [][]byte) []byte
	Unpack(packed []byte, count int) ([][]byte, error)
}
