package gpio_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/devices/v3/hd44780"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// The tests of this file and the next run on a real kernel's lines, in the
// emulated board (make test-board).

// memShelf is a shelf in this process, as systemd's is in another. It closes what
// is removed a moment later, as systemd may.
type memShelf struct {
	mu     sync.Mutex
	fds    map[string]int
	closes sync.WaitGroup
}

const shelfLate = 20 * time.Millisecond

func newShelf(t testing.TB) *memShelf {
	s := &memShelf{fds: map[string]int{}}
	t.Cleanup(func() {
		for _, name := range s.names() {
			_ = s.Remove(name)
		}
		s.closes.Wait()
	})
	return s
}

func (s *memShelf) Put(name string, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		s.fds[name] = kept
	}
	return err
}

func (s *memShelf) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, ok := s.fds[name]
	if !ok {
		return nil
	}
	delete(s.fds, name)
	s.closes.Go(func() {
		<-time.After(shelfLate)
		_ = unix.Close(fd)
	})
	return nil
}

// files are what systemd would pass to the next process.
func (s *memShelf) files(t testing.TB) (fs []*os.File) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, kept := range s.fds {
		fd, err := unix.FcntlInt(uintptr(kept), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, os.NewFile(uintptr(fd), name))
	}
	return fs
}

func (s *memShelf) names() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.fds {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// board opens the machine's GPIO, as one process after another does.
func board(t testing.TB, shelf *memShelf) *gpio.KernelBoard {
	t.Helper()
	opt := gpio.KernelOptions{}
	if shelf != nil {
		opt.Shelf, opt.Parked = shelf, shelf.files(t)
	}
	b, err := gpio.OpenBoard(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// whole is a pin with all that a line can do.
type whole interface {
	Request(gpio.LineConfig) (gpio.Line, error)
	Info() (gpio.LineInfo, error)
}

// named requests a line by the name of its pin.
func named(t testing.TB, name string, cfg gpio.LineConfig) gpio.Line {
	t.Helper()
	real := gpioreg.ByName(name)
	if alias, ok := real.(periph.RealPin); ok {
		real = alias.Real()
	}
	p, ok := real.(whole)
	if !ok {
		t.Fatalf("%s is %T", name, real)
	}
	line, err := p.Request(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	return line
}

// edges takes n edges, which must come within 10 s.
func edges(t testing.TB, line gpio.Line, n int) (es []gpio.Edge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(es) < n {
		e, err := line.NextEdge(ctx)
		if err != nil {
			t.Fatalf("after %d of %d edges: %v", len(es), n, err)
		}
		es = append(es, e)
	}
	return es
}

func mono(t testing.TB) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// pace lets the emulated interrupts through: a second one before the first was
// handled is no edge (FACTS.md 8, T1).
func pace() { <-time.After(50 * time.Millisecond) }

func TestBoardEdges(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, nil)
	sim.Pull(t, 17, false)
	line := named(t, "GPIO17", gpio.LineConfig{Consumer: "fieldpost:door", Edges: gpio.Both})
	if !line.Kernel() {
		t.Error("the kernel does not count")
	}
	var times []int64
	for i := range 6 {
		times = append(times, mono(t))
		sim.Pull(t, 17, i%2 == 0)
		pace()
	}
	times = append(times, mono(t))
	for i, e := range edges(t, line, 6) {
		if e.Rising != (i%2 == 0) || e.LineSeqno != uint32(i+1) || e.Seqno != uint32(i+1) || e.ByAgent {
			t.Errorf("edge %d: %+v", i, e)
		}
		if e.Mono < times[i] || e.Mono > times[i+1] {
			t.Errorf("edge %d is stamped %d, and was made between %d and %d", i, e.Mono, times[i], times[i+1])
		}
	}
	if rest := drain(t, line); len(rest) != 0 {
		t.Errorf("more edges: %+v", rest)
	}
	sim.Pull(t, 17, true)
	if level, err := line.Level(); err != nil || !level {
		t.Errorf("level %v, %v", level, err)
	}
}

func TestBoardActiveLowAndOneEdge(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, nil)
	sim.Pull(t, 4, true)
	line := named(t, "P1_7", gpio.LineConfig{Consumer: "fieldpost:test", Edges: gpio.Rising, ActiveLow: true})
	for _, up := range []bool{false, true, false, true} {
		sim.Pull(t, 4, up)
		pace()
	}
	es := edges(t, line, 2)
	if !es[0].Rising || !es[1].Rising || len(drain(t, line)) != 0 {
		t.Errorf("edges %+v", es)
	}
	if level, err := line.Level(); err != nil || level {
		t.Errorf("level %v, %v", level, err)
	}
}

func TestBoardWaitEndsWithItsContext(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, nil)
	sim.Pull(t, 17, false)
	line := named(t, "GPIO17", gpio.LineConfig{Edges: gpio.Both})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if e, err := line.NextEdge(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v", e, err)
		}
		cancel()
	}
	sim.Pull(t, 17, true)
	edges(t, line, 1)
	ended := make(chan error, 1)
	go func() {
		_, err := line.NextEdge(context.Background())
		ended <- err
	}()
	pace()
	if err := line.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, unix.EBADF) {
			t.Errorf("a wait on a closed line gives %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("closing a line does not end its wait")
	}
}

