package uplink_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
	"fieldpost/uplink"
	"fieldpost/uplink/uplinktest"
)

// peerOptions are those of an uplink to a peer in memory.
func peerOptions(rig *edgetest.Rig, p *uplinktest.Peer) uplink.ForwarderOptions {
	return uplink.ForwarderOptions{
		Spec: uplink.Spec{Name: "cloud", Sender: "memory"},
		Log:  rig.Log, Store: rig.Store, Pump: rig.Pump, Agent: "test", Make: p,
	}
}

// seqs lists what the peer got of a ring, gaps as the negative of their last seq.
func seqs(p *uplinktest.Peer, ring string) (out []int) {
	for _, ev := range p.Received() {
		switch {
		case ev.Ring != ring:
		case ev.Hole != nil:
			out = append(out, -int(ev.Seq))
		default:
			out = append(out, int(ev.Seq))
		}
	}
	return out
}

// empty reports that nothing is left to send.
func empty(f *uplink.Forwarder) func() bool {
	return func() bool { s := f.Status(); return s.Backlog == 0 && s.InFlight == 0 }
}

func TestForwarderSendsAllRingsButTheGuarded(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	for _, ring := range []string{"events", "alarms", edge.RingAudit, edge.RingQuarantine, edge.RingLogs} {
		post(t, rig, ring, 3)
	}
	f, stop := start(t, peerOptions(rig, p))
	until(t, 10*time.Second, "the backlog is sent", empty(f))
	post(t, rig, "born-later", 2)
	until(t, 10*time.Second, "a new ring is sent", func() bool { return len(seqs(p, "born-later")) == 2 })
	stop()
	for _, ring := range []string{edge.RingAudit, edge.RingQuarantine, edge.RingLogs} {
		if got := seqs(p, ring); len(got) > 0 {
			t.Errorf("ring %s was sent: %v", ring, got)
		}
	}
	s := f.Status()
	if s.State != "stopped" || s.Positions["alarms"] != 3 || s.Positions["born-later"] != 2 || s.Acknowledged < 8 || s.Connects != 1 {
		t.Errorf("status is %+v", s)
	}
}

func TestForwarderGoesOnWhereItStopped(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	opt.Rings = []string{"alarms"}
	post(t, rig, "alarms", 10)
	f, stop := start(t, opt)
	until(t, 10*time.Second, "sent", empty(f))
	stop()
	post(t, rig, "alarms", 5)
	f, stop = start(t, opt)
	until(t, 10*time.Second, "sent", empty(f))
	stop()
	if got := seqs(p, "alarms"); len(got) != 15 || got[14] != 15 {
		t.Errorf("got %v, want 1 to 15 once", got)
	}
}

func TestForwarderFromNow(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	opt.Rings, opt.FromNow = []string{"alarms"}, true
	post(t, rig, "alarms", 10)
	f, stop := start(t, opt)
	post(t, rig, "alarms", 1)
	until(t, 10*time.Second, "sent", func() bool { return f.Status().Acknowledged == 1 && f.Status().Backlog == 0 })
	stop()
	if got := seqs(p, "alarms"); len(got) != 1 || got[0] != 11 {
		t.Errorf("got %v, want 11 alone", got)
	}
}

func TestForwarderSendsGaps(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	opt.Rings = []string{"alarms"}
	post(t, rig, "alarms", 10)
	if err := rig.Store.DeleteRing("alarms"); err != nil {
		t.Fatal(err)
	}
	post(t, rig, "alarms", 2)
	f, stop := start(t, opt)
	until(t, 10*time.Second, "sent", empty(f))
	stop()
	if got := seqs(p, "alarms"); len(got) != 3 || got[0] != -10 || got[1] != 11 || got[2] != 12 {
		t.Errorf("got %v, want a gap to 10, then 11 and 12", got)
	}
	if next := rig.Store.Cursor("cloud").Next("alarms"); next != 13 {
		t.Errorf("the cursor is at %d, want 13: a gap is acknowledged like an event", next)
	}
}

