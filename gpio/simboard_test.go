package gpio_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	periph "periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/conn/v3/pin"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// request takes a line of the bench's board.
func request(t testing.TB, b *gpiotest.Bench, offset int, cfg gpio.LineConfig) gpio.Line {
	t.Helper()
	line, err := b.Board.Request(offset, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// drain takes the edges that wait.
func drain(t testing.TB, line gpio.Line) (es []gpio.Edge) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		e, err := line.NextEdge(ctx)
		if errors.Is(err, context.Canceled) {
			return es
		}
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
}

func drive(t testing.TB, b *gpiotest.Bench, pin edge.Pin, levels ...bool) {
	t.Helper()
	for _, l := range levels {
		if err := b.Board.Drive(pin, l); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEdgesAreStampedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		line := request(t, b, 17, gpio.LineConfig{Edges: gpio.Both})
		var want []gpio.Edge
		for i := range uint32(4) {
			gpiotest.Pass(time.Second)
			want = append(want, gpio.Edge{Rising: i%2 == 0, Mono: b.Clock.Mono(), Seqno: i + 1, LineSeqno: i + 1})
			drive(t, b, "GPIO17", i%2 == 0)
		}
		gpiotest.Pass(time.Hour)
		if got := drain(t, line); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestQueueDropsTheOldest(t *testing.T) {
	for _, c := range []struct {
		buffer, edges int
		first, last   uint32
	}{{0, 1024, 1, 1024}, {0, 1600, 577, 1600}, {4096, 1600, 577, 1600}, {16, 100, 85, 100}, {16, 5, 1, 5}} {
		b := gpiotest.NewBench(t)
		line := request(t, b, 5, gpio.LineConfig{Edges: gpio.Both, Buffer: c.buffer})
		for i := range c.edges {
			drive(t, b, "GPIO5", i%2 == 1)
		}
		es := drain(t, line)
		if len(es) != int(c.last-c.first)+1 || es[0].LineSeqno != c.first || es[len(es)-1].LineSeqno != c.last {
			t.Errorf("buffer %d, %d edges: %d left, %d to %d", c.buffer, c.edges, len(es), es[0].LineSeqno, es[len(es)-1].LineSeqno)
		}
	}
}

func TestDebounceIsTheKernels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		line := request(t, b, 17, gpio.LineConfig{Edges: gpio.Both, Debounce: 20 * time.Millisecond})
		for range 11 { // bounces 3 ms apart, that end high
			drive(t, b, "GPIO17", true, false, true)
			gpiotest.Pass(3 * time.Millisecond)
		}
		if es := drain(t, line); len(es) != 0 {
			t.Fatalf("while it bounces: %v", es)
		}
		if level, _ := line.Level(); level {
			t.Error("the level is not the debounced one")
		}
		at := b.Clock.Mono() + int64(17*time.Millisecond)
		gpiotest.Pass(time.Second)
		es := drain(t, line)
		if want := (gpio.Edge{Rising: true, Mono: at, Seqno: 1, LineSeqno: 1}); len(es) != 1 || es[0] != want {
			t.Errorf("got %v, want %v", es, want)
		}
		drive(t, b, "GPIO17", false) // a glitch
		gpiotest.Pass(5 * time.Millisecond)
		drive(t, b, "GPIO17", true)
		gpiotest.Pass(time.Second)
		if es := drain(t, line); len(es) != 0 {
			t.Errorf("a glitch gave %v", es)
		}
	})
}

func TestMaskPolarityAndBias(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    gpio.LineConfig
		idle   bool // the logical level with nothing driving it
		rising []bool
	}{
		{"rising", gpio.LineConfig{Edges: gpio.Rising, Bias: gpio.BiasDown}, false, []bool{true, true}},
		{"falling", gpio.LineConfig{Edges: gpio.Falling, Bias: gpio.BiasDown}, false, []bool{false, false}},
		{"active low", gpio.LineConfig{Edges: gpio.Both, Bias: gpio.BiasUp, ActiveLow: true}, false, []bool{true, false, true}},
		{"pulled up", gpio.LineConfig{Edges: gpio.Both, Bias: gpio.BiasUp}, true, []bool{false, true, false}},
		{"none", gpio.LineConfig{Bias: gpio.BiasUp}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			line := request(t, b, 17, c.cfg)
			if level, err := line.Level(); level != c.idle || err != nil {
				t.Errorf("idle level %v, %v", level, err)
			}
			drive(t, b, "GPIO17", false, true, false, true, false)
			if c.idle || c.cfg.ActiveLow {
				drive(t, b, "GPIO17", false)
			}
			es := drain(t, line)
			var got []bool
			for _, e := range es {
				got = append(got, e.Rising)
			}
			if len(got) < len(c.rising) || !slices.Equal(got[:len(c.rising)], c.rising) {
				t.Errorf("edges %v, want to begin with %v", got, c.rising)
			}
			if c.rising == nil && got != nil {
				t.Errorf("edges %v", got)
			}
		})
	}
}

