package gpio_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// pwmWire is a PWM channel as the kernel has it, and each duty cycle that was on its line.
type pwmWire struct {
	w                    *world
	period, duty, enable int64
	fails                int // writes that will fail
	levels               []float64
}

func (c *pwmWire) level() float64 {
	if c.enable == 0 || c.period == 0 {
		return 0
	}
	return math.Round(1e4*float64(c.duty)/float64(c.period)) / 100
}

// files are the channel's for one process.
func (c *pwmWire) files(p *process) gpio.Files {
	file := func(name string) *int64 {
		return map[string]*int64{"period": &c.period, "duty_cycle": &c.duty, "enable": &c.enable}[filepath.Base(name)]
	}
	return gpio.Files{
		Read: func(name string) (text string, err error) {
			err = syscall.EBADF
			p.op(func() { text, err = strconv.FormatInt(*file(name), 10), nil })
			return text, err
		},
		Write: func(name, text string) (err error) {
			err = syscall.EBADF
			p.op(func() { err = c.write(file(name), text) })
			return err
		},
	}
}

func (c *pwmWire) write(f *int64, text string) error {
	if c.fails > 0 {
		c.fails--
		return unix.EIO
	}
	was, old := c.level(), *f
	n, err := strconv.ParseInt(text, 10, 64)
	if *f = n; err != nil || c.duty > c.period || c.enable == 1 && c.period == 0 {
		*f = old
		c.w.fault("the kernel refuses %s", text)
		return unix.EINVAL
	}
	if c.level() != was {
		c.w.say("duty cycle %v %%", c.level())
		c.levels = append(c.levels, c.level())
	}
	return nil
}

// TestPWMStreams does with a pwm what TestOutputStreams does with outputs: a duty cycle
// that nobody asked for is never on its line, and none twice.
func TestPWMStreams(t *testing.T) {
	root := t.TempDir()
	chip := filepath.Join(root, "sys/class/pwm/pwmchip0")
	for _, dir := range []string{filepath.Join(chip, "pwm0"), filepath.Join(root, "dev/fe20c000.pwm")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, "dev/fe20c000.pwm"), filepath.Join(chip, "device")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(chip, "pwm0/period"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for seed := uint64(1); seed <= 500; seed++ {
		if *streamSeed != 0 {
			seed = *streamSeed
		}
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { pwmStream(t, seed, root) })
		})
		if !ok || *streamSeed != 0 {
			return
		}
	}
}

// pwmScript is one stream.
type pwmScript struct {
	*stream
	c          *pwmWire
	boot, stop string
	told, want float64 // what the last event said, and what was commanded last
}

func pwmStream(t *testing.T, seed uint64, root string) {
	s := &pwmScript{stream: &stream{Rand: rand.New(rand.NewPCG(seed, 1)), w: newWorld(t, seed)}, told: math.NaN()}
	s.c = &pwmWire{w: s.w}
	s.w.root, s.w.files = root, s.c.files
	rests := []string{"off", "on", "hold", "last"}
	s.boot, s.stop = rests[s.IntN(4)], rests[s.IntN(4)]
	s.w.more = []gpio.Spec{spec(t, "pwm", "fan: {pwm: GPIO18, frequency: 1kHz, boot: "+s.boot+", stop: "+s.stop+"}")}
	s.w.tells = func(ev *edge.Event) {
		var data struct{ Value *float64 }
		if _ = json.Unmarshal(ev.Data, &data); ev.Kind == edge.Change && data.Value != nil {
			s.told = *data.Value
		}
	}
	s.begin()
	for range 30 {
		s.step(t)
	}
	s.w.proc.stops()
	if len(s.w.faults) > 0 {
		t.Errorf("seed %d, boot %s, stop %s\n%s", seed, s.boot, s.stop, strings.Join(s.w.script, "\n"))
	}
}

// expect holds what was on the line since, and where it is.
func (s *pwmScript) expect(what string, levels ...float64) {
	synctest.Wait()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if fmt.Sprint(s.c.levels) != fmt.Sprint(levels) && len(s.c.levels)+len(levels) > 0 {
		s.w.fault("%s: duty cycles %v, want %v", what, s.c.levels, levels)
	}
	if s.told != s.c.level() {
		s.w.fault("%s: %v is told, and it is %v", what, s.told, s.c.level())
	}
	s.c.levels = nil
}

// to is what the line sees on the way to a level.
func (s *pwmScript) to(level float64) []float64 {
	if level == s.c.level() {
		return nil
	}
	return []float64{level}
}

// begin starts a process.
func (s *pwmScript) begin() {
	s.want = map[string]float64{"off": 0, "on": 100, "hold": s.c.level(), "last": s.want}[s.boot]
	levels := s.to(s.want)
	s.w.say("start")
	s.w.start("", 0, false)
	s.expect("start", levels...)
}

// step does one thing.
func (s *pwmScript) step(t *testing.T) {
	switch s.IntN(8) {
	case 0:
		levels := s.to(map[string]float64{"off": 0, "on": 100, "hold": s.c.level(), "last": s.c.level()}[s.stop])
		s.w.say("stop")
		s.w.proc.ending = true
		s.w.proc.stops()
		s.expect("stop", levels...)
		s.begin()
	case 1:
		s.w.mu.Lock()
		s.w.proc.die()
		s.w.mu.Unlock()
		s.w.proc.stops()
		s.expect("kill")
		s.begin()
	case 2:
		pass(time.Duration(s.IntN(30)) * time.Second)
		s.expect("pass")
	case 3: // it is set up anew, as it was commanded last
		s.w.say("a write fails")
		s.c.fails = 1
		res, err := s.w.proc.source.Command(t.Context(), edge.Command{Device: "fan", Verb: "set", Value: json.RawMessage("33"), From: "client:app"})
		if res.Done || err == nil || !strings.Contains(res.Why, unix.EIO.Error()) {
			s.w.fault("a write failed: %+v, %v", res, err)
		}
		pass(2 * time.Minute)
		s.expect("a write failed")
	default:
		s.command(t)
	}
}

// command gives a random command.
func (s *pwmScript) command(t *testing.T) {
	cmd := edge.Command{Device: "fan", Verb: one(s.stream, "on", "off", "set", "set", "set"), From: "client:app"}
	level := map[string]float64{"on": 100}[cmd.Verb]
	bad := false
	if cmd.Verb == "set" {
		level = float64(s.IntN(101))
		cmd.Value = json.RawMessage(fmt.Sprint(level))
		if bad = s.chance(6); bad {
			cmd.Value = json.RawMessage(one(s.stream, "101", "-1", `"x"`, "null", "1e999"))
		}
	}
	if s.chance(5) {
		cmd.If = json.RawMessage(one(s.stream, "0", "100"))
		bad = bad || string(cmd.If) != fmt.Sprint(s.c.level())
	}
	levels := s.to(level)
	if bad {
		levels = nil
	}
	s.w.say("%s %s if %s", cmd.Verb, cmd.Value, cmd.If)
	res, err := s.w.proc.source.Command(t.Context(), cmd)
	if res.Done == bad || (err != nil) != bad || bad && res.Why == "" {
		s.w.fault("%+v, %v", res, err)
	}
	if !bad {
		s.want = level
	}
	s.expect("command", levels...)
}
