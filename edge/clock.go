package edge

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/queue"
)

// newest is how many records Attach reads to learn how long boots lasted.
const newest = 256

// Clock turns stamps into wall time. It knows the running boot's clock, and from
// a durable table what every earlier boot learned about the time. All methods
// are safe for concurrent use; none but Run blocks.
type Clock struct {
	board Board
	table atomic.Pointer[clockTable] // nil before Attach
	told  atomic.Pointer[clockTable] // what readers are told: without the syncs that are not durable yet

	mu    sync.Mutex // held to replace the tables
	held  int64      // mono of the first sync that is not durable yet; 0: none
	floor int64      // least offset of an unsynced clock: time went on while the board was off
	raw   int64      // the wall clock's own offset at the last look
	slept int64      // how long the board had slept by then
	found uint32     // the first row that is not durable as it is
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
	rows := make(map[uint32]*bootTime)
	err := s.Each(tableClock, "", func(key string, value []byte) bool {
		if b, ok := parseBootTime(key, value); ok && b.index <= running {
			rows[b.index] = b
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("read the boot table: %w", err)
	}
	if rows[running] == nil {
		rows[running] = &bootTime{index: running, Boot: c.board.BootID}
	}
	found := extend(rows, running, s)
	t := newTable(slices.Collect(maps.Values(rows)), ids)
	c.mu.Lock()
	c.found = found
	now := c.board.read()
	c.floor = t.floor(now.mono)
	c.raw, c.slept = now.offset, now.slept
	c.publish(t)
	c.mu.Unlock()
	c.look()
	return nil
}

// extend finds in the newest records how long the boots before lasted: what they
// wrote of it themselves is up to an hour old. It gives the first row that it changed, or
// running's.
func extend(rows map[uint32]*bootTime, running uint32, s *queue.Store) (first uint32) {
	var rings []string
	for _, r := range s.Rings() {
		rings = append(rings, r.Name)
	}
	first = running
	page, err := s.ReadAllBack(rings, 0, queue.Max{Records: newest})
	if err != nil {
		return first // then those rows stay as they are, which costs nobody an event
	}
	for i := range page.Items {
		it := &page.Items[i]
		boot := it.Stamp.Boot
		if it.Hole != nil || boot >= running || boot == 0 {
			continue
		}
		b := rows[boot]
		if b == nil {
			b = &bootTime{index: boot}
			rows[boot] = b
		}
		if it.Stamp.Mono > b.Last {
			b.Last = it.Stamp.Mono
			first = min(first, boot)
		}
	}
	return first
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
	table := c.told.Load()
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
	t := c.table.Load()
	if t == nil {
		return Unsynced, 0
	}
	_, state, bound := t.wall(c.Stamp())
	return state, bound
}

// Age is how old a stamp is, as far as it can be proven: the uptime since, and
// the off time that two syncs prove. Off time of over a day in one piece counts only 24 h
// of uptime after it was learned, so that one wrong sync evicts nothing.
func (c *Clock) Age(st queue.Stamp) time.Duration {
	t := c.table.Load()
	if t == nil {
		return 0
	}
	now := c.board.Mono()
	return t.uptime(st, now) + t.off(st, now)
}

// uptime is the time since a stamp that the board was running.
func (c *Clock) uptime(st queue.Stamp) time.Duration {
	t := c.table.Load()
	if t == nil {
		return 0
	}
	return t.uptime(st, c.board.Mono())
}
