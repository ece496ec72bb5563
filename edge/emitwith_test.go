package edge_test

import (
	"encoding/json"
	"errors"
	"testing"

	"fieldpost/edge"
	"fieldpost/queue"
)

// TestEmitWithRows: an event's rows are stored in its own flush, also where that
// flush had to be tried again.
func TestEmitWithRows(t *testing.T) {
	p, m, _ := memoryPump(t, edge.PumpOptions{})
	m.Fail(errors.New("no room"))
	ticket := p.EmitWith(change("door", 1), nil, queue.Row{Table: "outputs", Key: "door", Value: []byte("open")})
	if _, ok := m.Get("outputs", "door"); ok {
		t.Fatal("the row was stored though the store failed")
	}
	m.Fail(nil)
	if _, err := ticket.Event(); err != nil {
		t.Fatal(err)
	}
	if got, ok := m.Get("outputs", "door"); !ok || string(got) != "open" {
		t.Errorf("row %q, %v", got, ok)
	}
}

// TestVerifyTakesMadeLedger: an export ends with a ledger that was never stored.
func TestVerifyTakesMadeLedger(t *testing.T) {
	v := edge.NewVerifier()
	ev := edge.Event{Epoch: 7, N: 1, Ring: "events", Seq: 1, Agent: "a", Name: "x", Kind: edge.Message, Data: json.RawMessage("1")}
	made := edge.Event{Epoch: 7, Ring: "events", Agent: "a", Name: "ledger", Kind: edge.System, Data: json.RawMessage(`{"epoch":"00000007","rings":{"events":{"first":1,"last":2}}}`)}
	for _, e := range []edge.Event{ev, made} {
		if err := v.Add(e.AppendJSON(nil)); err != nil {
			t.Fatal(err)
		}
	}
	rep := v.Report()
	if rep.Events != 1 || rep.Missing != 1 || rep.Closed {
		t.Errorf("%+v", rep)
	}
	ev.N, ev.Seq = 2, 2
	if err := v.Add(ev.AppendJSON(nil)); err != nil {
		t.Fatal(err)
	}
	if rep := v.Report(); !rep.Closed {
		t.Errorf("%+v", rep)
	}
}
