package localapi

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// refusalsEvery is how often refused logins are told. In between they are
// counted, so that an attacker can't push the rest out of the ring.
const refusalsEvery = 10 * time.Second

// audit writes what people want to look up later into the ring audit.
type audit struct {
	pump pump

	mu      sync.Mutex
	told    time.Time
	pending int
	timer   *time.Timer
	stopped bool
	last    refusal
}

// refusal is the last refused login of a while, and how many there were.
type refusal struct {
	Address string `json:"address"`
	Why     string `json:"why"`
	Count   int    `json:"count"`
}

// refused tells of a refused login: at once, or with the others of the next 10 s.
func (a *audit) refused(addr netip.Addr, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending++
	a.last = refusal{Address: addr.String(), Why: why}
	if a.timer != nil || a.stopped {
		return
	}
	if since := time.Since(a.told); !a.told.IsZero() && since < refusalsEvery {
		a.timer = time.AfterFunc(refusalsEvery-since, a.tell)
		return
	}
	a.tellLocked()
}

func (a *audit) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = nil
	a.tellLocked()
}

func (a *audit) tellLocked() {
	if a.pending == 0 {
		return
	}
	a.last.Count = a.pending
	a.pump.Emit(auditEvent("login", "system:api", a.last), nil)
	a.pending, a.told = 0, time.Now()
}

// stop tells what is left.
func (a *audit) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	a.tellLocked()
}

// keys stores a change of keys together with the event that tells it. Whether its flush
// works out does not depend on the client's staying: a key that was stored and not known
// of, or deleted and opens still, would change sides with the next start.
func (a *audit) keys(ctx context.Context, who principal, what string, k keyRow, row queue.Row) error {
	ev := auditEvent("keys", who.from(), map[string]string{"did": what, "id": k.ID, "key": k.Name, "role": k.Role, "address": who.address()})
	if _, err := a.pump.CommitWith(context.WithoutCancel(ctx), []edge.Event{ev}, []queue.Row{row}); err != nil {
		return notStored(err)
	}
	return nil
}

// newCode tells that wrong codes made a new claim code. The code is not in it.
func (a *audit) newCode() {
	a.pump.Emit(auditEvent("claim", "system:api", map[string]string{"did": "renewed", "why": "wrong codes were tried"}), nil)
}

func auditEvent(name, from string, data any) edge.Event {
	b, err := json.Marshal(data)
	if err != nil {
		b = []byte("null")
	}
	return edge.Event{Ring: edge.RingAudit, Name: name, Kind: edge.System, From: from, Data: b}
}
