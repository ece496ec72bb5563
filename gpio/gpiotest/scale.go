package gpiotest

import (
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// The times of an HX711 at 10 readings a second (Avia Semiconductor, data sheet).
const (
	scaleOff    = 60 * time.Microsecond // its clock high for longer powers it down
	scaleSettle = 400 * time.Millisecond
	scaleEvery  = 100 * time.Millisecond
)

// Scale is an HX711 on two lines of a simulated board. Its counts are those of
// the gain of 128; another gain has its part of them.
type Scale struct {
	bench *Bench
	data  edge.Pin

	mu     sync.Mutex
	counts []int32 // the next readings; the last one stays
	stalls int     // so many readings are held up
	mute   bool
	low    bool // the data line never rises

	pulses int
	gain   int
	bits   uint32
	ready  bool
	rose   int64
	turn   int // counts the conversions: an old timer does nothing
	resets int
}

// NewScale wires one that counts 100,000.
func NewScale(b *Bench, data, clock edge.Pin) *Scale {
	s := &Scale{bench: b, data: data, counts: []int32{100_000}, gain: 128}
	b.Board.Attach(clock, s.hear)
	return s
}

// Counts sets the next readings; the last one stays.
func (s *Scale) Counts(counts ...int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = counts
}

// Stall holds the agent up while the clock is high, in the next n readings.
func (s *Scale) Stall(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls = n
}

// Mute makes it never ready, as one without power.
func (s *Scale) Mute(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = on
}

// Short holds the data line low, from the next answer on.
func (s *Scale) Short(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.low = on
}

// Resets is how often it was powered down.
func (s *Scale) Resets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resets
}

// hear is the clock.
func (s *Scale) hear(ch gpio.SimChange, drive func(edge.Pin, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.Level {
		s.rise(ch.Mono, drive)
		return
	}
	if s.rose != 0 && ch.Mono-s.rose > int64(scaleOff) {
		s.resets++
		s.gain, s.pulses, s.ready = 128, 0, false
		s.say(drive, true)
		s.convert(scaleSettle)
	}
}

// rise is one pulse. The caller holds s.mu.
func (s *Scale) rise(mono int64, drive func(edge.Pin, bool)) {
	s.rose = mono
	if !s.ready && s.pulses < 25 {
		return
	}
	s.pulses++
	switch {
	case s.pulses <= 24:
		s.say(drive, s.bits>>(24-s.pulses)&1 == 1)
	case s.pulses <= 27:
		s.say(drive, true)
		s.ready, s.gain = false, [...]int{128, 32, 64}[s.pulses-25]
		s.convert(scaleEvery)
	}
	if s.pulses == 8 && s.stalls > 0 {
		s.stalls--
		s.bench.Clock.Leap(100 * time.Microsecond)
	}
}

// convert has the next reading after d. The caller holds s.mu.
func (s *Scale) convert(d time.Duration) {
	s.turn++
	turn := s.turn
	time.AfterFunc(d, func() {
		s.mu.Lock()
		if s.turn != turn || s.mute {
			s.mu.Unlock()
			return
		}
		n := s.counts[0]
		if len(s.counts) > 1 {
			s.counts = s.counts[1:]
		}
		s.bits = uint32(n/int32(128/s.gain)) & 0xFFFFFF
		s.ready, s.pulses = true, 0
		s.mu.Unlock()
		_ = s.bench.Board.Drive(s.data, false) // nobody listens where it fails
	})
}

// say sets the data line. The caller holds s.mu.
func (s *Scale) say(drive func(edge.Pin, bool), level bool) { drive(s.data, level && !s.low) }
