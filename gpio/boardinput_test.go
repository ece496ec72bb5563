package gpio_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// agency is one agent after another on the kernel's lines, over one store and one
// shelf.
type agency struct {
	*testing.T
	shelf  *memShelf
	pump   *bench.Pump
	specs  []gpio.Spec
	board  *gpio.KernelBoard
	stop   func() time.Duration
	source *gpio.Source // of the agent that runs
	told   int          // gestures that were looked at
}

func newAgency(t *testing.T, specs ...gpio.Spec) *agency {
	a := &agency{T: t, shelf: newShelf(t), pump: bench.NewPump(), specs: specs}
	a.start()
	t.Cleanup(func() {
		if a.stop != nil {
			a.halt()
		}
	})
	return a
}

func (a *agency) start() {
	a.Helper()
	a.board = board(a, a.shelf)
	a.source = bench.BoardSource(a, a.pump, a.specs...)
	a.stop = bench.Start(a, a.source)
	for _, spec := range a.specs {
		bench.UntilStatus(a, a.source, spec.Name, "ok")
	}
}

func (a *agency) halt() {
	a.stop()
	a.board.Close()
	a.stop = nil
}

// lines are the events as the tables have them, without what comes of a request.
func (a *agency) lines(device string) string {
	return lineOrigin.ReplaceAllString(a.pump.Lines(device), "")
}

// expect waits until a device has told just that, and forgets it.
func (a *agency) expect(device string, want ...string) {
	a.Helper()
	text := strings.Join(want, "\n") + "\n"
	bench.Until(a, device+" tells\n"+text, func() bool {
		got := a.lines(device)
		if !strings.HasPrefix(text, got) {
			a.Fatalf("%s told\n%swant\n%s", device, got, text)
		}
		return got == text
	})
	a.pump.Forget()
}

// turnPace is slower than any pause of the emulator: an edge that is heard of later than
// one of the other contact, 5 ms younger, is a loss by rights.
func turnPace() { <-time.After(100 * time.Millisecond) }

// quarter turns a knob by so many edges from where it rests, at GPIO5 and GPIO6 both
// high: clockwise A is first.
func (a *agency) quarter(sim *bench.KernelSim, n int) {
	a.Helper()
	lines := []int{5, 6}
	if n < 0 {
		lines, n = []int{6, 5}, -n
	}
	for i := range n {
		sim.Pull(a, lines[i%2], i%4 >= 2)
		turnPace()
	}
}

// A knob goes both ways, also while no agent runs, and through edges that an agent had
// read and did not store.
func TestBoardRotary(t *testing.T) {
	sim := bench.OnBoard(t)
	a := newAgency(t, spec(t, "rotary", knob))
	if !sim.Level(t, 5) || !sim.Level(t, 6) {
		t.Fatal("the pull-ups that a knob has by default do not pull")
	}
	a.expect("knob", turnedTo(0, ""))
	a.quarter(sim, 8)
	a.expect("knob", turnedTo(1, "cw"), turnedTo(2, "cw"))
	a.quarter(sim, -12)
	a.expect("knob", turnedTo(1, "ccw"), turnedTo(0, "ccw"), turnedTo(-1, "ccw"))
	// Half a click and back, and a contact that bounces, are nothing.
	for _, up := range []bool{false, true, false, true} {
		sim.Pull(t, 5, up)
		turnPace()
	}
	a.halt()
	a.quarter(sim, 4)
	a.start()
	a.expect("knob", turnedTo(0, "cw"))
	// A kill: half a click was read, and is not in the store. The next agent finds both
	// contacts changed and no edge that says how, tells so, and goes on as it went last.
	a.pump.Fail(errors.New("killed"))
	a.pump.Deaf(true)
	a.quarter(sim, 2)
	a.halt()
	a.pump.Fail(nil)
	a.pump.Deaf(false)
	a.start()
	bench.Until(t, "the loss is told", func() bool {
		return strings.Contains(a.lines("knob"), `loss {"count":1,"cause":"missed"}`)
	})
	a.pump.Forget()
	sim.Pull(t, 5, true)
	turnPace()
	sim.Pull(t, 6, true)
	bench.Until(t, "the click is told", func() bool { return strings.HasSuffix(a.lines("knob"), turnedTo(1, "cw")+"\n") })
}

