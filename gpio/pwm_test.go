package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

const (
	pwm4  = "sys/devices/platform/soc/fe20c000.pwm/pwm/pwmchip0" // of a Pi 4
	duty4 = pwm4 + "/pwm0/duty_cycle"
	pi5   = "platform/axi/1000120000.pcie/1f00098000.pwm"
)

// fan runs a pwm on a bench until fn is done.
func fan(t *testing.T, config string, set func(*bench.Bench), fn func(*bench.Bench, *gpio.Source)) *bench.Bench {
	t.Helper()
	var b *bench.Bench
	synctest.Test(t, func(t *testing.T) {
		b = bench.NewBench(t)
		if set != nil {
			set(b)
		}
		s := b.Source(t, spec(t, "pwm", config))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		fn(b, s)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
	return b
}

func commandFan(s *gpio.Source, verb, value string) error {
	cmd := edge.Command{Device: "pump", Verb: verb, From: "client:app"}
	if value != "" {
		cmd.Value = json.RawMessage(value)
	}
	_, err := s.React(cmd, nil)
	return err
}

func TestPWMWritesWhatTheKernelTakes(t *testing.T) {
	b := fan(t, "pump: {pwm: GPIO18, frequency: 25kHz}", nil, func(b *bench.Bench, s *gpio.Source) {
		for _, c := range []struct{ verb, value, want string }{
			{"", "", "export=0 period=40000 duty_cycle=0"},
			{"set", "25", "duty_cycle=10000 enable=1"},
			{"set", "0.5", "duty_cycle=200"},
			{"set", `"40%"`, "duty_cycle=16000"},
			{"on", "", "duty_cycle=40000"},
			{"set", "0", "duty_cycle=0 enable=0"},
			{"set", "true", "duty_cycle=40000 enable=1"},
			{"off", "", "duty_cycle=0 enable=0"},
			{"set", "60", "duty_cycle=24000 enable=1"},
		} {
			if c.verb != "" {
				if err := commandFan(s, c.verb, c.value); err != nil {
					t.Errorf("%s %s: %v", c.verb, c.value, err)
				}
			}
			if got := b.Sysfs.Writes(); got != c.want {
				t.Errorf("%s %s wrote %q, want %q", c.verb, c.value, got, c.want)
			}
		}
		for _, value := range []string{"", "101", "-1", `"1s"`, "null", "[1]", `"NaN"`, `{"a":1}`} {
			if err := commandFan(s, "set", value); !errors.Is(err, edge.ErrBadValue) {
				t.Errorf("set %s: %v", value, err)
			}
		}
		if got := b.Sysfs.Writes(); got != "" {
			t.Errorf("mistakes wrote %q", got)
		}
	})
	if got := b.Sysfs.Writes(); got != "duty_cycle=0 enable=0 unexport=0" {
		t.Errorf("at stop it wrote %q", got)
	}
}

func TestPWMTellsWhatItDid(t *testing.T) {
	fan(t, "pump: {pwm: GPIO18}", nil, func(b *bench.Bench, s *gpio.Source) {
		expect(t, b, "pump", `change {"value":0,"state":"off","unit":"%"}`)
		b.Pump.Forget()
		if err := commandFan(s, "set", "30"); err != nil {
			t.Fatal(err)
		}
		_ = commandFan(s, "set", "30")
		evs := b.Pump.Events("pump")
		if len(evs) != 3 || evs[0].Kind != edge.Acted || evs[0].From != "client:app" || string(evs[1].Data) != `{"value":30,"state":"on","unit":"%"}` || evs[2].Kind != edge.Acted {
			t.Fatalf("it told %s", b.Pump.Lines("pump"))
		}
		if cause, ok := b.Pump.Cause(1); !ok || cause.Kind != edge.Acted {
			t.Errorf("the change was caused by %+v", cause)
		}
		for value, want := range map[string]error{"29": edge.ErrRefused, `"off"`: edge.ErrRefused, "30": nil, `"on"`: nil} {
			_, err := s.React(edge.Command{Device: "pump", Verb: "set", Value: json.RawMessage("30"), If: json.RawMessage(value), From: "rule:r"}, nil)
			if !errors.Is(err, want) {
				t.Errorf("if %s: %v", value, err)
			}
		}
		if d, _ := s.Device("pump"); outcome(d) != "30 %" || d.State != "on" {
			t.Errorf("the status is %+v", d)
		}
	})
}

func TestPWMBootAndStop(t *testing.T) {
	for _, c := range []struct {
		boot, stop           string
		atBoot, after, again string // the duty cycle of 1000000 ns
	}{
		{"off", "off", "0", "", "0"},
		{"on", "off", "1000000", "", "1000000"},
		{"last", "off", "0", "", "700000"},
		{"hold", "off", "0", "", "0"},
		{"off", "hold", "0", "700000", "0"},
		{"last", "last", "0", "700000", "700000"},
		{"hold", "hold", "0", "700000", "700000"},
		{"off", "on", "0", "1000000", "0"},
	} {
		t.Run(c.boot+" "+c.stop, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench.NewBench(t)
				config := "pump: {pwm: GPIO18, boot: " + c.boot + ", stop: " + c.stop + "}"
				at := func(when, want string) {
					t.Helper()
					got, _ := b.Sysfs.Files().Read(b.Root + "/" + duty4)
					on, _ := b.Sysfs.Files().Read(b.Root + "/" + strings.Replace(duty4, "duty_cycle", "enable", 1))
					if got != want || want != "" && (on == "1") != (want != "0") {
						t.Errorf("%s it is %q, enabled %q, want %q", when, got, on, want)
					}
				}
				s := b.Source(t, spec(t, "pwm", config))
				stop := bench.Start(t, s)
				bench.Pass(time.Second)
				at("at boot", c.atBoot)
				if err := commandFan(s, "set", "70"); err != nil {
					t.Fatal(err)
				}
				stop()
				at("after stop", c.after)
				stop = bench.Start(t, b.Source(t, spec(t, "pwm", config)))
				bench.Pass(time.Second)
				at("at the next start", c.again)
				stop()
			})
		})
	}
}

