package uplinktest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fieldpost/edge"
	"fieldpost/queue"
	"fieldpost/uplink"
)

// patience is how long the suite waits for anything that has to happen.
const patience = 20 * time.Second

// Subject is a sender under test and its peer.
type Subject struct {
	Sender   uplink.Sender
	Received func() []edge.Event // all that the peer has, in the order it came
	Cut      func()              // ends the connections by force; nil: that can't happen
	TooLarge int                 // bytes of data that the peer never takes; 0: it takes all
}

// Run is the conformance suite that every sender passes. open makes a subject
// with a new peer.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"ack means the peer has it", ackMeansTaken},
		{"batches are arrays", batchesArrive},
		{"a gap is acknowledged as its range", gapIsAcknowledged},
		{"order is kept", orderIsKept},
		{"permanent is of one event", permanentIsOfOne},
		{"contexts are honoured", contextsAreHonoured},
		{"a cut loses nothing", cutLosesNothing},
		{"close ends all", closeEndsAll},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

// Events makes count events of a ring, from a seq on.
func Events(ring string, from uint64, count int) []edge.Event {
	evs := make([]edge.Event, count)
	for i := range evs {
		n := from + uint64(i)
		evs[i] = edge.Event{
			Epoch: 0xfeedbeef, N: n, Ring: ring, Seq: n, Agent: "test", Name: "room/1", Kind: edge.Message,
			Time: time.Date(2026, 11, 21, 1, 32, 15, 0, time.UTC), Clock: edge.Synced, Boot: "b1", Mono: int64(n), From: "client:suite",
			Data: json.RawMessage(fmt.Sprintf(`{"i":%d}`, n)),
		}
	}
	return evs
}

// connect opens a connection and closes it with the test.
func connect(t *testing.T, s uplink.Sender) uplink.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.Connect(ctx)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { closeConn(t, c) })
	return c
}

