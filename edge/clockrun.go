package edge

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"fieldpost/queue"
)

const (
	pollUnsynced = 5 * time.Second
	pollSynced   = 30 * time.Second

	// keepLast is how often a running boot notes that it still runs.
	keepLast = time.Hour

	// stepped is the least change of the offset that is a step. Reading two
	// clocks, one after the other on a busy board, makes less.
	stepped = 5 * time.Millisecond
)

// finding is what a look at the clock changed.
type finding struct {
	news bool          // a mark was added: the state changed, or the clock was set
	grew bool          // the bound of the last mark grew
	step time.Duration // by how much the clock was set
}

// Run keeps the table until ctx is done: it polls adjtimex, follows steps, and
// writes what it learns, each with a system event "clock". A write that fails is
// tried again at the next look. It returns nil.
func (c *Clock) Run(ctx context.Context, p *Pump) error {
	steps := c.board.Steps(ctx)
	told := c.neverTold()
	written := c.board.Mono()
	var step time.Duration
	changed := told
	for {
		f := c.look()
		told = told || f.news
		changed = changed || f.news || f.grew
		if f.step != 0 {
			step = f.step
		}
		if now := c.board.Mono(); changed || time.Duration(now-written) >= keepLast {
			if c.write(ctx, p, told, step) == nil {
				told, changed, step, written = false, false, 0, now
			}
		}
		every := pollUnsynced
		if state, _ := c.State(); state == Synced && !changed {
			every = pollSynced
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case _, ok := <-steps:
			if !ok {
				steps = nil
			}
		case <-timer.C:
		}
		timer.Stop()
	}
}

// neverTold is true where this boot's row is only in RAM: Attach made it.
func (c *Clock) neverTold() bool {
	t := c.table.Load()
	return t != nil && t.current().Last == 0
}

// look reads the board's clocks and puts what is new into the table.
func (c *Clock) look() (f finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	if t == nil {
		return f
	}
	synced, bound, err := c.board.Adjtimex()
	synced = synced && err == nil // a clock that can't be asked is not trusted
	mono, offset := c.offset()
	if time.Duration(offset-c.raw).Abs() >= stepped {
		c.floor = math.MinInt64 // somebody set the clock: that is the better guess
	}
	c.raw = offset
	if !synced {
		offset = max(offset, c.floor)
	}
	b := *t.current()
	b.Marks = slices.Clone(b.Marks)
	n := len(b.Marks)
	if n > 0 {
		last := b.Marks[n-1]
		change := time.Duration(offset - last.Offset)
		if change.Abs() >= stepped {
			f.step = change
		}
		f.news = last.Synced != synced || f.step != 0
		if !f.news && synced && int64(bound) > last.Bound {
			b.Marks[n-1].Bound = 2 * int64(bound) // doubled, so that a slow growth is not written each time
			f.grew = true
		}
	} else {
		f.news = true
	}
	if f.news {
		m := mark{Mono: mono, Offset: offset, Synced: synced}
		if synced {
			m.Bound = int64(bound)
		}
		b.Marks = append(b.Marks, m)
		if len(b.Marks) > maxMarks {
			b.Marks = b.Marks[1:]
		}
	}
	if f.news || f.grew {
		c.table.Store(t.with(&b))
	}
	return f
}

// offset is wall minus mono in ns, from the quickest of a few readings.
func (c *Clock) offset() (mono, offset int64) {
	best := int64(-1)
	for range 3 {
		before := c.board.Mono()
		wall := c.board.Wall().UnixNano()
		after := c.board.Mono()
		if spread := after - before; best < 0 || spread < best {
			best, mono = spread, before
			offset = wall - before - spread/2
		}
	}
	return mono, offset
}

// write makes the running boot's row durable, and with it, where told is true, the
// event that tells of it.
func (c *Clock) write(ctx context.Context, p *Pump, told bool, step time.Duration) error {
	now := c.Stamp()
	c.mu.Lock()
	t := c.table.Load()
	b := *t.current()
	b.Last = max(b.Last, now.Mono)
	c.table.Store(t.with(&b))
	c.mu.Unlock()
	row, err := b.row()
	if err != nil {
		return err
	}
	rows := []queue.Row{row}
	if n := len(t.rows); n > maxBoots {
		rows = append(rows, queue.Row{Table: tableClock, Key: rowKey(t.rows[0].index)})
	}
	if !told {
		return p.Commit(ctx, rows...)
	}
	ev, err := c.event(&b, step)
	if err != nil {
		return err
	}
	_, err = p.CommitWith(ctx, []Event{ev}, rows)
	return err
}

// event tells what the boot's last mark learned.
func (c *Clock) event(b *bootTime, step time.Duration) (Event, error) {
	m := b.Marks[len(b.Marks)-1]
	state := Unsynced
	if m.Synced {
		state = Synced
	}
	data, err := json.Marshal(struct {
		Boot  string     `json:"boot"`
		State ClockState `json:"state"`
		Zero  string     `json:"zero"` // the wall time of mono 0
		Bound float64    `json:"bound,omitempty"`
		Mono  int64      `json:"mono"` // when it was learned
		Step  float64    `json:"step,omitempty"`
	}{shortBoot(b.Boot), state, string(appendTime(nil, time.Unix(0, m.Offset))), time.Duration(m.Bound).Seconds(), m.Mono, step.Seconds()})
	if err != nil {
		return Event{}, err
	}
	return Event{Name: "clock", Kind: System, From: "system:clock", Mono: m.Mono, Data: data}, nil
}