// What a killed agent left running goes on, at another frequency too.
func TestPWMHoldsWhatRuns(t *testing.T) {
	fan(t, "pump: {pwm: GPIO18, boot: hold}", func(b *bench.Bench) {
		for name, text := range map[string]string{"period": "2000000\n", "duty_cycle": "1500000\n", "enable": "1\n"} {
			b.Write(t, pwm4+"/pwm0/"+name, text)
		}
	}, func(b *bench.Bench, s *gpio.Source) {
		d, _ := s.Device("pump")
		if got := b.Sysfs.Writes(); outcome(d) != "75 %" || got != "duty_cycle=0 period=1000000 duty_cycle=750000" {
			t.Errorf("it is %s and wrote %q", outcome(d), got)
		}
	})
}

// The block is found by its device: its number is any, and a fan's own block is another.
func TestPWMFindsItsChannel(t *testing.T) {
	only5 := func(b *bench.Bench) {
		b.Remove(t, "sys/class/pwm")
		b.PlugPWM(t, "platform/axi/1000120000.pcie/1f0009c000.pwm", "pwmchip0", 4)
		b.PlugPWM(t, pi5, "pwmchip6", 4)
	}
	for _, c := range []struct {
		name, pin string
		set       func(*bench.Bench)
		want      string // what is written first, or what is wrong
	}{
		{"Pi 4, 12", "GPIO12", nil, "export=0"},
		{"Pi 4, 13", "P1_33", nil, "export=1"},
		{"Pi 4, 19", "GPIO19", nil, "export=1"},
		{"Pi 5, 18", "GPIO18", only5, "export=2"},
		{"Pi 5, 13", "GPIO13", only5, "export=1"},
		{"Pi 5, 19", "GPIO19", only5, "export=3"},
		{"by device", "1f00098000.pwm/3", only5, "export=3"},
		{"no such device", "fe20c000.pwm/0", only5, "absent: find the PWM of fe20c000.pwm/0 below sys/class/pwm, dtoverlay=pwm"},
		{"no such channel", "fe20c000.pwm/2", nil, "absent: write \"2\" into"},
		{"none", "GPIO18", func(b *bench.Bench) { b.Remove(t, "sys/class/pwm") }, "absent: find the PWM of GPIO18"},
		{"in use", "GPIO18", func(b *bench.Bench) { b.Sysfs.FailAlways(pwm4+"/export", unix.EBUSY) }, "the kernel uses the channel itself"},
		{"read-only", "GPIO18", func(b *bench.Bench) { b.Sysfs.FailAlways(pwm4+"/export", unix.EROFS) }, "the agent's unit needs ReadWritePaths=/sys/devices/platform"},
		{"closed", "GPIO18", func(b *bench.Bench) { b.Sysfs.FailAlways(pwm4+"/export", unix.EACCES) }, "group gpio"},
		{"udev is slow", "GPIO18", func(b *bench.Bench) {
			b.Sysfs.Fail(pwm4+"/pwm0/period", nil, unix.EACCES, unix.EACCES, unix.EACCES)
		}, "export=0 period=1000000"},
		{"not by this board", "GPIO18", func(b *bench.Bench) { b.Sysfs.Fail(pwm4+"/pwm0/period", nil, unix.EINVAL, nil, unix.EINVAL) }, "the board may not make 1000000 ns"},
		{"garbage", "GPIO18", func(b *bench.Bench) { b.Sysfs.Answer(pwm4+"/pwm0/period", "x", "x") }, "period: it has no number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fan(t, "pump: {pwm: "+c.pin+"}", c.set, func(b *bench.Bench, s *gpio.Source) {
				d, _ := s.Device("pump")
				if got := outcome(d) + "\n" + b.Sysfs.Writes(); !strings.Contains(got, c.want) {
					t.Errorf("it is %s, want %s", got, c.want)
				}
			})
		})
	}
}

