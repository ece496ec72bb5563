package gpio_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// ledRig is a board with an LED, and runs of an agent on it.
type ledRig struct {
	*testing.T
	bench *bench.Bench
	note  string
}

func newLEDRig(t *testing.T, trigger string) *ledRig {
	b := bench.NewBench(t)
	b.PlugLED(t, "ACT", trigger)
	b.PlugLED(t, "PWR", "default-on")
	return &ledRig{t, b, filepath.Join(t.TempDir(), "led")}
}

// run is the light of a process of a boot.
func (r *ledRig) run(name, boot string) *gpio.LED {
	return r.bench.Source(r.T).LED(gpio.LEDOptions{Name: name, Note: r.note, Boot: boot})
}

func (r *ledRig) open(name, boot string) *gpio.LED {
	r.Helper()
	l := r.run(name, boot)
	if err := l.Open(r.Context()); err != nil {
		r.Fatal(err)
	}
	return l
}

// is checks an LED's active trigger and its brightness.
func (r *ledRig) is(what, name, trigger, brightness string) {
	r.Helper()
	dir := filepath.Join(r.bench.Root, "sys/class/leds", name)
	list, _ := os.ReadFile(filepath.Join(dir, "trigger"))
	level, _ := os.ReadFile(filepath.Join(dir, "brightness"))
	if !strings.Contains(string(list), "["+trigger+"]") || strings.TrimSpace(string(level)) != brightness {
		r.Errorf("%s: %s has %s at %s, want %s at %s", what, name, list, level, trigger, brightness)
	}
}

func (r *ledRig) noted() bool {
	_, err := os.Stat(r.note)
	return err == nil
}

