package queue

import "time"

// Stamp is when a record was made: nanoseconds on CLOCK_MONOTONIC of a boot,
// which is named by its index in the store's boot table. Wall time is worked out
// on reading, since it may become known only later.
type Stamp struct {
	Boot uint32
	Mono int64
}

// Entry is one record to append.
type Entry struct {
	Ring  string // made on first use
	Stamp Stamp
	Data  []byte // copied before Append returns
}

// Row is one change to a table: a nil Value deletes the key.
type Row struct {
	Table string
	Key   string
	Value []byte
}

// Batch is what one flush writes: all of it or nothing.
type Batch struct {
	Entries []Entry
	Rows    []Row
}

// Receipt gives the numbers of a batch: its entries have n from First on,
// without a gap, and the seqs of Seqs, in the order of Batch.Entries.
type Receipt struct {
	Epoch uint32
	First uint64
	Seqs  []uint64
}

// Record is one stored record. Data must not be changed.
type Record struct {
	Ring  string
	Epoch uint32
	N     uint64
	Seq   uint64
	Stamp Stamp
	Data  []byte
}

// Cause says why the records of a hole can't be read.
type Cause string

// The causes of holes. Refused is used by cursors alone: what a peer will never
// take is a hole for that reader.
const (
	Evicted  Cause = "evicted"  // the ring's count or size bound
	Aged     Cause = "age"      // the ring's age bound
	Headroom Cause = "headroom" // the disk's free space fell below the headroom
	Damage   Cause = "damage"   // lost from the disk
	Thinned  Cause = "thinned"  // replaced by rows of a coarser ring
	Refused  Cause = "refused"  // the peer of one cursor will never take it
)

// Hole is a range of seq, both ends included, that can't be read. It never
// spans two epochs.
type Hole struct {
	Ring  string
	Epoch uint32
	From  uint64
	To    uint64
	Cause Cause
	Rows  Rows // where the cause is Thinned
}

// Rows names what stands in the place of thinned records: it is among the records
// From to To of another ring, of whatever epoch.
type Rows struct {
	Ring string
	From uint64
	To   uint64
}

// Item is a record, or, where Hole is not nil, a hole.
type Item struct {
	Record
	Hole *Hole
}

// Page is what one read gave.
type Page struct {
	Items []Item
	// Next is the position to go on from: a seq for a read of one ring, an n for
	// a read of several. It moves over holes and is never less than what was asked.
	Next uint64
	// End is true where nothing more was stored when the page was read.
	End bool
}

// Max bounds a read: whichever is reached first. Zero means 1,000 records, 1 MB.
type Max struct {
	Records int
	Bytes   int
}

// Range is a range of seq, both ends included.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Limits bound one ring. A zero field does not bound.
type Limits struct {
	Keep uint64        // records, exact to the reader
	Size int64         // bytes on disk; the newest segment stays
	Age  time.Duration // by what Options.Age can prove

	// Thin makes the bounds, and the headroom, ask for what they would take: it
	// stays for who thins the ring to let it go (Store.Wishes), so Keep is not
	// exact. A ring that is not thinned in time loses it all the same, when it is a
	// quarter over its bound, and over by 8,192 records or 1 MB.
	Thin bool
}

// RingInfo is the state of one ring.
type RingInfo struct {
	Name  string `json:"name"`
	First uint64 `json:"first"` // the oldest readable seq; Last+1 where nothing is
	Last  uint64 `json:"last"`  // the highest seq given
	LastN uint64 `json:"last_n"`
	Bytes int64  `json:"bytes"` // on disk
	Lost  uint64 `json:"lost"`  // seqs in holes with cause damage
	Gone  uint64 `json:"gone"`  // seqs in all other holes
	// Thinned are the seqs of Gone that rows of another ring stand for.
	Thinned uint64 `json:"thinned,omitempty"`
	Limits  Limits `json:"-"`
}

// Epoch is one row of the epoch table.
type Epoch struct {
	ID    uint32            `json:"epoch"`
	First uint64            `json:"first_n"`
	Last  uint64            `json:"last_n"` // the last surviving n; 0 for the present epoch
	Why   string            `json:"why"`    // new, power, board, salvage, restore
	Rings map[string]uint64 `json:"rings"`  // the first seq of each ring in it
}

// Boot is one row of the boot table.
type Boot struct {
	Index uint32
	ID    string
}
