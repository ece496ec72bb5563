package edge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// The time test runs random scripts of boots, suspends, jumps, syncs and power
// cuts over the real store, clock, pump and log. The truth is the world's: what the
// readers are told is compared with it. One script again: go test ./edge -run
// 'TestTime/seed=N$'.

func timeScripts() int {
	if testing.Short() {
		return 25
	}
	return 200
}

func TestTime(t *testing.T) {
	for seed := range timeScripts() {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			dir := tmpfs(t)
			synctest.Test(t, func(t *testing.T) { runScript(t, dir, uint64(seed)) })
			if t.Failed() {
				t.Logf("again: go test ./edge -run 'TestTime/seed=%d$'", seed)
			}
		})
	}
}

// tmpfs gives a folder in memory, where a flush costs nothing.
func tmpfs(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "fieldpost-time-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// The rings that the scripts write, by how old they let their events get.
var ringAges = map[string]time.Duration{edge.RingEvents: 0, edge.RingSamples: 6 * time.Hour, "days": 3 * 24 * time.Hour}

const (
	syncSamples   = time.Second
	segmentEvents = 8
)

// script is a script under way: the agent's parts while it runs, and what
// was written.
type script struct {
	t   *testing.T
	rng *rand.Rand
	w   *world
	m   *machine
	dir string

	store *queue.Store
	clock *edge.Clock
	pump  *edge.Pump
	log   *edge.Log
	stop  func()
	dead  atomic.Bool // nothing reaches the disk any more

	mu      sync.Mutex
	events  []*fact
	stamps  map[queue.Stamp]time.Time // their true times
	cutIn   int                       // steps of the store until the power is cut; 0: none
	indexes map[uint32]*machine       // by the store's index of the boot
	keys    []keyedFact
	doing   string
}

func runScript(t *testing.T, dir string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	began := []time.Time{
		time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		time.Date(2038, 1, 19, 3, 0, 0, 0, time.UTC), // the end of 32 bit is soon
		time.Date(2106, 2, 7, 6, 0, 0, 0, time.UTC),
	}[rng.IntN(3)]
	s := &script{t: t, rng: rng, w: newWorld(rng, began), dir: dir, stamps: map[queue.Stamp]time.Time{}, indexes: map[uint32]*machine{}}
	s.m = s.w.power()
	s.open()
	for range 10 + rng.IntN(15) {
		s.act()
		s.live()
		if s.dead.Load() {
			s.powerCut()
		}
		if rng.IntN(3) == 0 {
			s.check()
		}
		if t.Failed() {
			break
		}
	}
	if !t.Failed() {
		s.calm()
	}
	s.stop()
}

// act is one step of a script.
func (s *script) act() {
	do := func(doing string, fn func()) {
		s.doing = doing
		fn()
	}
	years := 10 * 365 * 24 * time.Hour
	switch s.rng.IntN(22) {
	case 0:
		do("a step of 10 years ahead", func() { s.m.set(years) })
	case 1:
		do("a step of 10 years back", func() { s.m.set(-years) })
	case 2:
		do("a step of an hour back", func() { s.m.set(-time.Hour) })
	case 3:
		do("a step by a little", func() { s.m.set(s.w.between(-20*time.Millisecond, 20*time.Millisecond)) })
	case 4:
		do("a step amid a look", func() { s.m.setAmidLook([]time.Duration{years, -years, -time.Hour}[s.rng.IntN(3)]) })
	case 5, 6, 7, 8:
		do("a sync", func() { s.m.sync(s.w.between(0, 50*time.Millisecond)) })
	case 9:
		do("a sync lost", s.m.lose)
	case 10:
		do("a leap second", func() { s.m.leap(time.Second) })
	case 11:
		do("a leap second back", func() { s.m.leap(-time.Second) })
	case 12:
		do("a suspend", func() {
			<-time.After(time.Millisecond) // no event is of the very moment
			s.m.sleep(s.w.between(time.Minute, 40*time.Hour))
		})
	case 13:
		do("an adjtimex that fails", func() { s.m.fail(true) })
	case 14:
		do("an adjtimex that works", func() { s.m.fail(false) })
	case 15, 16:
		do("a power cut", s.powerCut)
	case 17:
		do("a power cut amid a write", func() { s.cutSoon() })
	case 18:
		do("a kill", s.kill)
	case 19, 20:
		do("a clean reboot", s.reboot)
	default:
		do("a clean restart", s.restart)
	}
}

// live lets the agent run for a while, and writes events meanwhile.
func (s *script) live() {
	span := []time.Duration{20 * time.Second, 3 * time.Minute, 40 * time.Minute, 3 * time.Hour, 3 * time.Hour, 30 * time.Hour}[s.rng.IntN(6)]
	if span > 24*time.Hour && s.rng.IntN(2) > 0 {
		span = time.Minute
	}
	for range 1 + s.rng.IntN(5) {
		for range 1 + s.rng.IntN(3) {
			s.write()
		}
		<-time.After(s.w.between(0, span/4))
	}
	if s.rng.IntN(4) == 0 {
		s.m.save(s.w.between(0, time.Hour))
	}
}

// open starts the agent's parts.
func (s *script) open() {
	s.dead.Store(false)
	board := s.m.board()
	clock := edge.NewClock(board)
	opt := queue.Options{
		Dir: s.dir, Boot: board.BootID, Serial: board.Serial, Headroom: -1, Codec: edge.BlockCodec{},
		Rings: map[string]queue.Limits{}, SegmentEvents: segmentEvents, JournalBytes: 256 << 10, SegmentBytes: 64 << 10,
		Fault: s.fault, Age: func(st queue.Stamp) time.Duration { return s.checkAge(st, clock.Age(st)) },
	}
	for ring, age := range ringAges {
		opt.Rings[ring] = queue.Limits{Age: age}
	}
	store, err := queue.Open(opt)
	if err != nil {
		s.t.Fatalf("%s: %v", s.doing, err)
	}
	if err := clock.Attach(store); err != nil {
		s.t.Fatalf("%s: %v", s.doing, err)
	}
	s.mu.Lock()
	s.store, s.clock = store, clock
	s.indexes[store.Boot()] = s.m
	s.mu.Unlock()
	s.log = edge.NewLog(store, clock, "world")
	s.pump = edge.NewPump(edge.PumpOptions{Agent: "world", Store: store, Clock: clock, Sync: func(ring string) time.Duration {
		if ring == edge.RingSamples {
			return syncSamples
		}
		return 0
	}})
	s.start()
}

// start runs the pump and the clock. stop ends them as the agent does.
func (s *script) start() {
	pump, clock, store := s.pump, s.clock, s.store
	intake, endIntake := context.WithCancel(context.Background())
	last, end := context.WithCancel(context.Background())
	var clocks, pumps sync.WaitGroup
	clocks.Go(func() { _ = clock.Run(intake, pump) })
	pumps.Go(func() { _ = pump.Run(last) })
	s.stop = func() {
		endIntake()
		clocks.Wait()
		end()
		pumps.Wait()
		if err := store.Close(); err != nil && !s.dead.Load() {
			s.t.Errorf("%s: close: %v", s.doing, err)
		}
	}
}

var errDark = errors.New("the power is off")

// fault is each step of the store towards the disk.
func (s *script) fault(string) error {
	if s.dead.Load() {
		return errDark
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutIn > 0 {
		if s.cutIn--; s.cutIn == 0 {
			s.noteTold()
			s.dead.Store(true)
			return errDark
		}
	}
	return nil
}

// noteTold notes what a reader would be told right before a power cut. The caller
// holds mu.
func (s *script) noteTold() {
	for st, truth := range s.stamps {
		_, state, _ := s.clock.Time(st)
		if state == edge.Unsynced {
			continue
		}
		if i := slices.IndexFunc(s.events, func(f *fact) bool { return f.truth.Equal(truth) }); i >= 0 {
			s.events[i].told = state
		}
	}
}

// cutSoon cuts the power a few steps of the store from now, with a sync before it to learn.
func (s *script) cutSoon() {
	s.mu.Lock()
	s.cutIn = 1 + s.rng.IntN(6)
	s.mu.Unlock()
	s.m.sync(s.w.between(0, 50*time.Millisecond))
}

// down ends the agent with nothing reaching the disk.
func (s *script) down() {
	s.mu.Lock()
	s.cutIn = 0
	s.mu.Unlock()
	s.dead.Store(true)
	s.stop()
}

func (s *script) powerCut() {
	s.down()
	s.off()
}

func (s *script) kill() {
	s.down()
	<-time.After(s.w.between(0, 10*time.Second))
	s.open()
}

func (s *script) restart() {
	s.stop()
	s.open()
}

func (s *script) reboot() {
	s.stop()
	s.m.save(0)
	s.off()
}

// off leaves the board off for a while, and boots it.
func (s *script) off() {
	most := []time.Duration{10 * time.Second, 10 * time.Minute, 10 * time.Hour, 3 * 24 * time.Hour, 90 * 24 * time.Hour}
	s.w.pass(s.w.between(time.Second, most[s.rng.IntN(len(most))]))
	s.m = s.w.power()
	<-time.After(time.Second)
	s.open()
}
