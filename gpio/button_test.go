package gpio_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
	"fieldpost/queue"
)

const bell = "bell: {button: GPIO23}"

// finger is somebody at a button, and what happens to the agent meanwhile.
type finger struct {
	*testing.T
	bench *bench.Bench
	spec  gpio.Spec
	stop  func() time.Duration
	src   *gpio.Source
}

// run goes through a script: down100 and up100 hold the button for 100 ms and
// leave it alone for as long, jitter chatters for 15 ms and is down then, drop1
// and swallow1 lose the next edge in and above the kernel's queue, stop and start
// are the agent's, between kill and killed it stores nothing more before it ends,
// full and room are the disk's, unplug takes the line away and brings it back,
// reboot is another boot.
func (f *finger) run(script string) {
	f.Helper()
	for _, word := range strings.Fields(script) {
		what := strings.TrimRight(word, "0123456789")
		n, _ := strconv.Atoi(word[len(what):])
		switch what {
		case "down", "up":
			drive(f.T, f.bench, "GPIO23", what == "up")
			bench.Pass(time.Duration(n) * time.Millisecond)
		case "jitter":
			for i := range 16 {
				drive(f.T, f.bench, "GPIO23", i%2 == 0)
				bench.Pass(time.Millisecond)
			}
		case "drop":
			f.bench.Board.DropEdges("GPIO23", n)
		case "swallow":
			f.bench.Board.SwallowEdges("GPIO23", n)
		case "start":
			f.src = f.bench.Source(f.T, f.spec)
			f.stop = bench.Start(f.T, f.src)
			synctest.Wait()
		case "stop":
			f.halt()
		case "kill":
			f.bench.Pump.Deaf(true)
			f.bench.Pump.Fail(errors.New("killed"))
		case "killed":
			f.halt()
			f.bench.Pump.Deaf(false)
			f.bench.Pump.Fail(nil)
		case "unplug":
			f.bench.Board.Unplug()
			f.bench.Board.Plug()
		case "full":
			f.bench.Pump.Fail(errors.New("disk full"))
		case "room":
			f.bench.Pump.Fail(nil)
		case "reboot":
			f.bench.Clock.Reboot()
		case "wait":
			bench.Pass(time.Duration(n) * time.Millisecond)
		default:
			f.Fatalf("what is %s?", word)
		}
	}
}

func (f *finger) halt() {
	f.Helper()
	if took := f.stop(); took > time.Second {
		f.Errorf("it took %s to stop", took)
	}
	f.stop = nil
}

// at runs a script in a bubble of its own and compares what was told.
func at(t *testing.T, device, script string, want ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &finger{T: t, bench: bench.NewBench(t), spec: spec(t, "button", device)}
		f.run(script + " wait3000")
		expect(t, f.bench, "bell", want...)
		if f.stop != nil {
			f.halt()
		}
		expect(t, f.bench, "bell")
	})
}

// The gestures, as they are told.
const (
	long        = `change {"value":"long"}`
	double      = `change {"value":"double"}`
	released    = `change {"value":"release"}`
	releasedNow = `change {"value":"release","stamp":"agent"}`
)

func press(held string) string   { return `change {"value":"press","held":` + held + `}` }
func release(held string) string { return `change {"value":"release","held":` + held + `}` }
func lost(n int, cause string) string {
	return `loss {"count":` + strconv.Itoa(n) + `,"cause":"` + cause + `"}`
}

func TestButtonGestures(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"press", "down100 up1000", []string{press("0.1")}},
		{"two presses", "down100 up400 down150 up1000", []string{press("0.1"), press("0.15")}},
		{"the second as the window closes", "down100 up300 down100 up1000", []string{press("0.1"), press("0.1")}},
		{"double", "down100 up299 down100 up1000", []string{double}},
		{"triple", "down100 up100 down100 up100 down100 up1000", []string{double, press("0.1")}},
		{"twice double", "down100 up100 down100 up100 down100 up100 down100 up1000", []string{double, double}},
		{"almost long", "down799 up1000", []string{press("0.799")}},
		{"just long", "down800 up1000", []string{long, release("0.8")}},
		{"long", "down2500 up1000", []string{long, release("2.5")}},
		{"press and long", "down100 up100 down2000 up1000", []string{press("0.1"), long, release("2")}},
		{"long and press", "down1000 up100 down100 up1000", []string{long, release("1"), press("0.1")}},
		{"bounce", "jitter down100 jitter down84 up1000", []string{press("0.201")}},
		{"a touch that is shorter than the debounce", "down15 up1000", nil},
	} {
		t.Run(c.name, func(t *testing.T) { at(t, bell, "start wait1000 "+c.script, c.want...) })
	}
}

