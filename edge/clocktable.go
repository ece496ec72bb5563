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
}

// mark is where the wall clock stood from Mono on: at Mono + Offset nanoseconds
// since 1970. CLOCK_MONOTONIC is slewed as CLOCK_REALTIME is, so the offset
// holds until the clock is set.
type mark struct {
	Mono   int64 `json:"mono"`
	Offset int64 `json:"offset"`
	Bound  int64 `json:"bound,omitempty"` // the largest error in nanoseconds, while synced
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

// newTable sorts the rows and sums up their uptimes.
func newTable(rows []*bootTime, ids map[uint32]string) *clockTable {
	sort.Slice(rows, func(i, j int) bool { return rows[i].index < rows[j].index })
	var up time.Duration
	for _, r := range rows {
		r.up = up
		up += time.Duration(r.Last)
	}
	return &clockTable{rows, ids}
}

// with is the table with the running boot's row replaced.
func (t *clockTable) with(b *bootTime) *clockTable {
	rows := slices.Clone(t.rows)
	rows[len(rows)-1] = b
	return &clockTable{rows, t.ids}
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
	if !ok || len(t.rows[at].Marks) == 0 {
		return t.guess(at) + st.Mono, Unsynced, 0
	}
	m, state := t.rows[at].mark(st.Mono)
	switch state {
	case Synced:
		bound = time.Duration(m.Bound)
	case Corrected:
		bound = time.Duration(m.Bound + max(0, m.Mono-st.Mono)/1e6*driftPPM)
	}
	return m.Offset + st.Mono, state, bound
}

// mark is the one that tells the wall time of mono best.
func (b *bootTime) mark(mono int64) (mark, ClockState) {
	at := len(b.Marks) - 1
	for at >= 0 && b.Marks[at].Mono > mono {
		at--
	}
	if at >= 0 && b.Marks[at].Synced {
		return b.Marks[at], Synced
	}
	for _, m := range b.Marks[at+1:] {
		if m.Synced {
			return m, Corrected
		}
	}
	return b.Marks[max(at, 0)], Unsynced
}

// guess is the wall time of mono 0 of a boot that has no marks and would stand
// at row at: where the boots before it ended, else where those after it began.
func (t *clockTable) guess(at int) int64 {
	for i := at - 1; i >= 0; i-- {
		if end, ok := t.rows[i].end(); ok {
			return end
		}
	}
	for _, b := range t.rows[at:] {
		if len(b.Marks) > 0 {
			return b.Marks[0].Offset
		}
	}
	return 0
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
	return t.guess(len(t.rows)-1) - mono // of the boots before: this one has no marks
}

// end is the last wall time that the boot is known to have had.
func (b *bootTime) end() (ns int64, ok bool) {
	if len(b.Marks) == 0 {
		return 0, false
	}
	return b.Marks[len(b.Marks)-1].Offset + b.Last, true
}

// synced is the boot's last mark that was synced.
func (b *bootTime) synced() (mark, bool) {
	for i := len(b.Marks) - 1; i >= 0; i-- {
		if b.Marks[i].Synced {
			return b.Marks[i], true
		}
	}
	return mark{}, false
}

// uptime is the time from st to now that some boot was running, as far as is
// known; now is on the running boot's clock.
func (t *clockTable) uptime(st queue.Stamp, now int64) time.Duration {
	cur := t.current()
	at, ok := t.find(st.Boot)
	switch {
	case st.Boot == cur.index:
		return time.Duration(max(0, now-st.Mono))
	case st.Boot > cur.index:
		return 0
	case !ok: // from the next boot that has a row
		return cur.up - t.rows[at].up + time.Duration(now)
	}
	b := t.rows[at]
	return cur.up - b.up - time.Duration(min(max(0, st.Mono), b.Last)) + time.Duration(now)
}

// off is the time after st that no boot was running, as far as two syncs prove
// it: that of the first synced boot from st on, and that of the last.
func (t *clockTable) off(st queue.Stamp) time.Duration {
	from, _ := t.find(st.Boot)
	last := len(t.rows) - 1
	var end mark
	for ok := false; last > from; last-- {
		if end, ok = t.rows[last].synced(); ok {
			break
		}
	}
	for at := from; at < last; at++ {
		// Of the boot's marks only a synced one proves anything: what the clock was
		// set to after it may be years off.
		if m, ok := t.rows[at].synced(); ok {
			return max(0, time.Duration(end.Offset-m.Offset)-(t.rows[last].up-t.rows[at].up))
		}
	}
	return 0
}
