package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

const expanderExample = "more: {mcp23017: 0x20}"

// command gives a command to a device.
func command(s *gpio.Source, device, verb string) error {
	_, err := s.Command(context.Background(), edge.Command{Device: device, Verb: verb, From: "client:test"})
	return err
}

// statuses fails the test where a device is not as it should be.
func statuses(t *testing.T, s *gpio.Source, want string, devices ...string) {
	t.Helper()
	for _, name := range devices {
		if d, _ := s.Device(name); d.Status != want {
			t.Errorf("%s is %s, want %s: %s", name, d.Status, want, d.Error)
		}
	}
}

// The lines of an expander are lines to whoever names them.
func TestExpanderLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		part := b.Expander
		s := b.Source(t, spec(t, "mcp23017", expanderExample),
			spec(t, "digital_in", "door: {digital_in: more.A0, pull: up, active_low: true, debounce: 50ms}"),
			spec(t, "counter", "flow: {counter: more.B6, every: 10s}"),
			spec(t, "button", "bell: {button: more.A1, pull: up, active_low: true}"),
			spec(t, "digital_out", "pump: {digital_out: more.B3, active_low: true}"),
			spec(t, "digital_in", "gate: {digital_in: GPIO17}"))
		if got := s.Lines(); !slices.Equal(got, []edge.Pin{"GPIO17"}) {
			t.Errorf("lines of the board: %v", got)
		}
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(time.Second)
		statuses(t, s, "ok", "more", "door", "flow", "bell", "pump")
		if part.Peek(0x0c, 2)[0] != 0b11 || !part.Level(11) || !part.Output(11) || part.Output(12) {
			t.Errorf("registers % x", part.Peek(0, 22))
		}

		part.Drive(0, false)
		gpiotest.Pass(time.Second)
		part.Drive(0, true) // for less than the debounce period
		gpiotest.Pass(40 * time.Millisecond)
		part.Drive(0, false)
		gpiotest.Pass(time.Second)
		want := `change {"value":false,"state":"off","stamp":"agent"}
change {"value":true,"state":"on","stamp":"agent"}
`
		if got := b.Pump.Lines("door"); got != want {
			t.Errorf("the door told %s", got)
		}

		for range 5 {
			part.Drive(14, true)
			gpiotest.Pass(30 * time.Millisecond)
			part.Drive(14, false)
			gpiotest.Pass(30 * time.Millisecond)
		}
		part.Drive(1, false)
		gpiotest.Pass(100 * time.Millisecond)
		part.Drive(1, true)
		gpiotest.Pass(10 * time.Second)
		if got := b.Pump.Lines("flow"); !strings.Contains(got, `"count":5}`) {
			t.Errorf("the counter told %s", got)
		}
		if got := b.Pump.Lines("bell"); !strings.Contains(got, "press") {
			t.Errorf("the button told %s", got)
		}

		if err := command(s, "pump", "on"); err != nil || part.Level(11) {
			t.Errorf("on: %v, the line is %v", err, part.Level(11))
		}
		if took := stop(); took > time.Second || !part.Level(11) {
			t.Errorf("after %s the line is %v", took, part.Level(11))
		}
		synctest.Wait()
		if n := b.I2C.Opened(); n != 0 {
			t.Errorf("%d files are open", n)
		}
	})
}

// An output is at its level before it drives the line, and hold takes over what is there.
func TestExpanderOutputsDoNotGlitch(t *testing.T) {
	for _, c := range []struct {
		options string
		before  bool // it is an output and high
		want    bool
	}{
		{"boot: on", false, true}, {"boot: off", false, false}, {"boot: off, active_low: true", false, true},
		{"boot: hold", true, true}, {"boot: hold", false, false}, {"boot: on", true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			part, wrote := b.Expander, b.Expander.Wrote
			if c.before {
				part.Poke(0x14, 0xff)
				part.Poke(0x00, 0xfb)
			}
			var glitch bool
			part.Wrote = func(reg int) {
				wrote(reg)
				if part.Mem[0x00]&4 == 0 && (part.Mem[0x14]&4 != 0) != c.want {
					glitch = true
				}
			}
			s := b.Source(t, spec(t, "mcp23017", expanderExample), spec(t, "digital_out", "pump: {digital_out: more.A2, stop: hold, "+c.options+"}"))
			stop := gpiotest.Start(t, s)
			gpiotest.Pass(5 * time.Second)
			statuses(t, s, "ok", "more", "pump")
			stop()
			if glitch || !part.Output(2) || part.Level(2) != c.want {
				t.Errorf("%s: glitch %v, output %v, level %v", c.options, glitch, part.Output(2), part.Level(2))
			}
		})
	}
}