func TestForwarderAcknowledgesOnlyWhatThisConnectionDid(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	opt.Rings = []string{"alarms"}
	p.Hold(true)
	post(t, rig, "alarms", 20)
	f, stop := start(t, opt)
	until(t, 10*time.Second, "all in flight", func() bool { return len(seqs(p, "alarms")) == 20 })
	if n := rig.Store.Cursor("cloud").Next("alarms"); n != 1 {
		t.Fatalf("the cursor moved to %d without an acknowledgement", n)
	}
	p.Lose()
	until(t, 10*time.Second, "sent again", func() bool { return len(seqs(p, "alarms")) == 40 })
	p.Hold(false)
	until(t, 10*time.Second, "acknowledged", empty(f))
	stop()
}

func TestForwarderLiveFirst(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	opt.Rings, opt.Order = []string{"alarms"}, uplink.LiveFirst
	post(t, rig, "alarms", 3000)
	p.Hold(true) // the window fills with backlog
	f, stop := start(t, opt)
	until(t, 10*time.Second, "the window is full", func() bool { return len(seqs(p, "alarms")) >= 64 })
	post(t, rig, "alarms", 5)
	p.Hold(false)
	until(t, 10*time.Second, "sent", empty(f))
	stop()
	got := seqs(p, "alarms")
	if len(got) != 3005 {
		t.Fatalf("got %d events, want 3005", len(got))
	}
	var old []int
	lastLive := 0
	for i, seq := range got {
		if seq <= 3000 {
			old = append(old, seq)
		} else {
			lastLive = i
		}
	}
	for i, seq := range old {
		if seq != i+1 {
			t.Fatalf("the backlog is out of order at %d: %d", i, seq)
		}
	}
	if lastLive > 1700 {
		t.Errorf("the last new event came after %d others", lastLive)
	}
}

func TestForwarderLiveFirstSkipsWhatWasAcknowledged(t *testing.T) {
	rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
	opt := peerOptions(rig, p)
	opt.Rings, opt.Order = []string{"alarms"}, uplink.LiveFirst
	post(t, rig, "alarms", 30)
	rig.Store.Cursor("cloud").Ack("alarms", queue.Range{From: 5, To: 9}, queue.Range{From: 20, To: 30})
	f, stop := start(t, opt)
	until(t, 10*time.Second, "sent", empty(f))
	stop()
	got := seqs(p, "alarms")
	if len(got) != 14 || got[3] != 4 || got[4] != 10 || got[13] != 19 {
		t.Errorf("got %v, want 1 to 4 and 10 to 19", got)
	}
}

func TestForwarderBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		opt.Rings, opt.BatchEvents, opt.BatchWait = []string{"alarms"}, 10, 5*time.Second
		f, stop := start(t, opt)
		synctest.Wait()
		begin := time.Now()
		post(t, rig, "alarms", 25)
		until(t, time.Minute, "sent", func() bool { return f.Status().Acknowledged == 25 })
		if took := time.Since(begin); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("a part of a batch left after %v, want 5 s", took)
		}
		stop()
		for _, b := range p.Batches() {
			if b.Per != 10 {
				t.Errorf("a batch was of %d, want 10", b.Per)
			}
		}
	})
}

func TestForwarderTearsDownWhatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		opt.Rings, opt.BatchEvents = []string{"alarms"}, 100
		p.Hold(true)
		f, stop := start(t, opt)
		synctest.Wait()
		post(t, rig, "alarms", 1)
		for i := range 20 { // a queue that falls is progress
			p.SetUnsent(1000 - i)
			<-time.After(5 * time.Second)
		}
		if n := p.Connects(); n != 1 {
			t.Fatalf("%d connections while the queue was falling", n)
		}
		<-time.After(36 * time.Second)
		if n := p.Connects(); n != 2 {
			t.Fatalf("%d connections, want a second one after 30 s without progress", n)
		}
		p.Hold(false)
		until(t, time.Minute, "sent", empty(f))
		if b := p.Batches(); b[len(b)-1].Per != 50 {
			t.Errorf("the batch was not halved: %d", b[len(b)-1].Per)
		}
		stop()
	})
}

func TestForwarderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		wake := make(chan struct{}, 1)
		opt.Wake = wake
		p.Down(errors.New("no route to host"))
		f, stop := start(t, opt)
		<-time.After(time.Minute)
		if n := p.Connects(); n < 60 || n > 400 {
			t.Errorf("%d tries in the first minute, want one each half second or so", n)
		}
		<-time.After(10 * time.Hour)
		before := p.Connects()
		<-time.After(time.Hour)
		if n := p.Connects() - before; n < 12 || n > 60 {
			t.Errorf("%d tries in the 11th hour, want one each 2.5 minutes or so", n)
		}
		s := f.Status()
		if s.State != "down" || s.NextTry == nil || !strings.Contains(s.Error, "no route") {
			t.Errorf("status is %+v", s)
		}
		p.Down(nil)
		wake <- struct{}{}
		synctest.Wait()
		if s := f.Status(); s.State != "up" {
			t.Errorf("a route came back and the uplink is %s", s.State)
		}
		stop()
	})
}

// A connection that a change of routes may have cut off is not given the whole 30 s.
func TestForwarderHurriesAfterAChangeOfRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		wake := make(chan struct{}, 1)
		opt.Rings, opt.Wake = []string{"alarms"}, wake
		f, stop := start(t, opt)
		synctest.Wait()
		p.Hold(true)
		post(t, rig, "alarms", 1)
		synctest.Wait()
		wake <- struct{}{}
		<-time.After(13 * time.Second)
		if n := p.Connects(); n != 2 {
			t.Errorf("%d connections, want a second one", n)
		}
		p.Hold(false)
		until(t, time.Minute, "sent", empty(f))
		stop()
	})
}

func TestForwarderIsSlowWhereItIsDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		p.Down(uplink.ErrDenied)
		f, stop := start(t, peerOptions(rig, p))
		<-time.After(time.Hour)
		if n := p.Connects(); n < 12 || n > 61 {
			t.Errorf("%d tries in an hour, want one each 1 to 5 minutes", n)
		}
		if f.Status().State != "down" {
			t.Errorf("status is %+v", f.Status())
		}
		stop()
	})
}

// A line that flaps must not make events about its flapping without end.
func TestForwarderNoticesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		_, stop := start(t, peerOptions(rig, p))
		for range 50 {
			<-time.After(5 * time.Second)
			p.Lose()
		}
		stop()
		count := map[string]int{}
		for _, ev := range p.Received() {
			if ev.Kind == edge.System {
				count[ev.Name]++
			}
		}
		if count["uplink"] != 2 || count["ledger"] != 1 {
			t.Errorf("in 4 minutes of flapping: %v, want one up, one down, one ledger", count)
		}
	})
}

func TestForwarderDrainsAtStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig, p := edgetest.NewRig(t), uplinktest.NewPeer()
		opt := peerOptions(rig, p)
		opt.Rings, opt.BatchEvents, opt.BatchWait = []string{"alarms"}, 10, time.Hour
		f, stop := start(t, opt)
		synctest.Wait()
		post(t, rig, "alarms", 3) // waits for a batch to fill
		synctest.Wait()
		stop()
		if s := f.Status(); s.Backlog != 0 || s.State != "stopped" {
			t.Errorf("after the stop: %+v", s)
		}
		p.Hold(true)
		_, stop = start(t, opt)
		synctest.Wait()
		post(t, rig, "alarms", 1)
		synctest.Wait()
		begin := time.Now()
		stop()
		if took := time.Since(begin); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("a peer that does not answer kept the stop for %v, want 4 s", took)
		}
	})
}

func TestForwarderRefusesABadOrder(t *testing.T) {
	rig := edgetest.NewRig(t)
	opt := peerOptions(rig, uplinktest.NewPeer())
	opt.Order = "random"
	if _, err := uplink.NewForwarder(opt); err == nil || !strings.Contains(err.Error(), "live-first") {
		t.Errorf("got %v, want an error with the cure", err)
	}
	opt = peerOptions(rig, nil)
	opt.Make = nil
	if _, err := uplink.NewForwarder(opt); err == nil {
		t.Error("a sender that is in no table was taken")
	}
	if _, err := (&uplink.Forwarder{}).Probe(context.Background()); err == nil {
		t.Error("a peer that can't be tested was")
	}
}
