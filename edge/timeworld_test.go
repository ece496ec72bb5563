package edge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"fieldpost/edge"
)

// A world is the true time, which only the test knows, and the board that runs
// in it. It goes on with testing/synctest's clock, and by what passes while the
// board is off or asleep.
type world struct {
	rng   *rand.Rand
	start time.Time // of the test's virtual time
	began time.Time // the true time then
	saved time.Time // what fake-hwclock wrote last

	mu    sync.Mutex
	extra time.Duration // what passed while nothing ran, and leap seconds
	m     *machine
	boots int
}

// machine is one boot of a board, with clocks as the kernel keeps them.
type machine struct {
	w    *world
	boot int
	id   string
	rtc  bool // the wall clock goes on while the board sleeps

	// world.mu guards all of these.
	at     time.Time // virtual, of mono
	mono   int64
	ppm    int64 // by how much CLOCK_MONOTONIC is too fast
	slew   int64 // what it is being slewed by, at 10 %
	offset int64 // wall minus mono
	slept  int64
	synced bool
	error  int64 // the kernel's largest error at asked
	asked  time.Time
	ever   bool // it was synced once
	broken bool // adjtimex fails
	trap   func()
	steps  map[chan struct{}]bool
}

const ppmAssumed = 500

func newWorld(rng *rand.Rand, began time.Time) *world {
	return &world{rng: rng, start: time.Now(), began: began, saved: began.Add(-100 * 24 * time.Hour)}
}

// truth is the true time. The caller holds mu.
func (w *world) truth() time.Time { return w.began.Add(time.Since(w.start) + w.extra) }

// between is a random duration.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// pass lets time go by while the board is off.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extra += d
}

// power boots the board. Its wall clock is what one without an RTC, with a flat
// one, with fake-hwclock or with a good one makes of it.
func (w *world) power() *machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boots++
	m := &machine{
		w: w, boot: w.boots, id: fmt.Sprintf("%08x-0000-4000-8000-%012x", w.rng.Uint32(), w.boots), rtc: w.rng.IntN(2) == 0,
		at: time.Now(), mono: int64(w.between(3*time.Second, 40*time.Second)), ppm: w.rng.Int64N(161) - 80,
		steps: map[chan struct{}]bool{},
	}
	w.extra += time.Duration(m.mono)
	var wall time.Time
	switch w.rng.IntN(6) {
	case 0:
		wall = time.Unix(0, m.mono)
	case 1, 2:
		wall = w.saved
	case 3:
		wall = w.truth().Add(w.between(-time.Second, time.Second)) // an RTC
	case 4:
		wall = w.truth().AddDate(10, 0, 0)
	default:
		wall = w.truth().Add(-time.Hour)
	}
	m.offset = wall.UnixNano() - m.mono
	w.m = m
	return m
}

// save is what fake-hwclock does, hourly and when the board stops well.
func (m *machine) save(late time.Duration) {
	m.lock()
	defer m.w.mu.Unlock()
	m.w.saved = time.Unix(0, m.mono+m.offset).Add(-late)
}

// lock takes the world's lock and brings the clocks up to now.
func (m *machine) lock() {
	m.w.mu.Lock()
	now := time.Now()
	dt := int64(now.Sub(m.at))
	slewed := max(-dt/10, min(dt/10, m.slew))
	m.slew -= slewed
	m.mono += dt + dt/1e6*m.ppm + slewed
	m.at = now
	if m.synced && m.largest() > int64(16*time.Second) {
		m.synced = false // NTP_PHASE_LIMIT
	}
}

// largest is the kernel's largest error, with what it has not slewed yet.
func (m *machine) largest() int64 {
	return m.error + int64(m.at.Sub(m.asked))/1e6*ppmAssumed + max(m.slew, -m.slew)
}

func (m *machine) tell() {
	for c := range m.steps {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// sync is a poll of the NTP daemon: it steps what is far off and slews the rest. Its own
// error is within what it tells the kernel, and within what it told before: of a
// daemon that gets worse the agent learns at its next look.
func (m *machine) sync(bound time.Duration) {
	m.lock()
	defer m.w.mu.Unlock()
	off := m.mono + m.offset - m.w.truth().UnixNano()
	within := int64(bound)
	if m.synced {
		within = min(within, m.largest())
	}
	left := m.w.rng.Int64N(within*9/5+1) - within*9/10
	if off > int64(400*time.Millisecond) || off < -int64(400*time.Millisecond) {
		m.offset += left - off
		m.slew = 0
		m.tell()
	} else {
		m.slew = left - off
	}
	m.synced, m.ever, m.error, m.asked = true, true, int64(bound), m.at
	m.ppm = m.w.rng.Int64N(41) - 20
}

// lose ends the sync, as where the daemon says that it has no source.
func (m *machine) lose() {
	m.lock()
	defer m.w.mu.Unlock()
	m.synced, m.slew = false, 0
}

// set is a hand at the clock. The kernel takes it for unsynchronised then.
func (m *machine) set(by time.Duration) {
	m.lock()
	defer m.w.mu.Unlock()
	m.step(by)
}

func (m *machine) step(by time.Duration) {
	m.offset += int64(by)
	m.synced, m.slew = false, 0
	m.tell()
}

// setAmidLook sets the clock in the middle of the agent's next look at it.
func (m *machine) setAmidLook(by time.Duration) {
	m.lock()
	defer m.w.mu.Unlock()
	m.trap = func() { m.step(by) }
}

// leap is a leap second, which only a clock that is synced knows of.
func (m *machine) leap(by time.Duration) {
	m.lock()
	defer m.w.mu.Unlock()
	if m.synced && m.slew == 0 {
		m.w.extra += by
		m.offset += int64(by)
		m.tell()
	}
}

// sleep suspends the board.
func (m *machine) sleep(d time.Duration) {
	m.lock()
	defer m.w.mu.Unlock()
	m.w.extra += d
	m.slept += int64(d)
	if m.rtc {
		m.offset += int64(d + m.w.between(-time.Second, time.Second))
	}
	m.step(0)
}

func (m *machine) fail(broken bool) {
	m.lock()
	defer m.w.mu.Unlock()
	m.broken = broken
}

// now is the board's clock and the true time at one moment.
func (m *machine) now() (mono int64, truth time.Time) {
	m.lock()
	defer m.w.mu.Unlock()
	return m.mono, m.w.truth()
}

// board is the machine as edge sees it.
func (m *machine) board() edge.Board {
	read := func(what func() int64) func() int64 {
		return func() int64 {
			m.lock()
			defer m.w.mu.Unlock()
			return what()
		}
	}
	wall := read(func() int64 { return m.mono + m.offset })
	slept := read(func() int64 { return m.slept })
	return edge.Board{
		BootID: m.id, Serial: "world", Mono: read(func() int64 { return m.mono }),
		Wall:     func() time.Time { return time.Unix(0, wall()) },
		Slept:    func() time.Duration { return time.Duration(slept()) },
		Adjtimex: m.adjtimex, Steps: m.watch,
	}
}

func (m *machine) adjtimex() (bool, time.Duration, error) {
	m.lock()
	defer m.w.mu.Unlock()
	if m.broken {
		return false, 0, errors.New("not permitted")
	}
	synced, bound := m.synced, time.Duration(m.largest())
	if m.trap != nil {
		m.trap()
		m.trap = nil
	}
	return synced, bound, nil
}

func (m *machine) watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	m.lock()
	m.steps[c] = true
	m.w.mu.Unlock()
	go func() {
		<-ctx.Done()
		m.lock()
		delete(m.steps, c)
		close(c)
		m.w.mu.Unlock()
	}()
	return c
}