// A part that lost its power is set up again, with what was commanded last; meanwhile no
// level is told that it does not have.
func TestExpanderComesBack(t *testing.T) {
	for _, c := range []struct {
		name         string
		break_, mend func(*gpiotest.Bench)
		during       string
	}{
		{"power", func(b *gpiotest.Bench) { b.Expander.Reset() }, func(*gpiotest.Bench) {}, ""},
		{"plug", func(b *gpiotest.Bench) { b.I2C.Add(0x20, nil); b.Expander.Reset() },
			func(b *gpiotest.Bench) { b.I2C.Add(0x20, &b.Expander.I2CPart) }, "absent"},
		{"stuck", func(b *gpiotest.Bench) { b.Expander.Set(gpiotest.Fault{Stuck: true}) },
			func(b *gpiotest.Bench) { b.Expander.Set(gpiotest.Fault{}) }, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := gpiotest.NewBench(t)
				s := b.Source(t, spec(t, "mcp23017", expanderExample), spec(t, "digital_out", "pump: {digital_out: more.A2}"),
					spec(t, "digital_in", "door: {digital_in: more.B0, pull: up}"))
				stop := gpiotest.Start(t, s)
				gpiotest.Pass(1500 * time.Millisecond) // so that what follows is between two checks of all registers
				if err := command(s, "pump", "on"); err != nil {
					t.Fatal(err)
				}
				c.break_(b)
				gpiotest.Pass(3 * time.Second)                                    // before the input asks by itself, 10 s after the start
				if d, _ := s.Device("door"); c.during != "" && d.Status == "ok" { // why at first depends on which of the two tries first
					t.Error("the door on a part that is gone is ok")
				}
				gpiotest.Pass(9 * time.Second)
				if c.during != "" {
					statuses(t, s, c.during, "more")
					statuses(t, s, "absent", "door", "pump")
					if err := command(s, "pump", "off"); err == nil {
						t.Error("a command was done")
					}
				}
				c.mend(b)
				gpiotest.Pass(2 * time.Minute)
				statuses(t, s, "ok", "more", "pump", "door")
				if !b.Expander.Level(2) || !b.Expander.Level(8) {
					t.Errorf("registers % x", b.Expander.Peek(0, 22))
				}
				if got := b.Pump.Lines("door"); got != "change {\"value\":true,\"state\":\"on\",\"stamp\":\"agent\"}\n" {
					t.Errorf("the door told %s", got)
				}
				if took := stop(); took > time.Second || b.Expander.Level(2) {
					t.Errorf("after %s the pump's line is %v", took, b.Expander.Level(2))
				}
			})
		})
	}
}

// A part that another program left with its registers in the other order is put right.
func TestExpanderInBanks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		b.Expander.Banks = true
		s := b.Source(t, spec(t, "mcp23017", expanderExample), spec(t, "digital_out", "pump: {digital_out: more.B2, boot: on}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(5 * time.Second)
		statuses(t, s, "ok", "more", "pump")
		if d, _ := s.Device("more"); d.Restarts != 0 || !b.Expander.Level(10) {
			t.Errorf("%+v, registers % x", d, b.Expander.Peek(0, 22))
		}
		stop()
	})
}

// A command on a bus that hangs fails in time, and so does the stop.
func TestExpanderCommandWhileTheBusHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "mcp23017", "more: {mcp23017: 0x20, every: 10s}"), spec(t, "digital_out", "pump: {digital_out: more.A2}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(5 * time.Second)
		b.Expander.Set(gpiotest.Fault{Stuck: true})
		begun := time.Now()
		if _, err := s.React(edge.Command{Device: "pump", Verb: "on"}, nil); err == nil || time.Since(begun) > time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
		b.Expander.Set(gpiotest.Fault{})
		synctest.Wait()
	})
}

// Outputs of one port that are switched at once do not undo each other.
func TestExpanderOutputsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		specs := []gpio.Spec{spec(t, "mcp23017", expanderExample)}
		for n := range 16 {
			specs = append(specs, spec(t, "digital_out", fmt.Sprintf("out%d: {digital_out: more.%c%d}", n, 'A'+n/8, n%8)))
		}
		s := b.Source(t, specs...)
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(5 * time.Second)
		for _, verb := range []string{"on", "off", "on"} {
			var wg sync.WaitGroup
			for n := range 16 {
				wg.Go(func() {
					if err := command(s, fmt.Sprintf("out%d", n), verb); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for n := range 16 {
				if b.Expander.Level(n) != (verb == "on") {
					t.Errorf("%s: line %d is %v", verb, n, b.Expander.Level(n))
				}
			}
		}
		stop()
		if latch := b.Expander.Peek(0x14, 2); latch[0] != 0 || latch[1] != 0 {
			t.Errorf("after the stop the latches are % x", latch)
		}
	})
}

// What can't be is refused: where it is known before anything runs, there.
func TestExpanderRefuses(t *testing.T) {
	for _, c := range []struct{ pin, says string }{
		{"more.C0", "make device x: there is no line more.C0: it is like more.A0 or more.B7"},
		{"more.a0", "there is no line more.a0"},
		{"more.A8", "there is no line more.A8"},
		{"more", "there is no line more: it is like more.A0 or more.B7"},
		{"more.", "there is no line more."},
	} {
		b := gpiotest.NewBench(t)
		_, err := gpio.NewSource(gpio.SourceOptions{Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
			Specs: []gpio.Spec{spec(t, "digital_in", "x: {digital_in: "+c.pin+"}"), spec(t, "mcp23017", expanderExample)}})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.pin, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "mcp23017", expanderExample),
			spec(t, "digital_in", "low: {digital_in: more.A0, pull: down}"),
			spec(t, "digital_in", "lost: {digital_in: nobody.A0}"), spec(t, "digital_in", "door: {digital_in: door.A0}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(30 * time.Second)
		for name, says := range map[string]string{
			"low":  "request line more.A0: an MCP23017 has no pull-down",
			"lost": "find line nobody.A0", "door": "find line door.A0",
		} {
			if d, _ := s.Device(name); !strings.Contains(d.Error, says) {
				t.Errorf("%+v", d)
			}
		}
		if err := command(s, "low", "on"); !errors.Is(err, edge.ErrBadValue) {
			t.Error(err)
		}
		stop()
	})
}

// Two devices for one part would undo each other's work: one of them gets it.
func TestExpanderTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "mcp23017", expanderExample), spec(t, "mcp23017", "twin: {mcp23017: 0x20}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(30 * time.Second)
		more, _ := s.Device("more")
		twin, _ := s.Device("twin")
		if (more.Status == "ok") == (twin.Status == "ok") || !strings.Contains(more.Error+twin.Error, "use 0x20 on I2C I2C1: device ") {
			t.Errorf("%+v\n%+v", more, twin)
		}
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}
