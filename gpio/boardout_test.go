package gpio_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio/gpioreg"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// levels records every level that the kernel drives a line to: its trace event
// gpio_value (Linux's include/trace/events/gpio.h) misses none, however short.
// The lines of a test that records are the only ones that move meanwhile.
func levels(t testing.TB) (driven func() string) {
	t.Helper()
	const dir = "/sys/kernel/tracing"
	if _, err := os.Stat(filepath.Join(dir, "trace")); err != nil {
		if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
			t.Fatalf("mount tracefs: %v", err)
		}
	}
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("events/gpio/gpio_value/enable", "1")
	write("trace", "")
	t.Cleanup(func() { write("events/gpio/gpio_value/enable", "0") })
	return func() string {
		b, err := os.ReadFile(filepath.Join(dir, "trace"))
		if err != nil {
			t.Fatal(err)
		}
		write("trace", "")
		all := ""
		for line := range strings.Lines(string(b)) {
			var gpio, level int
			_, event, ok := strings.Cut(line, "gpio_value: ")
			if n, _ := fmt.Sscanf(event, "%d set %d", &gpio, &level); ok && n == 2 {
				all += fmt.Sprint(level)
			}
		}
		return all
	}
}

// An output is at its level from the first instant: the kernel never drives it to
// another one.
func TestBoardOutputLevels(t *testing.T) {
	sim := bench.OnBoard(t)
	board(t, nil)
	driven := levels(t)
	for _, c := range []struct {
		pull bool
		cfg  gpio.LineConfig
		want bool // physical
	}{
		{true, gpio.LineConfig{Output: true, Initial: gpio.High}, true},
		{false, gpio.LineConfig{Output: true, Initial: gpio.High}, true},
		{false, gpio.LineConfig{Output: true, Initial: gpio.Low}, false},
		{true, gpio.LineConfig{Output: true, Initial: gpio.Low, ActiveLow: true}, true},
		{true, gpio.LineConfig{Output: true, Initial: gpio.Keep}, true},
		{false, gpio.LineConfig{Output: true, Initial: gpio.Keep}, false},
		{true, gpio.LineConfig{Output: true, Initial: gpio.Keep, ActiveLow: true}, true},
	} {
		sim.Pull(t, 27, c.pull)
		driven()
		line := named(t, "GPIO27", c.cfg)
		digit := map[bool]string{true: "1", false: "0"}
		if got := driven(); got != digit[c.want] || sim.Level(t, 27) != c.want {
			t.Errorf("%+v: driven to %q, want %q alone; it is at %v", c.cfg, got, digit[c.want], sim.Level(t, 27))
		}
		level, err := line.Level()
		if err != nil || level != (c.want != c.cfg.ActiveLow) {
			t.Errorf("%+v: level %v, %v", c.cfg, level, err)
		}
		before := mono(t)
		at, err := line.Set(!level)
		if err != nil || sim.Level(t, 27) == c.want || at < before || at > mono(t) {
			t.Errorf("%+v: set to %v: %v at %d", c.cfg, !level, err, at)
		}
		if got := driven(); got != digit[!c.want] {
			t.Errorf("%+v: set, it is driven to %q", c.cfg, got)
		}
		if err := line.Close(); err != nil {
			t.Error(err)
		}
		if got := sim.Level(t, 27); got != c.pull {
			t.Errorf("%+v: a released line is at %v, its pull is %v", c.cfg, got, c.pull)
		}
	}
}

// The record that the test above relies on shows a level that lasts for no time:
// an output requested without one, as periph's own driver does, and then set.
func TestBoardShowsAGlitch(t *testing.T) {
	sim := bench.OnBoard(t)
	driven := levels(t)
	fd, err := unix.Open(sim.Chip(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	req := uapi.LineRequest{Lines: 1, Config: uapi.LineConfig{Flags: uapi.LineFlagV2Output}}
	req.Offsets[0] = 27
	if err := uapi.GetLine(uintptr(fd), &req); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(int(req.Fd))
	if err := uapi.SetLineValuesV2(uintptr(req.Fd), uapi.LineValues{Bits: 1, Mask: 1}); err != nil {
		t.Fatal(err)
	}
	if got := driven(); got != "01" {
		t.Errorf("driven to %q", got)
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
	changes, driven := watch(t, sim.Chip(), 22), levels(t)
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
	for _, c := range changes() {
		if c == lineReleased {
			t.Error("the line was released on the way")
		}
	}
	if got := driven(); strings.Contains(got, "0") {
		t.Errorf("the line was driven to %q", got)
	}
	// Not to be parked any more: held as it is, and off the shelf.
	next(t, b, shelf, line)
	line = named(t, "GPIO22", gpio.LineConfig{Output: true, ActiveLow: true})
	if !sim.Level(t, 22) || len(shelf.names()) != 0 {
		t.Errorf("level %v, on the shelf: %q", sim.Level(t, 22), shelf.names())
	}
	shelf.closes.Wait()
	if err := line.Park(); err != nil || sim.Level(t, 22) {
		t.Errorf("it has no name to be parked under: %v, the line is at %v", err, sim.Level(t, 22))
	}
}

// A chip that is opened through a link, as a Pi 5 has one, is known by its own
// name: what is parked of it is taken over.
func TestBoardChipByALink(t *testing.T) {
	sim := bench.OnBoard(t)
	shelf := newShelf(t)
	b := board(t, shelf)
	sim.Pull(t, 22, false)
	cfg := gpio.LineConfig{Park: "digital_out/lamp", Output: true, Initial: gpio.High}
	line := named(t, "GPIO22", cfg)
	if err := line.Park(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	dev := t.TempDir()
	if err := os.Symlink(sim.Chip(), filepath.Join(dev, "gpiochip0")); err != nil {
		t.Fatal(err)
	}
	driven := levels(t)
	again, err := gpio.OpenBoard(gpio.KernelOptions{Dev: dev, Shelf: shelf, Parked: shelf.files(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	// The registry still has the pins of the board before: ask for the new ones.
	p, ok := gpioreg.ByName("GPIO22").(whole)
	if !ok {
		t.Fatal("no GPIO22")
	}
	if line, err = p.Request(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	if level, err := line.Level(); err != nil || !level || !sim.Level(t, 22) || strings.Contains(driven(), "0") {
		t.Errorf("level %v, %v, the line is at %v", level, err, sim.Level(t, 22))
	}
}

const lineReleased = uapi.ChangeType(2) // GPIO_V2_LINE_CHANGED_RELEASED

// watch follows what others see of a line, as gpiomon's gpionotify does.
func watch(t testing.TB, chip string, offset int) (changes func() []uapi.ChangeType) {
	t.Helper()
	fd, err := unix.Open(chip, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := uapi.WatchLineInfoV2(uintptr(fd), &uapi.LineInfoV2{Offset: uint32(offset)}); err != nil {
		t.Fatal(err)
	}
	return func() (all []uapi.ChangeType) {
		for {
			c, err := uapi.ReadLineInfoChangedV2(uintptr(fd))
			if err != nil {
				return all
			}
			all = append(all, c.Type)
		}
	}
}
