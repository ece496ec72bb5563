package edge_test

import (
	"context"
	"fmt"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// fact is an event as the test knows it.
type fact struct {
	number int
	ring   string
	truth  time.Time
	m      *machine
	acked  bool
	told   edge.ClockState // the best that a reader was told of its time
	slept  time.Duration   // how long its board had slept by then
}

// keyedFact is a call with an idempotency key that was answered.
type keyedFact struct {
	key   string
	ring  string
	n     uint64
	awake time.Duration // what all boots had run by then
	m     *machine
}

// write brings one event the way that a device, a client or a client with a key does.
func (s *script) write() {
	mono, truth := s.m.now()
	f := &fact{number: len(s.events), truth: truth, m: s.m, slept: time.Duration(s.m.slept)}
	ev := edge.Event{Name: "door", Kind: edge.Change, From: "device:door", Mono: mono, Data: fmt.Appendf(nil, `{"number":%d}`, f.number)}
	switch s.rng.IntN(4) {
	case 0:
		ev.Kind, ev.Name = edge.Sample, "room"
	case 1:
		ev.Ring = "days"
	}
	f.ring = ev.Ring
	if f.ring == "" {
		f.ring = edge.RingFor(ev.Kind)
	}
	s.mu.Lock()
	s.events = append(s.events, f)
	s.stamps[queue.Stamp{Boot: s.store.Boot(), Mono: mono}] = truth
	s.mu.Unlock()
	switch s.rng.IntN(3) {
	case 0:
		s.post(f, ev)
	case 1: // the kernel stamped it a little earlier
		<-time.After(3 * time.Millisecond)
		s.emit(f, ev)
	default:
		s.emit(f, ev)
	}
}

func (s *script) emit(f *fact, ev edge.Event) {
	began := time.Now()
	ticket := s.pump.Emit(ev, nil)
	go func() {
		_, err := ticket.Event()
		if err != nil {
			return
		}
		if took := time.Since(began); took > syncSamples+10*time.Millisecond && !s.dead.Load() {
			s.t.Errorf("%s: event %d waited %v to be stored", s.doing, f.number, took)
		}
		s.mu.Lock()
		f.acked = true
		s.mu.Unlock()
	}()
}

func (s *script) post(f *fact, ev edge.Event) {
	key := edge.Idempotency{}
	if s.rng.IntN(2) == 0 {
		key.Key = fmt.Sprintf("key %d", f.number)
	}
	evs, err := s.pump.Post(context.Background(), []edge.Event{ev}, key)
	if err != nil {
		if !s.dead.Load() {
			s.t.Errorf("%s: post event %d: %v", s.doing, f.number, err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.acked = true
	if key.Key != "" {
		s.keys = append(s.keys, keyedFact{key.Key, evs[0].Ring, evs[0].N, s.awake(), s.m})
	}
}

// awake is how long boards have run in all: the scripts spend virtual time on
// nothing else.
func (s *script) awake() time.Duration { return time.Since(s.w.start) }
