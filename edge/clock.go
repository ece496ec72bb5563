package edge

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/queue"
)

// Clock turns stamps into wall time. It knows the running boot's clock, and from
// a durable table what every earlier boot learned about the time. All methods
// are safe for concurrent use; none but Run blocks.
type Clock struct {
	board Board
	table atomic.Pointer[clockTable] // nil before Attach

	mu    sync.Mutex // held to replace the table
	floor int64      // least offset of an unsynced clock: time went on while the board was off
	raw   int64      // the wall clock's own offset at the last look
}

// NewClock makes a clock of a board. Before Attach, ages are 0 and times those
// of the wall clock.
func NewClock(b Board) *Clock { return &Clock{board: b} }

// Attach loads the table from the store, and looks at the clock once. Call it
// before anything is stored.
func (c *Clock) Attach(s *queue.Store) error {
	ids := make(map[uint32]string)
	for _, b := range s.Boots() {
		ids[b.Index] = shortBoot(b.ID)
	}
	running := s.Boot()
	ids[running] = shortBoot(c.board.BootID)
	var rows []*bootTime
	err := s.Each(tableClock, "", func(key string, value []byte) bool {
		if b, ok := parseBootTime(key, value); ok && b.index <= running {
			rows = append(rows, b)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("read the boot table: %w", err)
	}
	t := newTable(rows, ids)
	if n := len(t.rows); n == 0 || t.rows[n-1].index != running {
		t = newTable(append(t.rows, &bootTime{index: running, Boot: c.board.BootID}), ids)
	}
	c.mu.Lock()
	c.floor = t.floor(c.board.Mono())
	_, c.raw = c.offset()
	c.table.Store(t)
	c.mu.Unlock()
	c.look()
	return nil
}

// shortBoot is a boot's id as events carry it: the first 8 digits of the
// kernel's, which tell the boots of one agent apart.
func shortBoot(id string) string {
	if len(id) == 36 {
		return id[:8]
	}
	return id
}

// Stamp is now.
func (c *Clock) Stamp() queue.Stamp { return c.stamp(0) }

// stamp is mono in the running boot; now where mono is 0.
func (c *Clock) stamp(mono int64) queue.Stamp {
	if mono == 0 {
		mono = c.board.Mono()
	}
	if t := c.table.Load(); t != nil {
		return queue.Stamp{Boot: t.current().index, Mono: mono}
	}
	return queue.Stamp{Mono: mono}
}

// Time is the wall time of a stamp in UTC and whole microseconds, how far it can
// be trusted, and its largest error (0 where that is not known).
func (c *Clock) Time(st queue.Stamp) (t time.Time, state ClockState, bound time.Duration) {
	table := c.table.Load()
	if table == nil {
		return c.board.Wall().UTC().Truncate(time.Microsecond), Unsynced, 0
	}
	ns, state, bound := table.wall(st)
	return time.UnixMicro(ns / 1000).UTC(), state, bound
}

// BootID is the id of a boot of the store's boot table, as events carry it; ""
// where it is not known any more.
func (c *Clock) BootID(index uint32) string {
	if t := c.table.Load(); t != nil {
		return t.ids[index]
	}
	return ""
}

// State is how far the clock can be trusted now, and its largest error (0 where
// that is not known).
func (c *Clock) State() (ClockState, time.Duration) {
	_, state, bound := c.Time(c.Stamp())
	return state, bound
}

// Age is how old a stamp is, as far as it can be proven: the uptime since, and
// the off time that two syncs prove. Off time of over a day counts only once the
// running boot is 24 h old, so that one wrong sync evicts nothing.
func (c *Clock) Age(st queue.Stamp) time.Duration {
	t := c.table.Load()
	if t == nil {
		return 0
	}
	now := c.board.Mono()
	age := t.uptime(st, now)
	if st.Boot >= t.current().index {
		return age
	}
	off := t.off(st)
	if off > day && time.Duration(now) < day {
		return age
	}
	return age + off
}

// uptime is the time since a stamp that the board was running.
func (c *Clock) uptime(st queue.Stamp) time.Duration {
	t := c.table.Load()
	if t == nil {
		return 0
	}
	return t.uptime(st, c.board.Mono())
}