func TestOutputIsNeverAtAnotherLevel(t *testing.T) {
	b := gpiotest.NewBench(t)
	line := request(t, b, 5, gpio.LineConfig{Output: true, Initial: gpio.Keep}) // GPIO5 is pulled up
	if tr := b.Board.Trace("GPIO5"); len(tr) != 0 {
		t.Errorf("keep moved the line: %v", tr)
	}
	if err := line.Close(); err != nil {
		t.Error(err)
	}
	line = request(t, b, 27, gpio.LineConfig{Output: true, Initial: gpio.High, ActiveLow: true})
	if tr := b.Board.Trace("GPIO27"); len(tr) != 0 {
		t.Errorf("an active-low output that is on moved a low line: %v", tr)
	}
	if _, err := line.Set(false); err != nil {
		t.Error(err)
	}
	if tr := b.Board.Trace("GPIO27"); len(tr) != 1 || !tr[0].Level {
		t.Errorf("trace %v", tr)
	}
	if err := b.Board.Drive("GPIO27", false); !errors.Is(err, unix.EPERM) {
		t.Errorf("drive an output: %v", err)
	}
	if err := errors.Join(line.Close(), line.Close()); err != nil {
		t.Error(err)
	}
	if level, _ := b.Board.Level("GPIO27"); level {
		t.Error("a released line is not at its pull")
	}
}

func TestBusyNamesTheHolder(t *testing.T) {
	b := gpiotest.NewBench(t)
	request(t, b, 17, gpio.LineConfig{Consumer: "fieldpost:door", Park: "door"})
	_, err := b.Board.Request(17, gpio.LineConfig{Park: "door"})
	var busy *gpio.BusyError
	if !errors.As(err, &busy) || busy.Holder != "fieldpost:door" || !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v", err)
	}
	b.Board.Hold("GPIO10", "spi0")
	if _, err = b.Board.Request(10, gpio.LineConfig{}); !errors.As(err, &busy) || busy.Holder != "spi0" {
		t.Errorf("got %v", err)
	}
	b.Board.Hold("GPIO10", "")
	request(t, b, 10, gpio.LineConfig{})
}

func TestParkedLineGoesOn(t *testing.T) {
	b := gpiotest.NewBench(t)
	cfg := gpio.LineConfig{Edges: gpio.Both, Park: "door"}
	first := request(t, b, 17, cfg)
	drive(t, b, "GPIO17", true)
	if es := drain(t, first); len(es) != 1 {
		t.Fatal(es)
	}
	if err := first.Park(); err != nil {
		t.Fatal(err)
	}
	drive(t, b, "GPIO17", false, true)
	if _, err := first.Level(); !errors.Is(err, unix.EBADF) {
		t.Errorf("the old owner reads: %v", err)
	}
	second := request(t, b, 17, cfg)
	if es := drain(t, second); len(es) != 2 || es[0].LineSeqno != 2 || second.ID() != first.ID() {
		t.Errorf("taken over: %v, %s and %s", es, first.ID(), second.ID())
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if third := request(t, b, 17, cfg); third.ID() == first.ID() {
		t.Error("a new request has the id of an old one")
	} else if err := third.Park(); err != nil {
		t.Fatal(err)
	} else if fourth := request(t, b, 17, gpio.LineConfig{Park: "other"}); fourth.ID() == third.ID() {
		t.Error("another device goes on with a parked input")
	}
}

func TestUnpluggedChip(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := gpiotest.NewBench(t)
	in, out := request(t, b, 17, gpio.LineConfig{Edges: gpio.Both}), request(t, b, 27, gpio.LineConfig{Output: true})
	waited := make(chan error)
	go func() { _, err := in.NextEdge(context.Background()); waited <- err }()
	b.Board.Unplug()
	_, setErr := out.Set(true)
	_, reqErr := b.Board.Request(5, gpio.LineConfig{})
	for _, err := range []error{<-waited, setErr, reqErr} {
		if !errors.Is(err, edge.ErrAbsent) || !errors.Is(err, unix.ENODEV) {
			t.Errorf("got %v", err)
		}
	}
	b.Board.Plug()
	request(t, b, 17, gpio.LineConfig{})
}

// TestRegistry is the one test on periph's global registries: the simulated
// board in its slot, aliases, periph's own calls, and a second board after it.
func TestRegistry(t *testing.T) {
	for range 2 {
		b, err := gpio.Simulate(gpio.SimOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p := gpioreg.ByName("P1_11")
		real, ok := p.(periph.RealPin)
		if !ok || real.Real().Name() != "GPIO17" {
			t.Fatalf("P1_11 is %v", p)
		}
		edger, ok := real.Real().(interface {
			NextEdge(context.Context) (gpio.Edge, error)
		})
		if !ok {
			t.Fatal("no NextEdge")
		}
		if err := p.In(periph.PullUp, periph.BothEdges); err != nil {
			t.Fatal(err)
		}
		if p.Read() != periph.High || p.Pull() != periph.PullUp {
			t.Error("the pull has no effect")
		}
		if err := b.Drive("GPIO17", false); err != nil {
			t.Fatal(err)
		}
		if e, err := edger.NextEdge(t.Context()); err != nil || e.Rising || e.Mono == 0 || e.LineSeqno != 1 {
			t.Errorf("edge %+v, %v", e, err)
		}
		if p.WaitForEdge(time.Millisecond) {
			t.Error("an edge without a change")
		}
		if err := p.Out(periph.High); err != nil {
			t.Error(err)
		}
		if level, _ := b.Level("GPIO17"); !level || p.Read() != periph.High || real.Real().(pin.PinFunc).Func() != periph.OUT {
			t.Errorf("level %v, %v", level, real.Real())
		}
		if err := p.Halt(); err != nil {
			t.Error(err)
		}
	}
}