func TestButtonWithout(t *testing.T) {
	for _, c := range []struct {
		name, device, script string
		want                 []string
	}{
		{"double: told as it is let go of", "bell: {button: GPIO23, double: 0s}", "down100 up100 down100 up100 down900 up5 stop",
			[]string{press("0.1"), press("0.1"), long}},
		{"long: any length is a press", "bell: {button: GPIO23, long: 0s}", "down5000 up1000 down3000 up100 down4000 up1000",
			[]string{press("5"), double}},
		{"both: told as it begins", "bell: {button: GPIO23, double: 0s, long: 0s}", "down100 up100 down5000 stop",
			[]string{`change {"value":"press"}`, `change {"value":"press"}`}},
	} {
		t.Run(c.name, func(t *testing.T) { at(t, c.device, "start wait1000 "+c.script, c.want...) })
	}
}

func TestButtonTellsLosses(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"the begin", "drop1 down100 up1000 down100 up1000", []string{lost(1, "overflow"), press("0.1")}},
		{"the end", "down30 drop1 up30 down100 up1000", []string{lost(1, "overflow"), press("0.1")}},
		{"between two", "down30 drop2 up25 down25 up1000", []string{lost(2, "overflow")}},
		{"the end and the next begin, held for long in all", "down100 stop drop2 up50 down700 up1000 start", []string{lost(2, "restart")}},
		{"the second of two", "down100 up50 drop2 down50 up150 down100 up1000", []string{press("0.1"), lost(2, "overflow"), press("0.1")}},
		{"the end of a long", "down1000 drop1 up50 down100 up1000", []string{long, lost(1, "overflow"), released, press("0.1")}},
		{"the end of a long, read by a process that was killed", "down1000 kill up100 killed start", []string{long, lost(1, "restart"), releasedNow}},
		{"above the queue: the end", "down40 swallow1 up40 down100 up1000", []string{lost(1, "repeat"), press("0.1")}},
		{"above the queue: the end of a long", "down1000 swallow1 up50 down100 up1000", []string{long, lost(1, "repeat"), released, press("0.1")}},
		{"above the queue: the begin", "swallow1 down50 up1000", []string{lost(1, "repeat")}},
		{"above the queue: the second begin", "down100 up40 swallow1 down40 up1000", []string{press("0.1"), lost(1, "repeat")}},
		{"without a sign: the second begin", "down100 up40 swallow1 down2000 up1000", []string{press("0.1"), lost(1, "missed")}},
		{"without a sign: the end", "down40 swallow1 up5000 down100 up1000", []string{lost(1, "missed"), press("0.1")}},
		{"more than the queue holds", "stop drop600 " + strings.Repeat("down100 up100 ", 300) + "down100 up1000 start down100 up1000",
			[]string{lost(600, "restart"), press("0.1"), press("0.1")}},
	} {
		t.Run(c.name, func(t *testing.T) { at(t, bell, "start wait1000 "+c.script, c.want...) })
	}
}

// TestButtonStuck: a button that is down at the start is no gesture.
func TestButtonStuck(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"for ever", "down100 start wait60000", nil},
		{"let go of", "down100 start wait5000 up1000 down100 up1000", []string{press("0.1")}},
		{"let go of at once", "down100 start wait50 up100 down100 up1000", []string{press("0.1")}},
		{"over a restart", "down100 start wait1000 stop wait1000 start wait1000 up1000", nil},
	} {
		t.Run(c.name, func(t *testing.T) { at(t, bell, c.script, c.want...) })
	}
}