func TestBoardDebounce(t *testing.T) {
	const period = 300 * time.Millisecond
	sim := bench.OnBoard(t)
	board(t, nil)
	for range 5 {
		sim.Pull(t, 5, false)
		line := named(t, "GPIO5", gpio.LineConfig{Edges: gpio.Both, Debounce: period})
		last, stalled := mono(t), false
		for i := range 11 { // ends up
			now := mono(t)
			sim.Pull(t, 5, i%2 == 0)
			stalled = stalled || time.Duration(mono(t)-last) > period*9/10
			last = now
			<-time.After(5 * time.Millisecond)
		}
		e := edges(t, line, 1)[0]
		<-time.After(period + 100*time.Millisecond)
		rest := drain(t, line)
		if err := line.Close(); err != nil {
			t.Fatal(err)
		}
		if stalled {
			continue // this machine paused for so long that a level was stable
		}
		if !e.Rising || e.LineSeqno != 1 || e.Mono < last+int64(period) || len(rest) != 0 {
			t.Errorf("edge %+v, the last pulse was at %d; more edges: %+v", e, last, rest)
		}
		return
	}
	t.Error("this machine stalled each time")
}

func TestBoardBusy(t *testing.T) {
	bench.OnBoard(t)
	board(t, nil)
	named(t, "GPIO22", gpio.LineConfig{Consumer: "fieldpost:lamp", Output: true})
	for name, holder := range map[string]string{"GPIO22": "fieldpost:lamp", "GPIO18": "hogged"} {
		p := gpioreg.ByName(name).(whole)
		_, err := p.Request(gpio.LineConfig{Edges: gpio.Both})
		var busy *gpio.BusyError
		if !errors.As(err, &busy) || busy.Holder != holder || busy.Line != name || !errors.Is(err, unix.EBUSY) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := p.Info(); err != nil || info.Consumer != holder {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	if _, err := gpioreg.ByName("GPIO9").(whole).Request(gpio.LineConfig{Edges: gpio.Both, Debounce: -1}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a config that can't be: %v", err)
	}
}

// A stock periph device runs on our lines: a character display, by its six wires.
func TestBoardPeriphDevice(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, nil)
	pins := map[string]periph.PinOut{}
	for _, name := range []string{"GPIO5", "GPIO6", "GPIO13", "GPIO19", "GPIO26", "GPIO21"} {
		p := gpioreg.ByName(name)
		if _, ok := p.(whole); !ok || p.Name() != name {
			t.Fatalf("%s is %T", name, p)
		}
		t.Cleanup(func() { _ = p.Halt() })
		pins[name] = p
	}
	data := []periph.PinOut{pins["GPIO5"], pins["GPIO6"], pins["GPIO13"], pins["GPIO19"]}
	lcd, err := hd44780.New(data, pins["GPIO26"], pins["GPIO21"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range "Ax" {
		if err := lcd.Print(string(c)); err != nil {
			t.Fatal(err)
		}
		got := 0
		for bit, offset := range []int{5, 6, 13, 19} {
			if sim.Level(t, offset) {
				got |= 1 << bit
			}
		}
		if got != int(c)&0xf || !sim.Level(t, 26) || sim.Level(t, 21) {
			t.Errorf("after %q the data wires are at %04b, register select %v, enable %v", c, got, sim.Level(t, 26), sim.Level(t, 21))
		}
	}
	if err := gpioreg.ByName("GPIO5").In(periph.PullUp, periph.BothEdges); err != nil {
		t.Fatal(err)
	}
	if !sim.Level(t, 5) || gpioreg.ByName("GPIO5").Read() != periph.High {
		t.Error("the pull-up that periph asked for does not pull")
	}
	sim.Pull(t, 5, false)
	if !gpioreg.ByName("GPIO5").WaitForEdge(10 * time.Second) {
		t.Error("periph sees no edge")
	}
}
