package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

const (
	mostKept     = 10_000           // events that a mailbox with keep may show
	idleStep     = time.Hour        // how often idleness is looked at
	idleSave     = 6                // steps of idleness between two rows
	idleMost     = 30 * 24          // steps of idleness, in uptime, after which a mailbox goes
	boxScanTime  = 10 * time.Second // the longest look for what a mailbox still shows
	madeByConfig = "config"         // the config names it: it stays
	madeByAPI    = "api"            // a client made it
)

// mailboxes are durable readers for clients of the network: a position of n in
// the store, and a name filter that lives beside it.
type mailboxes struct {
	d     Deps
	agent string
	max   int

	adopting chan struct{} // has a token while the store's are made what the config says

	mu    sync.Mutex
	given []Mailbox
	boxes map[string]*box
}

// box is what is known of a mailbox beside its row. Its lock keeps changes of
// the row one at a time.
type box struct {
	mu   sync.Mutex
	kept *keptWindow // nil until it is looked into, or where it keeps all
	idle int         // steps
	used bool        // since the last step
}

// boxRest is what a mailbox's row holds beside the position.
type boxRest struct {
	Names []string `json:"names,omitempty"`
	Rings []string `json:"rings,omitempty"`
	Keep  *int     `json:"keep,omitempty"`
	Made  string   `json:"made"`
	Owner string   `json:"owner,omitempty"` // the key that made it, where that is bounded to names
	Idle  int      `json:"idle,omitempty"`  // steps, as of the last save
}

// boxAnswer is a mailbox as the API shows it.
type boxAnswer struct {
	Name     string   `json:"name"`
	Names    []string `json:"names,omitempty"`
	Rings    []string `json:"rings,omitempty"`
	Keep     *int     `json:"keep,omitempty"`
	After    string   `json:"after"`
	Made     string   `json:"made"`
	IdleDays float64  `json:"idle_days"`
}

func newMailboxes(d Deps, opt Options, max int) (*mailboxes, error) {
	if err := checkGivenBoxes(opt.Mailboxes, max); err != nil {
		return nil, err
	}
	return &mailboxes{d: d, agent: opt.Agent, max: max, given: opt.Mailboxes, boxes: map[string]*box{}, adopting: make(chan struct{}, 1)}, nil
}

// checkGivenBoxes refuses mailboxes of the config that can't be.
func checkGivenBoxes(given []Mailbox, max int) error {
	for _, g := range given {
		if !nameForm.MatchString(g.Name) {
			return fmt.Errorf("mailbox %q: use small letters, digits, - and _", g.Name)
		}
		if err := checkBox(g.Names, g.Keep); err != nil {
			return fmt.Errorf("mailbox %q: %w", g.Name, err)
		}
	}
	if len(given) > max {
		return fmt.Errorf("there are %d mailboxes in the config, and %d are the most", len(given), max)
	}
	return nil
}

func checkBox(names []string, keep *int) error {
	if err := checkPatterns("#/names", names); err != nil {
		return err
	}
	if keep != nil && (*keep < 0 || *keep > mostKept) {
		return pointed("#/keep", "use a number from 0 to %d", mostKept)
	}
	return nil
}

func readRest(m queue.Mailbox) boxRest {
	var r boxRest
	if json.Unmarshal(m.Rest, &r) != nil {
		r = boxRest{Made: madeByAPI} // it reads everything, as far as its reader may
	}
	return r
}

func boxRow(name string, n uint64, r boxRest) (queue.Row, error) {
	rest, err := json.Marshal(r)
	if err != nil {
		return queue.Row{}, fmt.Errorf("write mailbox %q: %w", name, err)
	}
	return queue.MailboxRow(queue.Mailbox{Name: name, N: n, Rest: rest}), nil
}

// box finds what is known of a mailbox that the store has.
func (m *mailboxes) box(name string) *box {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boxLocked(name)
}

func (m *mailboxes) boxLocked(name string) *box {
	b := m.boxes[name]
	if b == nil {
		b = &box{}
		if row, ok := m.d.Store.Mailbox(name); ok {
			b.idle = readRest(row).Idle
		}
		m.boxes[name] = b
	}
	return b
}

func (m *mailboxes) position(n uint64) edge.Position {
	return edge.Position{Epoch: m.d.Store.Epoch(), N: n}
}

func (m *mailboxes) answer(row queue.Mailbox, r boxRest, b *box) boxAnswer {
	return boxAnswer{row.Name, r.Names, r.Rings, r.Keep, m.position(row.N).String(), r.Made, float64(b.idle) * idleStep.Hours() / 24}
}

