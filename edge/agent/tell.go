package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

const (
	ledgerEvery = time.Hour
	// idleWait bounds how long the last ledger waits for what was emitted before it.
	idleWait = time.Second
)

// tellStart emits what every start tells: the epoch, where a new one began, and
// the boot.
func (a *agent) tellStart() {
	if ev, ok := newEpoch(a.store); ok {
		a.pump.Emit(ev, nil)
	}
	a.pump.EmitWith(systemEvent("boot", map[string]any{
		"boot": a.board.BootID, "version": a.opt.Version, "config": a.config().Hash, "model": a.board.Model, "simulated": a.simulated(),
	}), nil, queue.Row{Table: agentTable, Key: agentKey, Value: []byte(a.id)})
}

// The row that names the agent whose store it is, for who reads it elsewhere.
const (
	agentTable = "agent"
	agentKey   = "id"
)

// StoreAgent is the id of the agent that wrote to a store last; ok is false where
// none has said its name.
func StoreAgent(s *queue.Store) (id string, ok bool) {
	raw, ok := s.Get(agentTable, agentKey)
	return string(raw), ok
}

// newEpoch is the event of an epoch in which nothing was stored yet.
func newEpoch(s *queue.Store) (edge.Event, bool) {
	epochs := s.Epochs()
	if len(epochs) == 0 {
		return edge.Event{}, false
	}
	now := epochs[len(epochs)-1]
	if s.NextN() != now.First {
		return edge.Event{}, false
	}
	data := map[string]any{"epoch": epochText(now.ID), "first_n": now.First, "first_seq": now.Rings, "why": now.Why}
	if len(epochs) > 1 {
		before := epochs[len(epochs)-2]
		data["previous"], data["last_n"] = epochText(before.ID), before.Last
	}
	return systemEvent("epoch", data), true
}

func epochText(id uint32) string { return fmt.Sprintf("%08x", id) }

// systemEvent is an event that the agent tells of itself.
func systemEvent(name string, data any) edge.Event {
	raw, err := json.Marshal(data)
	if err != nil {
		raw = json.RawMessage(`{}`) // can't happen: maps of text and numbers
	}
	return edge.Event{Name: name, Kind: edge.System, From: "system:agent", Data: raw}
}

// keepLedger tells the bounds of every ring each hour. The counts of the wear ride
// in its flush.
func (a *agent) keepLedger(ctx context.Context) error {
	tick := time.NewTicker(ledgerEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.pump.EmitWith(edge.LedgerEvent(a.store), nil, a.wear.rows()...)
		}
	}
}

// tellStop stores what is still on its way and then the ledger that closes it.
func (a *agent) tellStop() {
	ctx, cancel := context.WithTimeout(context.Background(), idleWait)
	defer cancel()
	if err := a.pump.Commit(ctx); err != nil {
		a.logged(fmt.Errorf("store the last events: %w", err))
		return
	}
	if _, err := a.pump.CommitWith(ctx, []edge.Event{edge.LedgerEvent(a.store)}, a.wear.rows()); err != nil {
		a.logged(fmt.Errorf("store the ledger: %w", err))
	}
}
