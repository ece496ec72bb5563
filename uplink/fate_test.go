package uplink_test

import (
	"errors"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/uplink/uplinktest"
)

// TestFate: one record through all that can become of it.
func TestFate(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	p.Down(errors.New("no line"))
	p.Hold(true)
	post(t, rig, "alarms", 1)
	post(t, rig, edge.RingAudit, 1)
	opt := peerOptions(rig, p)
	opt.Rings = []string{"alarms"}
	wake := make(chan struct{}, 1)
	opt.Wake = wake
	f, stop := start(t, opt)
	is := func(seq uint64, want edge.Fate) {
		t.Helper()
		until(t, 10*time.Second, string(want), func() bool { return f.Fate("alarms", seq) == want })
	}
	is(1, edge.Waiting)
	p.Down(nil)
	wake <- struct{}{}
	is(1, edge.Sent)
	is(2, edge.Waiting) // it is not even there
	p.Hold(false)
	is(1, edge.Acknowledged)
	p.Never(func(*edge.Event) error { return errors.New("never") })
	post(t, rig, "alarms", 1)
	is(2, edge.PeerRefused)
	if fate := f.Fate(edge.RingAudit, 1); fate != edge.NotForwarded {
		t.Errorf("a guarded ring: %s", fate)
	}
	stop()
	is(1, edge.Acknowledged)
}