// open gives a mailbox to someone who may change it, locked.
func (m *mailboxes) open(name string, who principal) (*box, queue.Mailbox, boxRest, error) {
	if _, ok := m.d.Store.Mailbox(name); !ok {
		return nil, queue.Mailbox{}, boxRest{}, notFound("there is no mailbox %q", name)
	}
	b := m.box(name)
	b.mu.Lock()
	row, ok := m.d.Store.Mailbox(name)
	if !ok {
		b.mu.Unlock()
		return nil, row, boxRest{}, notFound("there is no mailbox %q", name)
	}
	r := readRest(row)
	if err := mayChange(name, r, who); err != nil {
		b.mu.Unlock()
		return nil, row, r, err
	}
	return b, row, r, nil
}

// mayChange keeps keys that are bounded to names to the mailboxes they made.
func mayChange(name string, r boxRest, who principal) error {
	if who.names != nil && r.Owner != who.name {
		return forbidden("the key %q is bounded to names, and mailbox %q is not its own", who.name, name)
	}
	return nil
}

// run stores the config's mailboxes and drops idle ones, until ctx is done.
func (m *mailboxes) run(ctx context.Context, log *slog.Logger) {
	if err := m.adopt(ctx); err != nil && ctx.Err() == nil {
		log.Error("store the mailboxes of the config", "err", err)
	}
	t := time.NewTicker(idleStep)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := m.sweep(ctx); err != nil && ctx.Err() == nil {
				log.Error("drop idle mailboxes", "err", err)
			}
		}
	}
}

// adopt makes the store's mailboxes what the config says. One that has left the
// config becomes a client's, and goes when nobody uses it. One at a time does this: what
// the start has not written yet must not undo what a reload gave.
func (m *mailboxes) adopt(ctx context.Context) error {
	select {
	case m.adopting <- struct{}{}:
		defer func() { <-m.adopting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	given := m.given
	m.mu.Unlock()
	for _, g := range given {
		n := m.d.Store.NextN() - 1
		err := m.rewrite(ctx, g.Name, n, func(*boxRest) *boxRest {
			return &boxRest{Names: g.Names, Rings: g.Rings, Keep: g.Keep, Made: madeByConfig}
		})
		if err != nil {
			return err
		}
	}
	for _, row := range m.d.Store.Mailboxes() {
		if slices.ContainsFunc(given, func(g Mailbox) bool { return g.Name == row.Name }) {
			continue
		}
		err := m.rewrite(ctx, row.Name, row.N, func(r *boxRest) *boxRest {
			if r == nil || r.Made != madeByConfig {
				return nil
			}
			r.Made = madeByAPI
			return r
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite changes what a mailbox's row holds beside the position. It is locked
// meanwhile: an acknowledgement that comes in between must not be undone. change
// gets nil where there is no row yet, which then begins at n; it gives nil to
// leave all as it is.
func (m *mailboxes) rewrite(ctx context.Context, name string, n uint64, change func(*boxRest) *boxRest) error {
	m.mu.Lock()
	b := m.boxLocked(name)
	m.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	var old *boxRest
	now, there := m.d.Store.Mailbox(name)
	if there {
		r := readRest(now)
		n, old = now.N, &r
	}
	fresh := change(old)
	if fresh == nil {
		return nil
	}
	row, err := boxRow(name, n, *fresh)
	if err != nil || there && bytes.Equal(row.Value, queue.MailboxRow(now).Value) {
		return err // as it was: a start need not write it again
	}
	if err := m.d.Pump.Commit(ctx, row); err != nil {
		return err
	}
	b.kept = nil // it was what the filter before let through
	return nil
}

// give puts other mailboxes in the place of the config's.
func (m *mailboxes) give(ctx context.Context, given []Mailbox) error {
	m.mu.Lock()
	m.given = given
	m.mu.Unlock()
	return m.adopt(ctx)
}

// sweep counts a step of idleness for each mailbox that was not used in it.
func (m *mailboxes) sweep(ctx context.Context) error {
	for _, row := range m.d.Store.Mailboxes() {
		if readRest(row).Made == madeByConfig {
			continue
		}
		if err := m.age(ctx, row.Name); err != nil {
			return err
		}
	}
	return nil
}

// age counts a step for one mailbox, and drops it where that was the last. It is
// locked meanwhile, as for an acknowledgement.
func (m *mailboxes) age(ctx context.Context, name string) error {
	b := m.box(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	row, ok := m.d.Store.Mailbox(name)
	if !ok {
		return nil
	}
	b.idle++
	if b.used {
		b.idle, b.used = 0, false
	}
	if b.idle >= idleMost {
		return m.d.Pump.Commit(ctx, queue.DropMailboxRow(name))
	}
	r := readRest(row)
	if b.idle/idleSave == r.Idle/idleSave {
		return nil
	}
	r.Idle = b.idle
	saved, err := boxRow(name, row.N, r)
	if err != nil {
		return err
	}
	return m.d.Pump.Commit(ctx, saved)
}