// Two lines of one channel can't be two devices.
func TestPWMChannelHasOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "pwm", "a: {pwm: GPIO18}"), spec(t, "pwm", "b: {pwm: GPIO12}"))
		defer bench.Start(t, s)()
		bench.Pass(time.Second)
		one, _ := s.Device("a")
		two, _ := s.Device("b")
		if one.Status == "ok" {
			one, two = two, one
		}
		if two.Status != "ok" || !strings.Contains(one.Error, "PWM channel 0 of fe20c000.pwm is used by device "+two.Name) {
			t.Errorf("one is %s, the other %s", outcome(one), outcome(two))
		}
	})
}

// A failed write leaves nobody knowing what the output does: it is set up anew, to what
// was commanded last, and the command is not told as done.
func TestPWMFails(t *testing.T) {
	fan(t, "pump: {pwm: GPIO18, frequency: 25kHz}", nil, func(b *bench.Bench, s *gpio.Source) {
		if err := commandFan(s, "set", "50"); err != nil {
			t.Fatal(err)
		}
		b.Pump.Forget()
		b.Sysfs.Fail(duty4, unix.EIO)
		if err := commandFan(s, "set", "80"); !errors.Is(err, unix.EIO) {
			t.Errorf("set: %v", err)
		}
		if err := commandFan(s, "set", "80"); !errors.Is(err, edge.ErrAbsent) {
			t.Errorf("set at once again: %v", err)
		}
		bench.Pass(3 * time.Second)
		if d, _ := s.Device("pump"); outcome(d) != "50 %" || d.Restarts != 1 {
			t.Errorf("it is %s after %d restarts", outcome(d), d.Restarts)
		}
		if lines := b.Pump.Lines("pump"); strings.Contains(lines, `"done":true`) || strings.Contains(lines, "change") {
			t.Errorf("it told %s", lines)
		}
		b.Remove(t, pwm4+"/pwm0")
		b.Remove(t, "sys/class/pwm/pwmchip0")
		bench.Pass(15 * time.Second)
		if d, _ := s.Device("pump"); d.Status != "absent" {
			t.Errorf("without its chip it is %s", outcome(d))
		}
	})
}

// A write that hangs costs its caller a bounded wait, and so the stop.
func TestPWMHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "pwm", "pump: {pwm: GPIO18}"))
		stop := bench.Start(t, s)
		bench.Pass(time.Second)
		release := b.Sysfs.Hang(duty4)
		began := time.Now()
		err := commandFan(s, "on", "")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		bench.Pass(5 * time.Minute)
		if d, _ := s.Device("pump"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(d.Error, "the bus is held: PWM channel 0 of fe20c000.pwm by device pump") {
			t.Errorf("it is %s", outcome(d))
		}
		release()
		bench.Pass(time.Minute + time.Second)
		if d, _ := s.Device("pump"); outcome(d) != "0 %" {
			t.Errorf("after it, it is %s", outcome(d))
		}
		release = b.Sysfs.Hang(duty4)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
		release()
	})
}

func TestFrequency(t *testing.T) {
	for text, want := range map[string]gpio.Frequency{"50Hz": 50, "25kHz": 25e3, "1.5 kHz": 1500, "1MHz": 1e6, "0Hz": 0} {
		var f gpio.Frequency
		if err := f.UnmarshalText([]byte(text)); err != nil || f != want {
			t.Errorf("%q is %v, %v", text, f, err)
		}
		var again gpio.Frequency
		if err := again.UnmarshalText([]byte(f.String())); err != nil || again != f {
			t.Errorf("%q is %q is %v, %v", text, f, again, err)
		}
	}
	for _, text := range []string{"", "50", "Hz", "-1Hz", "NaNHz", "InfHz", "25 khz", "1e999Hz", "25kHz."} {
		var f gpio.Frequency
		if err := f.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, f)
		}
	}
}