// gesture waits for the next thing that a button tells, and gives how long it was held.
func (a *agency) gesture(want string) (held time.Duration) {
	a.Helper()
	var data struct {
		Value string
		Held  float64
	}
	bench.Until(a, "the bell tells "+want, func() bool { return len(a.pump.Events("bell")) > a.told })
	ev := a.pump.Events("bell")[a.told]
	if err := json.Unmarshal(ev.Data, &data); err != nil || data.Value != want {
		a.Fatalf("told %s, want %s", a.lines("bell"), want)
	}
	a.told++
	return time.Duration(data.Held * float64(time.Second))
}

// press holds a button to ground for so long, and gives the shortest and the longest
// that the kernel may have seen it held.
func (a *agency) press(sim *bench.KernelSim, d time.Duration) (least, most time.Duration) {
	a.Helper()
	down := mono(a)
	sim.Pull(a, 23, false)
	isDown := mono(a)
	<-time.After(d)
	up := mono(a)
	sim.Pull(a, 23, true)
	return time.Duration(up - isDown), time.Duration(mono(a) - down)
}

// A button's gestures, by the kernel's stamps; a press that began before a restart and
// ended while no agent ran is as long as it was.
func TestBoardButton(t *testing.T) {
	const long, double = 2 * time.Second, 700 * time.Millisecond
	sim := bench.OnBoard(t)
	a := newAgency(t, spec(t, "button", "bell: {button: GPIO23, debounce: 0s, long: 2s, double: 700ms}"))
	isHeld := func(held, least, most time.Duration) {
		t.Helper()
		if held < least.Truncate(time.Millisecond) || held > most+time.Millisecond {
			t.Errorf("held is %s, it was held for %s to %s", held, least, most)
		}
	}
	if !sim.Level(t, 23) {
		t.Fatal("the pull-up that a button has by default does not pull")
	}
	least, most := a.press(sim, 100*time.Millisecond)
	isHeld(a.gesture("press"), least, most)
	a.press(sim, 100*time.Millisecond)
	pace()
	a.press(sim, 100*time.Millisecond)
	a.gesture("double")
	least, most = a.press(sim, long+200*time.Millisecond)
	a.gesture("long")
	isHeld(a.gesture("release"), least, most)
	// Down while an agent runs, up while none does.
	began := mono(t)
	sim.Pull(t, 23, false)
	isDown := mono(t)
	pace()
	a.halt()
	ended := mono(t)
	sim.Pull(t, 23, true)
	isUp := mono(t)
	<-time.After(double)
	a.start()
	isHeld(a.gesture("press"), time.Duration(ended-isDown), time.Duration(isUp-began))
}

// A counter counts each pulse, those while no agent runs too.
func TestBoardCounter(t *testing.T) {
	sim := bench.OnBoard(t)
	a := newAgency(t, spec(t, "counter", "flow: {counter: GPIO22, every: 100ms, scale: 0.5, unit: L}"))
	pulses := func(n int) {
		for range n {
			sim.Pull(t, 22, true)
			pace()
			sim.Pull(t, 22, false)
			pace()
		}
	}
	total := func(value string) {
		t.Helper()
		untilTold(t, a.pump, "flow", value, func(ev edge.Event) bool {
			return ev.Kind == edge.Sample && strings.HasPrefix(string(ev.Data), `{"value":`+value+`,"unit":"L"`)
		})
	}
	pulses(10)
	total("5")
	a.halt()
	pulses(5)
	a.pump.Forget()
	a.start()
	total("7.5")
	pulses(3)
	total("9")
	if got := a.lines("flow"); strings.Contains(got, "loss") {
		t.Errorf("told %s", got)
	}
}
