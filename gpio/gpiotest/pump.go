package gpiotest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Pump stands in for edge.Pump and the store's rows, in memory. It stores at
// once and never gives a number: its tickets stay open.
type Pump struct {
	// React is called for each event before it is kept, as edge.Pump does.
	React func(*edge.Event, *edge.Ticket)

	mu     sync.Mutex
	events []edge.Event
	causes map[*edge.Ticket]edge.Event
	cause  []*edge.Ticket
	rows   map[string]map[string][]byte
	fail   error
	deaf   bool
}

// NewPump makes an empty one.
func NewPump() *Pump {
	return &Pump{causes: map[*edge.Ticket]edge.Event{}, rows: map[string]map[string][]byte{}}
}

// Fail makes Commit fail with err, until it is nil.
func (p *Pump) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// Deaf makes events and rows vanish, as a kill before the flush does.
func (p *Pump) Deaf(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = on
}

// EmitWith keeps an event and its rows.
func (p *Pump) EmitWith(ev edge.Event, cause *edge.Ticket, rows ...queue.Row) *edge.Ticket {
	t := &edge.Ticket{}
	p.mu.Lock()
	if !p.deaf {
		p.events, p.cause = append(p.events, ev), append(p.cause, cause)
		p.causes[t] = ev
		p.put(rows)
	}
	react := p.React
	p.mu.Unlock()
	if react != nil {
		react(&ev, t)
	}
	return t
}

// Commit keeps rows.
func (p *Pump) Commit(_ context.Context, rows ...queue.Row) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	p.put(rows)
	return nil
}

func (p *Pump) put(rows []queue.Row) {
	for _, r := range rows {
		if p.rows[r.Table] == nil {
			p.rows[r.Table] = map[string][]byte{}
		}
		if r.Value == nil {
			delete(p.rows[r.Table], r.Key)
			continue
		}
		p.rows[r.Table][r.Key] = slices.Clone(r.Value)
	}
}

// Get reads a row.
func (p *Pump) Get(table, key string) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.rows[table][key]
	return v, ok
}

// Each reads the rows of a table in order.
func (p *Pump) Each(table, from string, fn func(string, []byte) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for k := range p.rows[table] {
		if k >= from {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, p.rows[table][k]) {
			break
		}
	}
	return nil
}

// Rows is the number of rows of a table.
func (p *Pump) Rows(table string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rows[table])
}

// Events gives what was kept, of one device or, with "", of all.
func (p *Pump) Events(device string) []edge.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []edge.Event
	for _, ev := range p.events {
		if device == "" || ev.Name == device {
			out = append(out, ev)
		}
	}
	return out
}

// Lines gives the kept events as "kind data", for tables of expectations.
func (p *Pump) Lines(device string) string {
	var b strings.Builder
	for _, ev := range p.Events(device) {
		b.WriteString(string(ev.Kind) + " " + string(ev.Data) + "\n")
	}
	return b.String()
}

// Cause gives the event that caused the i-th kept one; false where there is none.
func (p *Pump) Cause(i int) (edge.Event, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ev, ok := p.causes[p.cause[i]]
	return ev, ok
}

// Forget drops the events, and keeps the rows.
func (p *Pump) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events, p.cause = nil, nil
}