func closeConn(t *testing.T, c uplink.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func send(t *testing.T, c uplink.Conn, b uplink.Batch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Send(ctx, b); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// collect takes answers until they cover count events.
func collect(t *testing.T, c uplink.Conn, count int) []uplink.Ack {
	t.Helper()
	late := time.After(patience)
	var acks []uplink.Ack
	for count > 0 {
		select {
		case a, ok := <-c.Acks():
			if !ok {
				t.Fatalf("acknowledgements ended with %d events unanswered", count)
			}
			acks = append(acks, a)
			count -= a.Events
		case err := <-c.Lost():
			t.Fatalf("connection lost: %v", err)
		case <-late:
			t.Fatalf("%d events unanswered after %v", count, patience)
		}
	}
	if count < 0 {
		t.Fatalf("%d events more answered than sent", -count)
	}
	return acks
}

// has reports which seqs of a ring the peer has.
func has(s Subject, ring string) map[uint64]bool {
	got := map[uint64]bool{}
	for _, ev := range s.Received() {
		if ev.Ring == ring {
			got[ev.Seq] = true
		}
	}
	return got
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func ackMeansTaken(t *testing.T, s Subject) {
	c := connect(t, s.Sender)
	send(t, c, uplink.Batch{Ring: "events", Events: Events("events", 1, 50)})
	send(t, c, uplink.Batch{Ring: "alarms", Events: Events("alarms", 7, 3)})
	for _, a := range collect(t, c, 53) {
		if a.Err != nil {
			t.Fatalf("%s %v: %v", a.Ring, a.Range, a.Err)
		}
		// A broker may pass on a moment after it acknowledged.
		poll(t, "the peer has what it acknowledged", func() bool {
			got := has(s, a.Ring)
			for seq := a.Range.From; seq <= a.Range.To; seq++ {
				if !got[seq] {
					return false
				}
			}
			return true
		})
	}
}

func batchesArrive(t *testing.T, s Subject) {
	c := connect(t, s.Sender)
	send(t, c, uplink.Batch{Ring: "events", Events: Events("events", 1, 25), Per: 10})
	acks := collect(t, c, 25)
	if last := acks[len(acks)-1].Range.To; last != 25 {
		t.Fatalf("acknowledged up to %d, want 25", last)
	}
	poll(t, "25 events of batches arrived", func() bool { return len(has(s, "events")) == 25 })
}

func gapIsAcknowledged(t *testing.T, s Subject) {
	c := connect(t, s.Sender)
	evs := Events("events", 10, 2)
	gap := edge.Event{Epoch: evs[0].Epoch, Ring: "events", Seq: 9, Agent: "test", Kind: edge.Gap, Name: "gap",
		Hole: &edge.Hole{From: 1, To: 9, Count: 9, Cause: string(queue.Evicted)}}
	send(t, c, uplink.Batch{Ring: "events", Events: append([]edge.Event{gap}, evs...)})
	acks := collect(t, c, 3)
	if from, to := acks[0].Range.From, acks[len(acks)-1].Range.To; from != 1 || to != 11 {
		t.Fatalf("acknowledged %d to %d, want 1 to 11", from, to)
	}
	poll(t, "the gap arrived", func() bool {
		for _, ev := range s.Received() {
			if ev.Hole != nil && *ev.Hole == *gap.Hole {
				return true
			}
		}
		return false
	})
}

func orderIsKept(t *testing.T, s Subject) {
	c := connect(t, s.Sender)
	const count = 600
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for at := 0; at < count; at += 60 {
			if err := c.Send(ctx, uplink.Batch{Ring: "events", Events: Events("events", uint64(at+1), 60), Per: 1 + at%3}); err != nil {
				t.Errorf("send: %v", err)
				return
			}
		}
	}()
	next := uint64(1)
	for _, a := range collect(t, c, count) {
		if a.Range.From != next {
			t.Fatalf("acknowledged from %d, want %d", a.Range.From, next)
		}
		next = a.Range.To + 1
	}
	poll(t, "all arrived", func() bool { return len(has(s, "events")) == count })
	last := uint64(0)
	for _, ev := range s.Received() {
		if ev.Seq <= last {
			t.Fatalf("%d came after %d", ev.Seq, last)
		}
		last = ev.Seq
	}
}

func permanentIsOfOne(t *testing.T, s Subject) {
	if s.TooLarge == 0 {
		t.Skip("this peer takes all")
	}
	for _, per := range []int{1, 3} {
		c := connect(t, s.Sender)
		evs := Events("events", 1, 9)
		evs[4].Data = json.RawMessage(`"` + strings.Repeat("x", s.TooLarge) + `"`)
		send(t, c, uplink.Batch{Ring: "events", Events: evs, Per: per})
		for _, a := range collect(t, c, 9) {
			refused := a.Range.From <= 5 && a.Range.To >= 5
			switch {
			case refused && (!uplink.IsPermanent(a.Err) || a.Range != queue.Range{From: 5, To: 5} || a.Events != 1):
				t.Fatalf("%d in a message: the answer to the large one is %+v", per, a)
			case !refused && a.Err != nil:
				t.Fatalf("%d in a message: %v was refused: %v", per, a.Range, a.Err)
			}
		}
		closeConn(t, c)
	}
	if has(s, "events")[5] {
		t.Fatal("what was refused arrived")
	}
}

func contextsAreHonoured(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	begin := time.Now()
	if c, err := s.Sender.Connect(ctx); err == nil {
		closeConn(t, c) // it needed no time, which is fine too
	}
	c := connect(t, s.Sender)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 10_000 { // nobody takes the acknowledgements
			if c.Send(ctx, uplink.Batch{Ring: "events", Events: Events("events", uint64(i+1), 1)}) != nil {
				return
			}
		}
		t.Error("10,000 batches were taken under a context that was done")
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("send ignores its context")
	}
	if took := time.Since(begin); took > patience/2 {
		t.Fatalf("took %v", took)
	}
}

func cutLosesNothing(t *testing.T, s Subject) {
	if s.Cut == nil {
		t.Skip("this peer's line can't be cut")
	}
	const count = 3000
	c := connect(t, s.Sender)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for at := 0; at < count; at += 100 {
			if c.Send(ctx, uplink.Batch{Ring: "events", Events: Events("events", uint64(at+1), 100)}) != nil {
				return // the cut
			}
		}
	}()
	acked := takeUntilLost(t, c, s.Cut)
	<-sent
	closeConn(t, c)
	if acked >= count {
		t.Fatalf("all %d were acknowledged before the cut: it did not hit", count)
	}
	d := connect(t, s.Sender)
	send(t, d, uplink.Batch{Ring: "events", Events: Events("events", acked+1, int(count-acked))})
	collect(t, d, int(count-acked))
	poll(t, "all arrived", func() bool { return len(has(s, "events")) == count })
}

// takeUntilLost takes acknowledgements, cuts the line after the first, and gives
// the last seq that was acknowledged.
func takeUntilLost(t *testing.T, c uplink.Conn, cut func()) (acked uint64) {
	t.Helper()
	late := time.After(patience)
	for lost := c.Lost(); ; {
		select {
		case a, ok := <-c.Acks():
			if !ok {
				return acked
			}
			if a.Range.From != acked+1 {
				t.Fatalf("acknowledged from %d, want %d", a.Range.From, acked+1)
			}
			if acked == 0 {
				cut()
			}
			acked = a.Range.To
		case <-lost:
			lost = nil
		case <-late:
			t.Fatal("the cut was not noticed")
		}
	}
}

func closeEndsAll(t *testing.T, s Subject) {
	before := goleak.IgnoreCurrent()
	c := connect(t, s.Sender)
	send(t, c, uplink.Batch{Ring: "events", Events: Events("events", 1, 10)})
	collect(t, c, 10)
	closeConn(t, c)
	select {
	case _, ok := <-c.Acks():
		if ok {
			t.Fatal("acknowledged after close")
		}
	case <-time.After(patience):
		t.Fatal("close left Acks open")
	}
	if err := c.Send(context.Background(), uplink.Batch{Ring: "events", Events: Events("events", 11, 1)}); err == nil {
		t.Fatal("a closed connection took a batch")
	}
	closeConn(t, c) // twice is fine
	goleak.VerifyNone(t, before)
}
