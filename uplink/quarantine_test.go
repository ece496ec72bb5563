package uplink_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
	"fieldpost/uplink/uplinktest"
)

func TestForwarderQuarantine(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	p.Never(func(ev *edge.Event) error {
		if ev.Ring == "alarms" && ev.Seq == 4 && ev.Hole == nil {
			return errors.New("too spicy")
		}
		return nil
	})
	post(t, rig, "alarms", 6)
	f, stop := start(t, opt)
	until(t, 10*time.Second, "sent", empty(f))
	stop()
	got := seqs(p, "alarms")
	if len(got) != 6 || got[5] != -4 {
		t.Errorf("got %v, want 1 to 6 with a gap for 4 at the end", got)
	}
	verify(t, p.Received())
	var last edge.Event
	for _, ev := range p.Received() {
		if ev.Ring == "alarms" {
			last = ev
		}
	}
	if last.Hole == nil || last.Hole.Cause != string(queue.Refused) || last.Hole.From != 4 {
		t.Errorf("in place of 4 came %+v", last)
	}
	if r := rig.Store.Cursor("cloud").Refused("alarms"); len(r) != 1 || r[0] != (queue.Range{From: 4, To: 4}) {
		t.Errorf("refused are %v", r)
	}
	evs, _, _, err := rig.Log.Ring(edge.RingQuarantine, 0, queue.Max{})
	if err != nil || len(evs) != 1 {
		t.Fatalf("quarantine has %d events: %v", len(evs), err)
	}
	var data struct {
		Why   string
		Seq   uint64
		Event edge.Event
	}
	if err := json.Unmarshal(evs[0].Data, &data); err != nil || data.Why != "too spicy" || data.Seq != 4 || data.Event.Name != evs[0].Name || data.Event.Seq != 4 {
		t.Errorf("quarantine has %s (%v)", evs[0].Data, err)
	}
	if f.Status().Refused != 1 {
		t.Errorf("status counts %d refused", f.Status().Refused)
	}
}

// The peer answers a large event with nothing but a closed connection.
func TestForwarderGivesUpWhatThePeerChokesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		opt.Rings = []string{"alarms", "events"}
		p.Chokes(1000)
		post(t, rig, "alarms", 3)
		big := edge.Event{Name: "big", Kind: edge.Message, Ring: "alarms", From: "client:test", Data: json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`)}
		if _, err := rig.Pump.Post(t.Context(), []edge.Event{big}, edge.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		post(t, rig, "alarms", 3)
		f, stop := start(t, opt)
		until(t, 10*time.Minute, "sent around it", empty(f))
		stop()
		seen := map[int]bool{}
		for _, seq := range seqs(p, "alarms") {
			seen[seq] = true
		}
		for _, want := range []int{1, 2, 3, -4, 5, 6, 7} {
			if !seen[want] {
				t.Errorf("%d did not arrive: %v", want, seqs(p, "alarms"))
			}
		}
		if n := p.Connects(); n < 6 || n > 12 {
			t.Errorf("it took %d connections", n)
		}
	})
}

func TestForwarderNeverGivesUpASmallEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		opt.Rings = []string{"alarms"}
		post(t, rig, "alarms", 1)
		f, stop := start(t, opt)
		until(t, time.Minute, "sent", empty(f))
		p.Chokes(1) // from now on the line dies on everything
		post(t, rig, "alarms", 1)
		<-time.After(10 * time.Minute)
		s := f.Status()
		if s.Refused != 0 || s.Backlog != 1 || p.Connects() < 20 {
			t.Errorf("after %d connections: %+v", p.Connects(), s)
		}
		stop()
	})
}
