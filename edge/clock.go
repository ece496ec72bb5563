package edge

import (
	"context"
	"time"

	"fieldpost/queue"
)

// Clock turns stamps into wall time.
type Clock struct{ board Board }

// NewClock makes a clock of a board. It can give ages (0) before Attach.
func NewClock(b Board) *Clock { return &Clock{board: b} }

// Attach loads the table from the store.
func (c *Clock) Attach(s *queue.Store) error { return nil }

// Stamp is now.
func (c *Clock) Stamp() queue.Stamp { return queue.Stamp{} }

// Time is the wall time of a stamp.
func (c *Clock) Time(st queue.Stamp) (t time.Time, state ClockState, bound time.Duration) {
	return time.Time{}, Unsynced, 0
}

// BootID is the id of a boot of the store's boot table, as events carry it.
func (c *Clock) BootID(index uint32) string { return "" }

// Age is how old a stamp is, as far as it can be proven.
func (c *Clock) Age(st queue.Stamp) time.Duration { return 0 }

// State is how far the clock can be trusted now.
func (c *Clock) State() (ClockState, time.Duration) { return Unsynced, 0 }

// Run keeps the table.
func (c *Clock) Run(ctx context.Context, p *Pump) error { <-ctx.Done(); return nil }
