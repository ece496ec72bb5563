package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
	"fieldpost/localapi"
)

// TestSignalOf: the most important state wins, and no two look the same.
func TestSignalOf(t *testing.T) {
	well := localapi.Condition{Claimed: true}
	all := localapi.Condition{Degraded: true, Backlog: true, Open: true}
	for _, c := range []struct {
		condition localapi.Condition
		press     gpio.Hold
		want      string
	}{
		{well, gpio.Hold{}, "calm"},
		{localapi.Condition{Claimed: true, Backlog: true}, gpio.Hold{}, "backlog"},
		{localapi.Condition{}, gpio.Hold{}, "unclaimed"},
		{localapi.Condition{Backlog: true}, gpio.Hold{}, "unclaimed"},
		{localapi.Condition{Claimed: true, Degraded: true, Backlog: true}, gpio.Hold{}, "degraded"},
		{localapi.Condition{Degraded: true}, gpio.Hold{}, "degraded"},
		{all, gpio.Hold{}, "open"},
		{all, gpio.Hold{Down: true}, "pressed"},
		{all, gpio.Hold{Down: true, Step: 1}, "claim"},
		{all, gpio.Hold{Down: true, Step: 2}, "reset"},
		{well, gpio.Hold{Down: true, Step: 2, Stuck: true}, "calm"},
		{well, gpio.Hold{Step: 2, For: time.Minute}, "calm"},
	} {
		if got := signalOf(mood{c.condition, c.press}); got.name != c.want {
			t.Errorf("%+v: got %s", c, got.name)
		}
	}
	doc, err := os.ReadFile("../../localapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	looks := map[string]string{}
	for _, s := range signals {
		look := fmt.Sprint(s.beats, s.lit)
		if other, ok := looks[look]; ok || len(s.beats)%2 != 0 {
			t.Errorf("%s looks as %q does, or its beats are odd", s.name, other)
		}
		looks[look] = s.name
		if _, names, ok := strings.Cut(string(doc), "led: {type: string, enum: ["); !ok || !strings.Contains(" "+strings.Split(names, "]")[0]+",", " "+s.name+",") {
			t.Errorf("openapi.yaml has no %s", s.name)
		}
	}
}

// lightBench is an agent's light on a bench, in virtual time.
type lightBench struct {
	*testing.T
	bench *gpiotest.Bench
	front *front
	note  string
	stop  func()

	mu        sync.Mutex
	condition localapi.Condition
	hang      chan struct{} // not nil: an answer waits for it
}

func (b *lightBench) ask() localapi.Condition {
	b.mu.Lock()
	c, hang := b.condition, b.hang
	b.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return c
}

func (b *lightBench) set(c localapi.Condition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.condition = c
}

// run starts a light; stop ends it in good order.
func (b *lightBench) run(led gpio.LEDOptions) {
	led.Note, led.Boot = b.note, "boot-1"
	a := &agent{log: slog.New(slog.DiscardHandler), source: b.bench.Source(b.T)}
	b.front = &front{a: a, trouble: map[string]string{}, light: newLight(a.source.LED(led), b.ask)}
	s := newStage("the light", make(chan error, 1))
	b.front.start(s)
	b.stop = func() {
		if err := s.end(time.Hour); err != nil {
			b.Error(err)
		}
	}
	synctest.Wait()
}

func newLightBench(t *testing.T) *lightBench {
	return &lightBench{T: t, bench: gpiotest.NewBench(t), note: filepath.Join(t.TempDir(), "led"), condition: localapi.Condition{Claimed: true}}
}

// lengths are how long a line was lit, dark, lit and so on, in ms, of its trace since from.
func lengths(trace []gpio.SimChange, from int) (all []int) {
	for i := from; i+1 < len(trace); i++ {
		all = append(all, int(time.Duration(trace[i+1].Mono-trace[i].Mono)/time.Millisecond))
	}
	return all
}

// TestLightBlinks: what is seen on a pin, by the pin's own trace.
func TestLightBlinks(t *testing.T) {
	for _, c := range []struct {
		condition localapi.Condition
		press     gpio.Hold
		want      []int
	}{
		{localapi.Condition{Claimed: true}, gpio.Hold{}, []int{100, 3900, 100, 3900}},
		{localapi.Condition{Claimed: true, Backlog: true}, gpio.Hold{}, []int{1000, 1000, 1000, 1000}},
		{localapi.Condition{}, gpio.Hold{}, []int{100, 150, 100, 1650, 100, 150}},
		{localapi.Condition{Degraded: true}, gpio.Hold{}, []int{250, 250, 250}},
		{localapi.Condition{Open: true}, gpio.Hold{}, []int{900, 100, 900, 100}},
		{localapi.Condition{}, gpio.Hold{Down: true, Step: 2}, []int{60, 60, 60}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newLightBench(t)
			b.set(c.condition)
			b.run(gpio.LEDOptions{Pin: "GPIO21"})
			b.front.light.press(c.press)
			gpiotest.Pass(3 * time.Second) // whatever it was before is over
			from := len(b.bench.Board.Trace("GPIO21"))
			gpiotest.Pass(30 * time.Second)
			got := lengths(b.bench.Board.Trace("GPIO21"), from)
			for len(got) > 0 && got[0] != c.want[0] {
				got = got[1:] // begin where the pattern does
			}
			if len(got) < len(c.want) || fmt.Sprint(got[:len(c.want)]) != fmt.Sprint(c.want) {
				t.Errorf("%+v: got %v, want %v", c.condition, got, c.want)
			}
			b.stop()
			if level, _ := b.bench.Board.Level("GPIO21"); level {
				t.Error("it is lit after the stop")
			}
		})
	}
}

