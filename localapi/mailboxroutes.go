package localapi

import (
	"context"
	"errors"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

func getMailboxes(s *Server, _ *request) (any, error) {
	out := []boxAnswer{}
	for _, row := range s.Store.Mailboxes() {
		b := s.boxes.box(row.Name)
		b.mu.Lock()
		out = append(out, s.boxes.answer(row, readRest(row), b))
		b.mu.Unlock()
	}
	return map[string]any{"mailboxes": out}, nil
}

// boxPage is a mailbox with events that were not acknowledged.
type boxPage struct {
	eventsAnswer
	box boxAnswer
}

// AppendJSON writes the mailbox, its events, what to acknowledge once they are
// dealt with, and whether there are more.
func (a boxPage) AppendJSON(dst []byte) []byte {
	dst = appendText(append(dst, `{"name":`...), a.box.Name)
	dst = append(append(append(dst, `,"after":"`...), a.box.After...), '"')
	dst = appendEvents(append(dst, `,"events":`...), a.events)
	dst = appendPosition(append(dst, `,"next":`...), a.at)
	if a.more {
		return append(dst, `,"more":true}`...)
	}
	return append(dst, `,"more":false}`...)
}

func getMailbox(s *Server, r *request) (any, error) {
	name := r.PathValue("mailbox")
	for k := range r.URL.Query() {
		if k != "limit" {
			return nil, badRequest("parameter %q is not known", k)
		}
	}
	limit, err := limitOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	row, ok := s.Store.Mailbox(name)
	if !ok {
		return nil, notFound("there is no mailbox %q", name)
	}
	rest := readRest(row)
	for _, ring := range rest.Rings {
		if err := r.who.mayRead(ring); err != nil {
			return nil, err
		}
	}
	b := s.boxes.box(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used, b.idle = true, 0
	q := edge.Query{Rings: orNil(rest.Rings), Names: orNil(rest.Names), Limit: limit, After: edge.Position{N: row.N}}
	gaps, err := s.boxes.look(r.Context(), b, &q, row.N, rest.Keep)
	if err != nil {
		return nil, err
	}
	q.Scope = r.who.names
	page, err := s.readPage(q)
	if err != nil {
		return nil, err
	}
	a := boxPage{page, s.boxes.answer(row, rest, b)}
	a.events = append(gaps, a.events...)
	return a, nil
}

// look finds where a mailbox with keep begins to show, and the gap before that.
// The mailbox is locked.
func (m *mailboxes) look(ctx context.Context, b *box, q *edge.Query, n uint64, keep *int) ([]edge.Event, error) {
	if keep == nil {
		return nil, nil
	}
	if epoch := m.d.Store.Epoch(); b.kept == nil || b.kept.epoch != epoch {
		b.kept = &keptWindow{epoch: epoch, scanned: edge.Position{N: n}}
	}
	ctx, cancel := context.WithTimeout(ctx, boxScanTime)
	defer cancel()
	if err := b.kept.follow(ctx, m.d.Log, *q, *keep); err != nil {
		return nil, err
	}
	switch {
	case len(b.kept.shown) > 0:
		q.After.N = max(n, b.kept.shown[0].n-1)
	default:
		q.After = b.kept.scanned
	}
	return b.kept.gaps(m.agent), nil
}

// boxInput is what PUT takes.
type boxInput struct {
	Names []string `json:"names"`
	Rings []string `json:"rings"`
	Keep  *int     `json:"keep"`
	After *string  `json:"after"`
}

func putMailbox(s *Server, r *request) (any, error) {
	name := r.PathValue("mailbox")
	if !nameForm.MatchString(name) {
		return nil, invalid("mailbox %q: use small letters, digits, - and _, at most 64", name)
	}
	var in boxInput
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	if err := checkBox(in.Names, in.Keep); err != nil {
		return nil, err
	}
	if len(in.Rings) > maxPatterns {
		return nil, pointed("#/rings", "at most %d", maxPatterns)
	}
	for _, ring := range in.Rings {
		if err := checkRing(ring, r.who); err != nil {
			return nil, err
		}
	}
	return s.boxes.put(r.Context(), r.who, name, in)
}

// put makes a mailbox, or changes one: then it stays where it is, unless a
// position is given.
func (m *mailboxes) put(ctx context.Context, who principal, name string, in boxInput) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := boxRest{Names: in.Names, Rings: in.Rings, Keep: in.Keep, Made: madeByAPI}
	if who.names != nil {
		rest.Owner = who.name
	}
	row, there := m.d.Store.Mailbox(name)
	if there {
		old := readRest(row)
		if old.Made == madeByConfig {
			return nil, conflict("mailbox %q is in the config; change it there", name)
		}
		if err := mayChange(name, old, who); err != nil {
			return nil, err
		}
		rest.Owner = old.Owner
	} else if len(m.d.Store.Mailboxes()) >= m.max {
		return nil, conflict("there are %d mailboxes, which is the most there can be; delete one first", m.max)
	}
	b := m.boxLocked(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	n := m.d.Store.NextN() - 1
	if row, ok := m.d.Store.Mailbox(name); ok {
		n = row.N // an acknowledgement may just have moved it
	}
	if in.After != nil {
		var err error
		if n, err = m.locate(*in.After); err != nil {
			return nil, err
		}
	}
	if err := m.save(ctx, name, n, rest); err != nil {
		return nil, err
	}
	b.kept, b.idle, b.used = nil, 0, true
	a := m.answer(queue.Mailbox{Name: name, N: n}, rest, b)
	if there {
		return a, nil
	}
	return created{a}, nil
}

func (m *mailboxes) save(ctx context.Context, name string, n uint64, r boxRest) error {
	row, err := boxRow(name, n, r)
	if err != nil {
		return err
	}
	if err := m.d.Pump.Commit(ctx, row); err != nil {
		return notStored(err)
	}
	return nil
}

// locate is the n of a position that a client gives.
func (m *mailboxes) locate(text string) (uint64, error) {
	p, err := edge.ParsePosition(text)
	if err != nil {
		return 0, pointed("#/after", "%v", err)
	}
	if p.Epoch == 0 {
		p.Epoch = m.d.Store.Epoch()
	}
	if last := m.d.Store.NextN() - 1; p.Epoch == m.d.Store.Epoch() && p.N > last {
		return 0, pointed("#/after", "position %q is of the future: the newest event is %d", text, last)
	}
	n, _, err := m.d.Store.Locate(p.Epoch, p.N)
	if errors.Is(err, queue.ErrNotFound) {
		return 0, conflict("position %q is of an epoch that this store does not know", text)
	}
	return n, err
}

func ackMailbox(s *Server, r *request) (any, error) {
	var in struct {
		After *string `json:"after"`
	}
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	if in.After == nil {
		return nil, pointed("#/after", "want the position up to which events are dealt with: next of the mailbox")
	}
	return s.boxes.ack(r.Context(), r.who, r.PathValue("mailbox"), *in.After)
}

// ack moves a mailbox on, never back, and returns when that is durable.
func (m *mailboxes) ack(ctx context.Context, who principal, name, after string) (any, error) {
	n, err := m.locate(after)
	if err != nil {
		return nil, err
	}
	b, row, rest, err := m.open(name, who)
	if err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	if n > row.N {
		rest.Idle = 0
		if err := m.save(ctx, name, n, rest); err != nil {
			return nil, err
		}
		row.N = n
	}
	if b.kept != nil {
		b.kept.acknowledge(row.N)
	}
	b.used, b.idle = true, 0
	return map[string]string{"name": name, "after": m.position(row.N).String()}, nil
}

func deleteMailbox(s *Server, r *request) (any, error) {
	name := r.PathValue("mailbox")
	b, _, rest, err := s.boxes.open(name, r.who)
	if err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	if rest.Made == madeByConfig {
		return nil, conflict("mailbox %q is in the config; take it out there", name)
	}
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	if err := s.Pump.Commit(ctx, queue.DropMailboxRow(name)); err != nil {
		return nil, notStored(err)
	}
	b.kept, b.idle = nil, 0
	return none{}, nil
}
