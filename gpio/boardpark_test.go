package gpio_test

import (
	"errors"
	"strings"
	"testing"
	"time"

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

// A line that its device let go of, as it does after a fault, is there for the
// device's next try, with all that came meanwhile.
func TestBoardParkedInTheProcess(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, newShelf(t))
	sim.Pull(t, 17, false)
	cfg := gpio.LineConfig{Consumer: "fieldpost:door", Park: "digital_in/door", Edges: gpio.Both}
	line := named(t, "GPIO17", cfg)
	id := line.ID()
	if err := line.Park(); err != nil {
		t.Fatal(err)
	}
	sim.Pull(t, 17, true)
	line = named(t, "GPIO17", cfg)
	if e := edges(t, line, 1)[0]; line.ID() != id || e.LineSeqno != 1 {
		t.Errorf("request %s, before %s; edge %+v", line.ID(), id, e)
	}
}

// What waits in the queue has the polarity that it was requested with, so another
// polarity is another request. The shelf is late to let go of the old one.
func TestBoardPolarityIsAnotherRequest(t *testing.T) {
	sim := bench.OnBoard(t)
	shelf := newShelf(t)
	b := board(t, shelf)
	sim.Pull(t, 17, false)
	cfg := gpio.LineConfig{Consumer: "fieldpost:door", Park: "digital_in/door", Edges: gpio.Both}
	line := named(t, "GPIO17", cfg)
	id := line.ID()
	sim.Pull(t, 17, true)
	next(t, b, shelf, line)
	cfg.ActiveLow = true
	line = named(t, "GPIO17", cfg)
	if level, err := line.Level(); line.ID() == id || err != nil || level || len(drain(t, line)) != 0 {
		t.Errorf("request %s, before %s; level %v, %v", line.ID(), id, level, err)
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
	shelf.closes.Wait()
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
	board(t, newShelf(t))
	parked := gpio.LineConfig{Park: "digital_in/gate", Edges: gpio.Both}
	gate, late := named(t, "GPIO5", parked), named(t, "GPIO6", gpio.LineConfig{Park: "digital_in/late", Edges: gpio.Both})
	if err := gate.Park(); err != nil {
		t.Fatal(err)
	}
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
	_, _ = line.Close(), late.Park() // of lines that are gone
	_, err := gpioreg.ByName("GPIO17").(whole).Request(gpio.LineConfig{Edges: gpio.Both})
	if !errors.Is(err, edge.ErrAbsent) {
		t.Errorf("a request gives %v", err)
	}
	sim.Plug(t, true)
	sim.Pull(t, 17, false)
	line = named(t, "GPIO17", gpio.LineConfig{Edges: gpio.Both})
	sim.Pull(t, 17, true)
	edges(t, line, 1)
	// What was parked of the chip that went away is no line of this one.
	for name, cfg := range map[string]gpio.LineConfig{"GPIO5": parked, "GPIO6": {Park: "digital_in/late", Edges: gpio.Both}} {
		if _, err := named(t, name, cfg).Level(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