// The light follows what it is told at once, stands still where it is to, and shows an
// agent that gives no answer.
func TestLightFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLightBench(t)
		b.run(gpio.LEDOptions{Pin: "GPIO21"})
		lit := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			if level, _ := b.bench.Board.Level("GPIO21"); level != want {
				t.Errorf("%s: lit is %v", when, level)
			}
		}
		gpiotest.Pass(1500 * time.Millisecond)
		lit(false, "calm")
		b.front.light.press(gpio.Hold{Down: true, Step: 1})
		lit(true, "held for a claim")
		gpiotest.Pass(11 * time.Second)
		lit(true, "held on")
		if got := b.front.shows(); got != "claim" {
			t.Errorf("it shows %s", got)
		}
		b.front.light.press(gpio.Hold{Down: true})
		lit(false, "pressed")
		b.front.light.press(gpio.Hold{})
		lit(true, "calm begins with its flash")
		b.set(localapi.Condition{Claimed: true, Backlog: true})
		gpiotest.Pass(askMood)
		if got := b.front.shows(); got != "backlog" {
			t.Errorf("it shows %s", got)
		}
		hang := make(chan struct{})
		b.mu.Lock()
		b.hang = hang
		b.mu.Unlock()
		gpiotest.Pass(oldMood - askMood - time.Second)
		if got := b.front.shows(); got != "backlog" {
			t.Errorf("it shows %s", got)
		}
		gpiotest.Pass(askMood + 2*time.Second)
		if got := b.front.shows(); got != "degraded" {
			t.Errorf("nobody answers and it shows %s", got)
		}
		close(hang)
		b.stop()
	})
}

// TestLightOfTheKernel: an LED's trigger goes and comes back, also after a run that died;
// what fails is told once, tried again, and harms nobody.
func TestLightOfTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trigger, brightness = "sys/class/leds/ACT/trigger", "sys/class/leds/ACT/brightness"
		b := newLightBench(t)
		b.bench.PlugLED(t, "ACT", "mmc0")
		is := func(want string) {
			t.Helper()
			raw, _ := os.ReadFile(filepath.Join(b.bench.Root, trigger))
			if !strings.Contains(string(raw), "["+want+"]") {
				t.Errorf("the trigger is %s, want %s", raw, want)
			}
		}
		act := gpio.LEDOptions{Name: "ACT"}
		b.run(act)
		is("none")
		gpiotest.Pass(8 * time.Second)
		if got := b.bench.Sysfs.Writes(); strings.Count(got, "brightness=255") != 3 || strings.Contains(strings.TrimPrefix(got, "trigger=none"), "trigger") {
			t.Errorf("it wrote %s", got)
		}
		b.stop()
		is("mmc0")

		b.run(act)
		b.bench.Sysfs.FailAlways(trigger, errors.New("the process is dead"))
		b.stop()
		b.bench.Sysfs.FailAlways(trigger, nil)
		is("none")
		b.run(act)
		if got := b.front.problems(); len(got) != 0 {
			t.Errorf("problems %q", got)
		}
		b.bench.Sysfs.FailAlways(brightness, errors.New("input/output error"))
		gpiotest.Pass(4 * time.Second)
		if got := fmt.Sprint(b.front.problems()); !strings.HasPrefix(got, "[The agent's light can't be used: ") || !strings.Contains(got, "input/output error") {
			t.Errorf("problems %s", got)
		}
		calls := b.bench.Sysfs.Calls(brightness)
		gpiotest.Pass(10 * time.Minute)
		if n := b.bench.Sysfs.Calls(brightness) - calls; n > 60 {
			t.Errorf("a broken LED was written %d times in 10 minutes", n)
		}
		b.bench.Sysfs.FailAlways(brightness, nil)
		gpiotest.Pass(2 * time.Minute)
		if got := b.front.problems(); len(got) != 0 {
			t.Errorf("it works and the problems are %q", got)
		}
		b.stop()
		is("mmc0")
	})
}
