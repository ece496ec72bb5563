package edge

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"fieldpost/queue"
)

const (
	pollUnsynced = 5 * time.Second
	pollSynced   = 30 * time.Second

	// keepLast is how often a running boot notes that it still runs.
	keepLast = time.Hour

	// stepped is the least change of the offset that is a step.
	stepped = 5 * time.Millisecond

	// unseen is how far a synced clock may go wrong until the next look, as the
	// kernel reckons. That a daemon's own error has grown is learned then.
	unseen = pollSynced / 1e6 * driftPPM

	// mostSlew is the largest offset that the kernel slews away (MAXPHASE).
	mostSlew = 500 * time.Millisecond
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
	now := c.board.read()
	if time.Duration(now.offset-c.raw-now.slept+c.slept).Abs() >= stepped+now.doubt {
		c.floor = never // somebody set the clock: that is the better guess
	}
	jump := time.Duration(now.offset - c.raw)
	c.raw, c.slept = now.offset, now.slept
	m := mark{Mono: now.mono, Offset: now.offset, Slept: now.slept, Synced: now.synced}
	if m.Synced {
		m.Bound = int64(now.bound + now.doubt + unseen)
		if jump.Abs() < mostSlew { // else a daemon set it, and has slewed nothing
			m.Slew = int64(mostSlew)
		}
	} else {
		m.Offset = max(m.Offset, c.floor)
	}
	b := *t.current()
	b.Marks = slices.Clone(b.Marks)
	f = b.learn(m, now.doubt)
	if f.news || f.grew {
		if c.held == 0 && f.news && m.Synced {
			c.held = m.Mono
		}
		c.publish(t.with(&b))
	}
	return f
}

// learn puts a mark into the row where it is new.
func (b *bootTime) learn(m mark, doubt time.Duration) (f finding) {
	n := len(b.Marks)
	if n == 0 {
		b.Marks = append(b.Marks, m)
		return finding{news: true}
	}
	last := &b.Marks[n-1]
	change := time.Duration(m.Offset - last.Offset)
	if change.Abs() >= stepped+doubt {
		f.step = change
	}
	slept := time.Duration(m.Slept-last.Slept) >= stepped
	if !slept {
		m.Slept = last.Slept // what is read of it trembles
	}
	f.news = last.Synced != m.Synced || f.step != 0 || slept
	switch {
	case f.news:
		if last.Synced {
			m.Slew = 0
		}
		b.Marks = append(b.Marks, m)
		b.trim()
	case m.Synced && m.Bound+int64(change.Abs()) > last.Bound:
		last.Bound = 2 * (m.Bound + int64(change.Abs())) // doubled, so that a slow growth is not written each time
		f.grew = true
	}
	return f
}

// trim keeps the row small. Of marks that were not synced the last of a run tells
// all; without any such, what the first mark told is told by the next one that was
// synced.
func (b *bootTime) trim() {
	if len(b.Marks) <= maxMarks {
		return
	}
	for i := range len(b.Marks) - 1 {
		if m, next := &b.Marks[i], &b.Marks[i+1]; !m.Synced && !next.Synced && m.Slept == next.Slept {
			b.Marks = slices.Delete(b.Marks, i+1, i+2)
			*m = mark{Mono: m.Mono, Offset: next.Offset, Slept: m.Slept}
			return
		}
	}
	b.Marks = b.Marks[1:]
}

// publish makes t the table. What a sync has just taught is not told to a reader
// before it is durable: after a power cut nobody would know it any more. Until then its
// time is a guess. The caller holds mu.
func (c *Clock) publish(t *clockTable) {
	c.table.Store(t)
	if c.held != 0 {
		b := *t.current()
		b.Marks = slices.Clone(b.Marks)
		for i := range b.Marks {
			if m := &b.Marks[i]; m.Mono >= c.held {
				m.Synced, m.Bound, m.Slew = false, 0, 0
			}
		}
		t = t.with(&b)
	}
	c.told.Store(t)
}

// clockReading is what the board's clocks said at a moment.
type clockReading struct {
	mono   int64
	offset int64 // wall minus mono
	slept  int64
	doubt  time.Duration // how far offset may be off, as clocks are read one after the other
	synced bool
	bound  time.Duration
}

// read takes the quickest of a few readings. The clock is synced only where it was
// before them and still is: one that is set in between has an offset that nobody
// vouches for.
func (b *Board) read() (r clockReading) {
	synced, bound, err := b.Adjtimex()
	best := int64(-1)
	for range 3 {
		before := b.Mono()
		wall := b.Wall().UnixNano()
		after := b.Mono()
		if spread := after - before; best < 0 || spread < best {
			best, r.mono = spread, before
			r.offset = wall - before - spread/2
		}
	}
	r.doubt = time.Duration(best+1) / 2
	if b.Slept != nil {
		r.slept = int64(b.Slept())
	}
	still, grown, again := b.Adjtimex()
	// A clock that can't be asked is not trusted.
	r.synced = synced && still && err == nil && again == nil
	r.bound = max(bound, grown)
	return r
}

// write makes the running boot's row durable, and with it what Attach found of
// those before and, where told is true, the event that tells of it.
func (c *Clock) write(ctx context.Context, p *Pump, told bool, step time.Duration) error {
	now := c.Stamp()
	c.mu.Lock()
	b := *c.table.Load().current()
	b.Last = max(b.Last, now.Mono)
	t := c.table.Load().with(&b)
	c.publish(t)
	c.mu.Unlock()
	rows, err := t.rowsFrom(c.found)
	if err != nil {
		return err
	}
	if n := len(t.rows); n > maxBoots {
		rows = append(rows, queue.Row{Table: tableClock, Key: rowKey(t.rows[0].index)})
	}
	var evs []Event
	if told {
		ev, err := c.event(&b, step)
		if err != nil {
			return err
		}
		evs = []Event{ev}
	}
	if _, err := p.CommitWith(ctx, evs, rows); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found, c.held = b.index, 0
	c.publish(t)
	return nil
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