// TestButtonStamps: each gesture has the kernel's time of what completed it, the
// long that of its threshold, and is told then.
func TestButtonStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finger{T: t, bench: bench.NewBench(t), spec: spec(t, "button", bell)}
		f.run("start wait1000")
		const ms = int64(time.Millisecond)
		start := f.bench.Clock.Mono() + 20*ms // stamps come after the debounce
		f.run("down100 up319")                // the window closes 300 ms after the stamp
		expect(t, f.bench, "bell")
		f.run("wait2 wait79 down700 stop start wait119") // 500
		b := f.bench.Pump.Events("bell")
		if len(b) != 1 || b[0].Mono != start+100*ms || b[0].Kind != edge.Change {
			t.Errorf("press: %+v", b)
		}
		f.run("wait2 wait179 up100 down100 up100") // 1500, 1600, 1700
		var got []int64
		for _, ev := range f.bench.Pump.Events("bell") {
			got = append(got, (ev.Mono-start)/ms)
		}
		if want := []int64{100, 1300, 1500}; len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("stamps %v, want %v", got, want)
		}
		d, _ := f.src.Device("bell")
		if string(d.Value) != `"release"` || d.Since == nil || time.Since(*d.Since) != 280*time.Millisecond {
			t.Errorf("status %+v", d)
		}
		f.run("stop wait60000 start stop start")
		if d, _ = f.src.Device("bell"); string(d.Value) != `"press"` || d.Status != "ok" || d.Pins[0] != "GPIO23" {
			t.Errorf("status after a restart %+v", d)
		}
		f.halt()
	})
}

// hungPump is a pump whose disk answers nobody.
type hungPump struct{ *bench.Pump }

func (hungPump) Commit(ctx context.Context, _ ...queue.Row) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestButtonDoesNotWaitForTheDisk: what is stored without an event holds up none.
func TestButtonDoesNotWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "button", bell)}, Pump: hungPump{b.Pump}, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		drive(t, b, "GPIO23", false)
		bench.Pass(time.Second)
		expect(t, b, "bell", long)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}

// hastyPin is a pin that somebody presses as soon as its line was requested.
type hastyPin struct {
	periph.PinIO
	touch func()
}

func (p hastyPin) Request(cfg gpio.LineConfig) (gpio.Line, error) {
	line, err := p.PinIO.(interface {
		Request(gpio.LineConfig) (gpio.Line, error)
	}).Request(cfg)
	p.touch()
	return line, err
}

// TestButtonPressedAtTheStart: the first edge is before the first look at the
// level, and says what that was before it.
func TestButtonPressedAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		touch := func() {
			drive(t, b, "GPIO23", false)
			bench.Pass(100 * time.Millisecond)
		}
		opt := gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "button", bell)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
			Lookup: func(name string) periph.PinIO { return hastyPin{b.Board.Lookup(name), touch} }}
		s, err := gpio.NewSource(opt)
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		defer stop()
		bench.Pass(time.Second)
		drive(t, b, "GPIO23", true)
		bench.Pass(time.Second)
		expect(t, b, "bell", long, release("1"))
	})
}

// TestButtonOnAForeignPin runs on a pin that has no more than periph asks for.
func TestButtonOnAForeignPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		pin := bench.NewForeignPin("EXP_0")
		opt := gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "button", "bell: {button: EXP_0, debounce: 100ms}")}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
			Lookup: func(string) periph.PinIO { return pin }}
		s, err := gpio.NewSource(opt)
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, s)
		hold := func(level bool, d time.Duration) {
			pin.Drive(level, true)
			bench.Pass(d)
		}
		bench.Pass(time.Second)
		hold(false, 300*time.Millisecond)
		hold(true, 200*time.Millisecond)
		hold(false, 300*time.Millisecond)
		hold(true, 2*time.Second)
		expect(t, b, "bell", `change {"value":"double","stamp":"agent"}`)
		hold(false, 2*time.Second)
		expect(t, b, "bell", `change {"value":"long","stamp":"agent"}`)
		hold(true, 2*time.Second)
		expect(t, b, "bell", `change {"value":"release","held":2,"stamp":"agent"}`)
		hold(false, 850*time.Millisecond) // so that the long falls due while it is debounced, which begins anew
		hold(true, 2*time.Second)
		expect(t, b, "bell", `change {"value":"long","stamp":"agent"}`, `change {"value":"release","held":0.9,"stamp":"agent"}`)
		stop()
		if d, _ := s.Device("bell"); d.Lost != 0 {
			t.Errorf("lost %d", d.Lost)
		}
	})
}

func TestButtonRefusesWhatCannotWork(t *testing.T) {
	for _, device := range []string{"bell: {button: GPIO23, long: -1s}", "bell: {button: GPIO23, double: -1s}", "bell: {button: GPIO23, debounce: -1s}"} {
		b := bench.NewBench(t)
		options := &gpio.Button{Pin: "GPIO23"}
		if strings.Contains(device, "long") {
			options.Long = -1
		} else if strings.Contains(device, "double") {
			options.Double = -1
		} else {
			options.Debounce = -1
		}
		if _, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{{Name: "bell", Driver: "button", Options: options}}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock}); err == nil {
			t.Errorf("%s: taken", device)
		}
	}
}
