package edge

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"fieldpost/queue"
)

// tableClock has a row a boot: its key is the boot's index in 8 hex digits.
const tableClock = "clock"

const (
	maxMarks = 64   // a boot's row stays small, however often its clock is set
	maxBoots = 1024 // older rows are dropped: no ring reaches back that far
	driftPPM = 500  // what the kernel assumes of a clock that nothing corrects
)

// bootTime is what a boot learned about the time.
type bootTime struct {
	Boot  string `json:"boot"`
	Last  int64  `json:"last"`  // the boot lasted at least this many nanoseconds
	Marks []mark `json:"marks"` // in the order of Mono

	index uint32
	up    time.Duration // uptime of all boots before this one
	sync  bootSync
	proof proof
	spans []span // of the marks, and what was before them
}

// mark is where the wall clock stood from Mono on: at Mono + Offset nanoseconds
// since 1970. CLOCK_MONOTONIC is slewed as CLOCK_REALTIME is, so the offset
// holds until the clock is set or the board sleeps.
type mark struct {
	Mono   int64 `json:"mono"`
	Offset int64 `json:"offset"`
	Bound  int64 `json:"bound,omitempty"` // the largest error in nanoseconds, while synced
	Slew   int64 `json:"slew,omitempty"`  // by how much the clock may have been slewed until it was seen to be synced
	Slept  int64 `json:"slept,omitempty"` // how long the boot had been suspended by then
	Synced bool  `json:"synced"`
}

// clockTable is the rows in the order of index, the running boot's last. It is
// never changed, only replaced.
type clockTable struct {
	rows []*bootTime
	ids  map[uint32]string // as events carry them
}

func rowKey(index uint32) string { return string(appendHex32(nil, index)) }

func (b *bootTime) row() (queue.Row, error) {
	v, err := json.Marshal(b)
	if err != nil {
		return queue.Row{}, fmt.Errorf("encode boot %d: %w", b.index, err)
	}
	return queue.Row{Table: tableClock, Key: rowKey(b.index), Value: v}, nil
}

// parseBootTime reads a row; false where it is damaged, which costs that boot
// its times and nothing else.
func parseBootTime(key string, value []byte) (*bootTime, bool) {
	index, ok := hex32(key)
	b := &bootTime{index: index}
	if !ok || json.Unmarshal(value, b) != nil || b.Last < 0 || len(b.Marks) > maxMarks {
		return nil, false
	}
	return b, slices.IsSortedFunc(b.Marks, func(x, y mark) int { return int(min(1, max(-1, x.Mono-y.Mono))) })
}

// rowsFrom encodes the rows from a boot on.
func (t *clockTable) rowsFrom(index uint32) (rows []queue.Row, err error) {
	at, _ := t.find(index)
	for _, b := range t.rows[at:] {
		row, err := b.row()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// newTable sorts the rows, sums up their uptimes and works out what they prove
// of each other.
func newTable(rows []*bootTime, ids map[uint32]string) *clockTable {
	sort.Slice(rows, func(i, j int) bool { return rows[i].index < rows[j].index })
	var up time.Duration
	for _, r := range rows {
		r.up = up
		up += time.Duration(r.Last)
	}
	t := &clockTable{rows, ids}
	t.prove()
	return t
}

// with is the table with the running boot's row replaced.
func (t *clockTable) with(b *bootTime) *clockTable {
	rows := make([]*bootTime, len(t.rows))
	for i, r := range t.rows {
		own := *r // what a table proves of a row is the table's own
		rows[i] = &own
	}
	own := *b
	rows[len(rows)-1] = &own
	return newTable(rows, t.ids)
}

func (t *clockTable) current() *bootTime { return t.rows[len(t.rows)-1] }

// find is the place of a boot's row, or where it would be.
func (t *clockTable) find(index uint32) (at int, ok bool) {
	if n := len(t.rows) - 1; t.rows[n].index == index {
		return n, true
	}
	at = sort.Search(len(t.rows), func(i int) bool { return t.rows[i].index >= index })
	return at, at < len(t.rows) && t.rows[at].index == index
}

// wall is the wall time of a stamp in nanoseconds since 1970.
func (t *clockTable) wall(st queue.Stamp) (ns int64, state ClockState, bound time.Duration) {
	at, ok := t.find(st.Boot)
	if !ok {
		ns = t.between(at) + st.Mono
		if at > 0 {
			ns = min(ns, t.rows[at-1].proof.before)
		}
		return ns, Unsynced, 0
	}
	return t.rows[at].wall(st.Mono)
}

// floor is the least offset that an unsynced clock can have at mono: where this
// boot or the ones before it got to.
func (t *clockTable) floor(mono int64) int64 {
	b := t.current()
	if n := len(b.Marks); n > 0 {
		if b.Marks[n-1].Synced {
			return math.MinInt64 // it knew better: if the clock is back now, it was set
		}
		return b.Marks[n-1].Offset
	}
	if len(t.rows) == 1 {
		return math.MinInt64
	}
	return t.between(len(t.rows)-1) - mono // this one has no marks
}