func shut(t *testing.T, l *gpio.LED) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLED(t *testing.T) {
	r := newLEDRig(t, "mmc0")
	l := r.open("ACT", "b1")
	r.is("open", "ACT", "none", "0")
	for _, on := range []bool{true, false, true} {
		if err := l.Light(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		r.is("lit or not", "ACT", "none", map[bool]string{true: "255", false: "0"}[on])
	}
	if !r.noted() {
		t.Error("what it showed is not noted")
	}
	shut(t, l)
	shut(t, l)
	r.is("closed", "ACT", "mmc0", "255")
	if r.noted() {
		t.Error("the note is still there")
	}
	r.is("its neighbour", "PWR", "default-on", "0")
}

// A process that dies leaves the LED without its trigger. The next one of the boot knows
// it from the note; one of another boot believes the kernel.
func TestLEDAfterACrash(t *testing.T) {
	r := newLEDRig(t, "mmc0")
	r.open("ACT", "b1") // it dies
	r.open("ACT", "b1") // so does this one
	shut(t, r.open("ACT", "b1"))
	r.is("two crashes", "ACT", "mmc0", "0")

	r.open("ACT", "b1")
	r.bench.Write(t, "sys/class/leds/ACT/trigger", "none [heartbeat]\n") // somebody set it meanwhile
	shut(t, r.open("ACT", "b1"))
	r.is("set by hand after a crash", "ACT", "heartbeat", "0")

	r.open("ACT", "b1")
	shut(t, r.open("ACT", "b2")) // the kernel of this boot says none by itself
	r.is("another boot", "ACT", "none", "0")

	r = newLEDRig(t, "none")
	r.bench.Write(t, "sys/class/leds/ACT/brightness", "255\n")
	shut(t, r.open("ACT", "b1"))
	r.is("an LED that was lit by hand", "ACT", "none", "255")

	r = newLEDRig(t, "mmc0")
	r.open("ACT", "b1")
	pwr := r.open("PWR", "b1") // the config has another now
	r.is("the one of before", "ACT", "mmc0", "0")
	shut(t, pwr)
	r.is("the one of now", "PWR", "default-on", "0")

	r.open("ACT", "b1")
	r.run("", "b1").PutBack(t.Context()) // the config has none now
	r.is("no light any more", "ACT", "mmc0", "0")
	if r.noted() {
		t.Error("the note is still there")
	}
	for _, spoilt := range []string{"", "{", `{"boot":"b1"}`, `{"boot":"b1","led":"../../x","trigger":"mmc0"}`} {
		if err := os.WriteFile(r.note, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		shut(t, r.open("ACT", "b1"))
		r.is("with a note of "+spoilt, "ACT", "mmc0", "0")
	}
}

// What can't be read or written is told with its cure, and what it showed is known still
// when it works again.
func TestLEDFails(t *testing.T) {
	const trigger, brightness = "sys/class/leds/ACT/trigger", "sys/class/leds/ACT/brightness"
	r := newLEDRig(t, "mmc0")
	for _, c := range []struct {
		name, led string
		file      string
		errs      []error
		want      string
		absent    bool
	}{
		{"unknown", "led7", "", nil, "find LED led7, there is ACT, PWR", true},
		{"its case", "act", "", nil, "did you mean ACT?", true},
		{"no rule of udev", "ACT", trigger, []error{nil, unix.EACCES}, "60-fieldpost.rules", false},
		{"a sandbox", "ACT", trigger, []error{nil, unix.EROFS}, "ReadWritePaths=", false},
		{"a broken one", "ACT", brightness, []error{unix.EIO}, "input/output error", false},
		{"one that went", "ACT", trigger, []error{unix.ENODEV}, "no such device", true},
	} {
		r.bench.Sysfs.Fail(c.file, c.errs...)
		err := r.run(c.led, "b1").Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, edge.ErrAbsent) != c.absent {
			t.Errorf("%s: %v", c.name, err)
		}
		r.is(c.name, "ACT", "mmc0", "0")
		if r.noted() {
			t.Errorf("%s: it is noted", c.name)
		}
	}

	l := r.open("ACT", "b1")
	r.bench.Sysfs.FailAlways(brightness, unix.EIO)
	r.bench.Sysfs.FailAlways(trigger, unix.EIO)
	if err := l.Light(t.Context(), true); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	if err := l.Close(t.Context()); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	r.bench.Sysfs.FailAlways(brightness, nil)
	r.bench.Sysfs.FailAlways(trigger, nil)
	r.is("while it fails", "ACT", "none", "0")
	shut(t, r.open("ACT", "b1"))
	r.is("after it failed", "ACT", "mmc0", "0")

	r.note = filepath.Join(t.TempDir(), "no", "folder") // a disk that takes nothing
	shut(t, r.open("ACT", "b1"))
	r.is("without a note", "ACT", "mmc0", "0")
}

// Older and newer kernels have other names for the same LED.
func TestLEDTwins(t *testing.T) {
	b := bench.NewBench(t)
	b.PlugLED(t, "led0", "mmc0")
	r := &ledRig{t, b, filepath.Join(t.TempDir(), "led")}
	r.open("ACT", "b1")
	r.is("open", "led0", "none", "0")
	shut(t, r.open("ACT", "b1"))
	r.is("closed", "led0", "mmc0", "0")
}

// A write that hangs in the kernel keeps nobody longer than its context says.
func TestLEDHangs(t *testing.T) {
	r := newLEDRig(t, "mmc0")
	l := r.open("ACT", "b1")
	release := r.bench.Sysfs.Hang("sys/class/leds/ACT/brightness")
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Light(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// The lines of the light and the button are nobody else's.
func TestOwnLines(t *testing.T) {
	b := bench.NewBench(t)
	own := []gpio.OwnLine{{Name: "led", Pin: "GPIO17"}, {Name: "button", Pin: "GPIO3"}}
	options := func(own []gpio.OwnLine, specs ...gpio.Spec) gpio.SourceOptions {
		return gpio.SourceOptions{Specs: specs, Own: own, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup, Root: b.Root}
	}
	if _, err := gpio.NewSource(options(own, spec(t, "digital_in", door))); err == nil || err.Error() != "make device door: GPIO17 is used by the agent's led" {
		t.Errorf("got %v", err)
	}
	if _, err := gpio.NewSource(options(append(own, gpio.OwnLine{Name: "button", Pin: "GPIO17"}))); err == nil || !strings.Contains(err.Error(), "it is used by the agent's led") {
		t.Errorf("got %v", err)
	}
	s, err := gpio.NewSource(options(own))
	if err != nil {
		t.Fatal(err)
	}
	l := s.LED(gpio.LEDOptions{Pin: "GPIO17", ActiveLow: true})
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if level, _ := b.Board.Level("GPIO17"); !level {
		t.Error("an LED between the pin and 3.3 V is lit while it is to be dark")
	}
	if err := l.Light(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Pins() {
		if p.Name == "GPIO17" && (p.Owner != "fieldpost:led" || p.Function != "out" || *p.Level) {
			t.Errorf("got %+v", p)
		}
	}
	shut(t, l)
	for _, p := range s.Pins() {
		if p.Name == "GPIO17" && p.Owner != "" {
			t.Errorf("got %+v", p)
		}
	}
}
