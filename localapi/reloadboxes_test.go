package localapi

import (
	"context"
	"slices"
	"testing"

	"fieldpost/queue"
)

// gatedPump holds the first commit up until it is let through.
type gatedPump struct {
	pump
	held  chan struct{} // gets a token when it waits
	pass  chan struct{}
	turns chan struct{} // has a token for the one that waits
}

func (p *gatedPump) Commit(ctx context.Context, rows ...queue.Row) error {
	select {
	case <-p.turns:
		p.held <- struct{}{}
		<-p.pass
	default:
	}
	return p.pump.Commit(ctx, rows...)
}

// TestReloadOfMailboxesWhileTheStartStoresThem: what a slow disk let the start not write
// yet does not undo what a reload gave.
func TestReloadOfMailboxesWhileTheStartStoresThem(t *testing.T) {
	gate := &gatedPump{held: make(chan struct{}), pass: make(chan struct{}), turns: make(chan struct{}, 1)}
	gate.turns <- struct{}{}
	r := newRig(t, func(d *Deps, o *Options) {
		gate.pump, d.Pump = d.Pump, gate
		o.Mailboxes = []Mailbox{{Name: "a"}, {Name: "b", Names: []string{"door"}}}
	})
	<-gate.held // the start, at a
	apply, _, err := r.server.Prepare(Options{Keys: testKeys(), Mailboxes: []Mailbox{{Name: "b", Names: []string{"hatch"}}}})
	if err != nil {
		t.Fatal(err)
	}
	given, cancel := context.WithCancel(t.Context())
	cancel() // who reloads does not wait for ever either
	if err := apply(given); err == nil {
		t.Error("it says that it stored what it could not")
	}
	done := make(chan error, 1)
	go func() { done <- apply(t.Context()) }()
	close(gate.pass)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.stop() // the start's are stored too
	if row, ok := r.Store.Mailbox("b"); !ok || !slices.Equal(readRest(row).Names, []string{"hatch"}) {
		t.Errorf("%v %+v", ok, readRest(row))
	}
}
