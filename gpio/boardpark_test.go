package gpio_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"periph.io/x/conn/v3/gpio/gpioreg"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// next is the process after this one: what was not parked is gone.
func next(t testing.TB, b *gpio.KernelBoard, shelf *memShelf, lines ...gpio.Line) *gpio.KernelBoard {
	t.Helper()
	for _, l := range lines {
		if err := l.Park(); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	return board(t, shelf)
}

// Edges that came while no process was there are read by the next one, with the
// kernel's stamps and numbers that go on.
func TestBoardInputOutlivesItsProcess(t *testing.T) {
	sim := bench.OnBoard(t)
	shelf := newShelf(t)
	b := board(t, shelf)
	sim.Pull(t, 17, false)
	cfg := gpio.LineConfig{Consumer: "fieldpost:door", Park: "digital_in/door", Edges: gpio.Both}
	line := named(t, "GPIO17", cfg)
	sim.Pull(t, 17, true)
	edges(t, line, 1)
	id := line.ID()
	names := shelf.names()
	if len(names) != 1 || !strings.HasPrefix(names[0], "gpio.in.pinctrl-bcm2711.17.") {
		t.Fatalf("on the shelf: %q", names)
	}
	b = next(t, b, shelf, line)
	away := mono(t)
	for _, up := range []bool{false, true, false} {
		sim.Pull(t, 17, up)
		pace()
	}
	back := mono(t)
	b = next(t, b, shelf)
	line = named(t, "GPIO17", cfg)
	if line.ID() != id {
		t.Errorf("request %s, before %s", line.ID(), id)
	}
	es := edges(t, line, 3)
	for i, e := range es {
		if e.LineSeqno != uint32(i+2) || e.Rising != (i == 1) || e.Mono < away || e.Mono > back {
			t.Errorf("edge %d: %+v, away from %d to %d", i, e, away, back)
		}
	}
	// Another debounce: the same request, its numbers go on.
	b = next(t, b, shelf, line)
	cfg.Debounce = 100 * time.Millisecond
	line = named(t, "GPIO17", cfg)
	for range 5 {
		sim.Pull(t, 17, true)
		sim.Pull(t, 17, false)
	}
	sim.Pull(t, 17, true)
	if e := edges(t, line, 1)[0]; line.ID() != id || !e.Rising || e.LineSeqno != 5 {
		t.Errorf("request %s, edge %+v", line.ID(), e)
	}
	if again := shelf.names(); len(again) != 1 || again[0] == names[0] {
		t.Errorf("on the shelf: %q, before %q", again, names)
	}
	// Another device: a new request.
	next(t, b, shelf, line)
	cfg.Park = "digital_in/gate"
	if line = named(t, "GPIO17", cfg); line.ID() == id {
		t.Error("another device goes on with the numbers of the one before")
	}
	if again := shelf.names(); len(again) != 1 {
		t.Errorf("on the shelf: %q", again)
	}
	if err := line.Close(); err != nil || len(shelf.names()) != 0 {
		t.Errorf("after Close on the shelf: %q, %v", shelf.names(), err)
	}
}

// An output on the shelf never moves, whatever the next process asks for.
func TestBoardOutputOutlivesItsProcess(t *testing.T) {
	sim := bench.OnBoard(t)
	shelf := newShelf(t)
	b := board(t, shelf)
	sim.Pull(t, 22, false)
	cfg := gpio.LineConfig{Consumer: "fieldpost:lamp", Park: "digital_out/lamp", Output: true, Initial: gpio.High}
	line := named(t, "GPIO22", cfg)
	changes := watch(t, sim.Chip(), 22)
	for _, c := range []struct {
		name  string
		cfg   gpio.LineConfig
		level bool // logical, afterwards
	}{
		{"the same", cfg, true},
		{"another level", gpio.LineConfig{Park: cfg.Park, Output: true, Initial: gpio.Low}, true},
		{"another bias", gpio.LineConfig{Park: cfg.Park, Output: true, Bias: gpio.BiasDown}, true},
		{"another polarity", gpio.LineConfig{Park: cfg.Park, Output: true, ActiveLow: true}, false},
		{"another owner", gpio.LineConfig{Park: "digital_out/fan", Output: true, ActiveLow: true}, false},
	} {
		b = next(t, b, shelf, line)
		if !sim.Level(t, 22) {
			t.Fatalf("%s: the line fell while nobody held it", c.name)
		}
		line = named(t, "GPIO22", c.cfg)
		if level, err := line.Level(); err != nil || level != c.level || !sim.Level(t, 22) {
			t.Errorf("%s: level %v, %v, the line is at %v", c.name, level, err, sim.Level(t, 22))
		}
		if len(shelf.names()) != 1 {
			t.Errorf("%s: on the shelf: %q", c.name, shelf.names())
		}
	}
	if slices.Contains(changes(), uapi.ChangeType(2)) { // released
		t.Error("the line was released on the way")
	}
	// Not to be parked any more: held as it is, and off the shelf.
	next(t, b, shelf, line)
	line = named(t, "GPIO22", gpio.LineConfig{Output: true, ActiveLow: true})
	if !sim.Level(t, 22) || len(shelf.names()) != 0 {
		t.Errorf("level %v, on the shelf: %q", sim.Level(t, 22), shelf.names())
	}
	if err := line.Park(); err != nil || sim.Level(t, 22) {
		t.Errorf("it has no name to be parked under: %v, the line is at %v", err, sim.Level(t, 22))
	}
}

// What is on the shelf and in no config any more is released; so is a line that
// is to be the other way round.
func TestBoardReleasesOrphans(t *testing.T) {
	sim := bench.OnBoard(t)
	shelf := newShelf(t)
	b := board(t, shelf)
	in := gpio.LineConfig{Consumer: "fieldpost:a", Park: "digital_in/a", Edges: gpio.Both}
	out := gpio.LineConfig{Consumer: "fieldpost:b", Park: "digital_out/b", Output: true, Initial: gpio.High}
	sim.Pull(t, 22, false)
	b = next(t, b, shelf, named(t, "GPIO17", in), named(t, "GPIO22", out))
	b.Release([]edge.Pin{"P1_11"})
	if sim.Level(t, 22) || len(shelf.names()) != 1 || !strings.Contains(shelf.names()[0], ".17.") {
		t.Errorf("level %v, on the shelf: %q", sim.Level(t, 22), shelf.names())
	}
	if info, err := gpioreg.ByName("GPIO22").(whole).Info(); err != nil || info.Consumer != "" {
		t.Errorf("GPIO22: %+v, %v", info, err)
	}
	named(t, "GPIO17", gpio.LineConfig{Consumer: "fieldpost:c", Output: true})
	if len(shelf.names()) != 0 {
		t.Errorf("on the shelf: %q", shelf.names())
	}
}

// A chip that goes away makes its lines absent, and works again when it is back,
// whatever its number is then.
func TestBoardUnplugged(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, nil)
	line := named(t, "GPIO17", gpio.LineConfig{Edges: gpio.Both})
	waits := make(chan error, 1)
	go func() {
		_, err := line.NextEdge(t.Context())
		waits <- err
	}()
	pace()
	sim.Plug(t, false)
	select {
	case err := <-waits:
		if !errors.Is(err, edge.ErrAbsent) {
			t.Errorf("a wait gives %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a wait does not end")
	}
	if _, err := line.Level(); !errors.Is(err, edge.ErrAbsent) {
		t.Errorf("a level gives %v", err)
	}
	_ = line.Close() // of a line that is gone
	_, err := gpioreg.ByName("GPIO17").(whole).Request(gpio.LineConfig{Edges: gpio.Both})
	if !errors.Is(err, edge.ErrAbsent) {
		t.Errorf("a request gives %v", err)
	}
	sim.Plug(t, true)
	sim.Pull(t, 17, false)
	line = named(t, "GPIO17", gpio.LineConfig{Edges: gpio.Both})
	sim.Pull(t, 17, true)
	edges(t, line, 1)
}
