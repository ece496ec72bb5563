package gpio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Command ids are kept in commandTable, the newest maxCommands of them.
const (
	commandTable = "commands"
	maxCommands  = 10_000
	maxCommandID = 128
	recordWithin = 5 * time.Second // for the row that a toggle or pulse needs before it acts
)

// commandRow is what is kept of a command id.
type commandRow struct {
	Order   uint64        `json:"order"` // the higher, the newer
	Device  string        `json:"device"`
	Verb    string        `json:"verb"`
	Outcome *edge.Outcome `json:"outcome,omitempty"` // nil: recorded before it acted
}

// commandLog remembers which command ids acted, so that a repeat does not act
// again, and forgets the oldest beyond maxCommands.
type commandLog struct {
	rows rows

	mu      sync.Mutex
	running map[string]chan struct{}
	fresh   map[string]commandRow // on their way to the store, or about to be
	ids     []string              // oldest first
	order   uint64
}

// loadCommandLog reads which ids there are.
func loadCommandLog(rs rows) (*commandLog, error) {
	l := &commandLog{rows: rs, running: map[string]chan struct{}{}, fresh: map[string]commandRow{}}
	type known struct {
		id    string
		order uint64
	}
	var all []known
	err := rs.Each(commandTable, "", func(id string, value []byte) bool {
		var row commandRow
		_ = json.Unmarshal(value, &row) // one that can't be read is the oldest, and goes first
		all = append(all, known{id, row.Order})
		l.order = max(l.order, row.Order)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read command ids: %w", err)
	}
	slices.SortFunc(all, func(a, b known) int { return cmp.Compare(a.order, b.order) })
	for _, k := range all {
		l.ids = append(l.ids, k.id)
	}
	return l, nil
}

// commandSlot is a command id that is acting now.
type commandSlot struct {
	log    *commandLog
	cmd    edge.Command
	row    commandRow
	passed *passed // set where a client is to do it
}

// begin claims an id. Where it acted before, it gives what it did; where it is
// acting now, it waits for that.
func (l *commandLog) begin(ctx context.Context, cmd edge.Command) (*commandSlot, *edge.Outcome, error) {
	for {
		l.mu.Lock()
		busy, ok := l.running[cmd.ID]
		if !ok {
			break
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for the same command: %w", ctx.Err())
		}
	}
	defer l.mu.Unlock()
	row, ok := l.known(cmd.ID)
	if !ok {
		l.running[cmd.ID] = make(chan struct{})
		return &commandSlot{log: l, cmd: cmd, row: commandRow{Device: cmd.Device, Verb: cmd.Verb}}, nil, nil
	}
	if row.Device != cmd.Device || row.Verb != cmd.Verb {
		return nil, nil, fmt.Errorf("%w: the id %q was used for %s %s", edge.ErrRefused, cmd.ID, row.Device, row.Verb)
	}
	out := edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb,
		Why: "this id was recorded before a restart cut it off; whether it acted is not known, and it does not act again"}
	if row.Outcome != nil {
		out = *row.Outcome
	}
	out.Repeat = true
	return nil, &out, nil
}

// known finds an id. The caller holds l.mu.
func (l *commandLog) known(id string) (commandRow, bool) {
	if row, ok := l.fresh[id]; ok {
		return row, true
	}
	value, ok := l.rows.Get(commandTable, id)
	if !ok {
		return commandRow{}, false
	}
	var row commandRow
	return row, json.Unmarshal(value, &row) == nil
}

// find finds an id.
func (l *commandLog) find(id string) (commandRow, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known(id)
}

// record stores the id before it acts. On an error nothing may act. It outlives
// the caller: a client that hangs up must not leave it half done.
func (s *commandSlot) record(ctx context.Context, pump emitter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	err := pump.Commit(ctx, s.rows()...)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		// It may still be stored: what a repeat gets is that it did not act.
		s.finish(edge.Outcome{ID: s.cmd.ID, Device: s.cmd.Device, Verb: s.cmd.Verb, Why: "it could not be recorded in time and did not act"})
	case err != nil:
		s.log.undo(s.cmd.ID)
	default:
		return nil
	}
	return fmt.Errorf("record command %s before it acts: %w", s.cmd.ID, err)
}

// undo forgets an id that was not stored and did not act.
func (l *commandLog) undo(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.fresh, id)
	if i := slices.Index(l.ids, id); i >= 0 {
		l.ids = slices.Delete(l.ids, i, i+1)
	}
}

// finish remembers what the command did and gives the rows that store it.
func (s *commandSlot) finish(out edge.Outcome) []queue.Row {
	s.row.Outcome = &out
	return s.rows()
}

// recorded reports whether the id has its place already.
func (s *commandSlot) recorded() bool { return s.row.Order > 0 }

// rows gives the id its place and makes room for it.
func (s *commandSlot) rows() []queue.Row {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []queue.Row
	if s.row.Order == 0 {
		l.order++
		s.row.Order = l.order
		l.ids = append(l.ids, s.cmd.ID)
		for len(l.ids) > maxCommands {
			out = append(out, queue.Row{Table: commandTable, Key: l.ids[0]})
			delete(l.fresh, l.ids[0])
			l.ids = l.ids[1:]
		}
	}
	l.fresh[s.cmd.ID] = s.row
	value, err := json.Marshal(s.row)
	if err != nil {
		return out // a device's value is JSON, so this can't be
	}
	return append(out, queue.Row{Table: commandTable, Key: s.cmd.ID, Value: value})
}

// end lets repeats go on. Where the outcome is durable, the store has it and
// RAM need not.
func (s *commandSlot) end(durable bool) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if durable {
		delete(l.fresh, s.cmd.ID)
	}
	close(l.running[s.cmd.ID])
	delete(l.running, s.cmd.ID)
}
