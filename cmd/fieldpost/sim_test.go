package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

// simDay has all that is random: contacts that bounce, with and without a debounce,
// sensors with noise, dropouts and the 85 °C of a reset, steps at random times.
const simDay = `fieldpost: scenario
version: 1
for: 24h
seed: 7
start: 2026-06-01T00:00:00Z
bounce: 5ms
sensors: {value: 18, amplitude: 6, noise: 0.2, dropout: 0.05, spikes: 0.05}
devices:
  door: {digital_in: GPIO17, pull: up, debounce: 30ms, states: {on: open, off: closed}, ring: alarms}
  hatch: {digital_in: GPIO23, pull: up}
  pump: {digital_out: GPIO27, max_on: 10m}
  flow: {counter: GPIO22, edge: rising, debounce: 10ms, every: 10s, report: {delta: 1}}
  air: {sim: walk, value: 21, amplitude: 3, noise: 0.2, dropout: 0.05, spike: 85, spikes: 0.05, accept: {min: -40, max: 60}, every: 30s}
  soil: {ds18b20: auto, every: 60s}
steps:
  - {at: 1h, every: 1h, spread: 30m, drive: GPIO17, to: toggle}
  - {at: 1h, every: 1h, spread: 30m, drive: GPIO23, to: toggle}
  - {at: 6h, every: 12h, spread: 10m, command: pump, verb: pulse, value: 5m}
  - {at: 20h, command: pump, verb: pulse, value: 1h}
  - {at: 6h5m, every: 12h, pulses: GPIO22, count: 100, period: 150ms}
  - {at: 15h, clock: 90s}
`

// TestSimSameSeedSameLog: two processes print the same bytes, another seed others.
func TestSimSameSeedSameLog(t *testing.T) {
	s := newSandbox(t, "")
	s.write("day.yaml", simDay)
	one := s.run("sim", "day.yaml").want(t, 0, "24h0m0s in", "seed 7")
	two := s.run("sim", "day.yaml", "-o", "json").want(t, 0, `"seed":7`)
	if one.out != two.out {
		t.Error("the same seed gave two logs")
	}
	if other := s.run("sim", "day.yaml", "--seed", "8").want(t, 0, "seed 8"); other.out == one.out {
		t.Error("another seed gave the same log")
	}
	count, n, bad, spikes := map[string]int{}, uint64(0), 0, 0
	for line := range strings.Lines(one.out) {
		var ev edge.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if n++; ev.N != n {
			t.Fatalf("event %d is in place %d", ev.N, n)
		}
		count[ev.Name]++
		if strings.Contains(line, `"implausible"`) {
			bad++
			if ev.Name == "soil" && strings.Contains(line, `"reading":"85"`) {
				spikes++
			}
		}
	}
	// A debounced door changes as often as it is driven, one that is not more often.
	if count["door"] < 20 || count["door"] > 24 || count["hatch"] <= count["door"]+10 {
		t.Errorf("the door changed %d times, the hatch that bounces %d times", count["door"], count["hatch"])
	}
	if bad < 50 || spikes < 10 {
		t.Errorf("%d implausible readings, %d of them 85 °C of soil", bad, spikes)
	}
	// A day has 1,440 readings of soil; 5 % of them fail, and the device waits after each.
	if count["soil"] > 1440 || count["soil"] < 1200 || count["air"] < 2000 || count["air"] > 2880 {
		t.Errorf("%d readings of soil, %d of air", count["soil"], count["air"])
	}
	if !strings.Contains(one.out, `"count":200`) {
		t.Error("200 pulses behind a debounce are not 200")
	}
	if !strings.Contains(one.out, "over max_on") || strings.Count(one.out, `"why":"pulse"`) != 2 {
		t.Error("a refusal, or the end of a pulse, is missing")
	}
	if strings.Count(one.out, `"name":"ledger"`) < 24 {
		t.Error("there is no ledger each hour")
	}
}

// TestSimOneMore: a device more changes nothing of what another is told to do by chance.
func TestSimOneMore(t *testing.T) {
	s := newSandbox(t, "")
	s.write("day.yaml", simDay)
	s.write("more.yaml", strings.Replace(simDay, "devices:\n", "devices:\n  attic: {ds18b20: 28-0316a2794fff, every: 60s}\n", 1))
	of := func(file string) (all []string) {
		for line := range strings.Lines(s.run("sim", file, "--for", "6h").want(t, 0).out) {
			var ev edge.Event
			if err := json.Unmarshal([]byte(line), &ev); err != nil {
				t.Fatal(err)
			}
			if ev.Name == "soil" || ev.Name == "air" {
				all = append(all, ev.Time.Format(time.RFC3339Nano)+string(ev.Data))
			}
		}
		return all
	}
	if a, b := strings.Join(of("day.yaml"), "\n"), strings.Join(of("more.yaml"), "\n"); a != b || a == "" {
		t.Errorf("with another device:\n%s\nwithout:\n%s", b, a)
	}
}

// TestSimRefuses: a scenario that can't be played is a mistake of its writer.
func TestSimRefuses(t *testing.T) {
	s := newSandbox(t, "")
	for text, word := range map[string]string{
		"": "it is no scenario", "fieldpost: scenario\nversion: 2\n": "version is 2", "fieldpost: config\n": "it is no scenario",
		"fieldpost: scenario\nversion: 1\nstesp: []\n":                                    "stesp",
		"fieldpost: scenario\nversion: 1\ntests: [{name: a}]\n":                           "tests",
		"fieldpost: scenario\nversion: 1\nsteps: [{at: 1s}]\n":                            "step 1",
		"fieldpost: scenario\nversion: 1\nsteps: [{drive: GPIO17, to: up}]\n":             "high, low",
		"fieldpost: scenario\nversion: 1\nsteps: [{drive: GPIO99, to: low}]\n":            "GPIO99",
		"fieldpost: scenario\nversion: 1\nsteps: [{at: 5, drive: GPIO17, to: low}]\n":     "5",
		"fieldpost: scenario\nversion: 1\nbounce: soon\n":                                 "soon",
		"fieldpost: scenario\nversion: 1\ndevices: {a: {digital_in: GPIO17, pul: up}}\n":  "pull",
		"{\"fieldpost\":\"trace\",\"version\":9,\"device\":\"a\",\"driver\":\"sim\"}\n":   "version 9",
		"{\"fieldpost\":\"trace\",\"version\":1,\"device\":\"a\",\"driver\":\"x\"}\n":     "--config",
		"{\"fieldpost\":\"trace\",\"version\":1,\"device\":\"a\",\"driver\":\"x\"}\n{}\n": "line 2",
		lostTrace: "lost 3",
		"fieldpost: scenario\nversion: 1\nfor: 4000d\n":                                                                         "line 3: 4000d is too long",
		"fieldpost: scenario\nversion: 1\nstart: 9999-01-01T00:00:00Z\n":                                                        "its year",
		"fieldpost: scenario\nversion: 1\nsteps:\n  - {drive: GPIO17, to: low}\n  - {every: 1ns, drive: GPIO17, to: low}\n":     "line 5, step 2",
		"fieldpost: scenario\nversion: 1\nsteps: [{pulses: GPIO17, count: 1, period: 1ns}]\n":                                   "period 20µs",
		"fieldpost: scenario\nversion: 1\nbounce: {GPIO45: 5ms}\ndevices: {a: {digital_in: GPIO17}}\n":                          "GPIO45",
		"{\"fieldpost\":\"trace\",\"version\":1,\"device\":\"a\",\"driver\":\"x\",\"mono\":5}\n{\"end\":9223372036854775807}\n": "line 2: its time",
		"{\"fieldpost\":\"trace\",\"version\":1,\"device\":\"a\",\"driver\":\"x\",\"time\":\"9000-01-01T00:00:00Z\"}\n":         "its year",
	} {
		s.write("bad.yaml", text)
		s.run("sim", "bad.yaml").want(t, 2, word)
	}
	s.write("door.ndjson", strings.SplitAfter(lostTrace, "\n")[0])
	s.write("hatch.yaml", "devices: {hatch: {digital_in: GPIO17}}\n")
	s.run("sim", "door.ndjson", "--config", "hatch.yaml").want(t, 2, "replay door", "no such device")
	s.write("typo.yaml", "fieldpost: scenario\nversion: 1\ndevices: {a: {digital_in: GPIO17, pul: up}}\n")
	if said := s.run("sim", "typo.yaml").want(t, 2).err; strings.Contains(said, "/tmp") {
		t.Errorf("it names a file that nobody wrote: %s", said)
	}
	s.write("clock.yaml", "fieldpost: scenario\nversion: 1\ndevices: {a: {digital_in: GPIO17}}\nsteps: [{every: 1m, clock: 3650d}]\n")
	s.run("sim", "clock.yaml").want(t, 1, "set the clock to", "its year")
	s.write("good.yaml", simDay)
	s.run("sim", "good.yaml", "--for", "soon").want(t, 2, "soon")
	s.run("sim", "good.yaml", "--for", "1m", "--store", s.path("kept")).want(t, 0)
	s.run("sim", "good.yaml", "--for", "1m", "--store", s.path("kept")).want(t, 2, "there is a store")
	s.write("fails.yaml", strings.Replace(simDay, "verb: pulse", "verb: sing", 1))
	s.run("sim", "fails.yaml").want(t, 1, "at 6h", "sing")
}

// TestSimReaderGone: a reader that has seen enough ends it, and nothing is left behind.
func TestSimReaderGone(t *testing.T) {
	s := newSandbox(t, "")
	s.write("day.yaml", simDay)
	cmd := s.command("sim", "day.yaml", "--for", "720h")
	cmd.Env = append(cmd.Env, "TMPDIR="+s.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(out, make([]byte, 100))
	_ = out.Close()
	if werr := cmd.Wait(); err != nil || werr != nil {
		t.Errorf("it ends with %v, %v", err, werr)
	}
	if left, err := filepath.Glob(s.path("fieldpost-*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v behind, %v", left, err)
	}
}

// TestSimTouchesNothing: a device of a scenario reaches no host, and the time of the
// bubble does not stand still for it.
func TestSimTouchesNothing(t *testing.T) {
	s := newSandbox(t, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{}, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			asked <- struct{}{}
			_ = c.Close()
		}
	}()
	s.write("net.yaml", fmt.Sprintf("fieldpost: scenario\nversion: 1\nfor: 1h\ndevices:\n  page: {http_get: 'http://%[1]s/'}\n  unit: {modbus: 'tcp://%[1]s', register: holding 1}\n", l.Addr()))
	s.run("sim", "net.yaml").want(t, 0, "1h0m0s in")
	select {
	case <-asked:
		t.Error("it asked a host")
	default:
	}
}

// TestSimSameInstant: what several steps set off at one time comes in the same order each
// time.
func TestSimSameInstant(t *testing.T) {
	s := newSandbox(t, "")
	s.write("ties.yaml", `fieldpost: scenario
version: 1
for: 10m
seed: 7
devices:
  a: {digital_in: GPIO5, debounce: 30ms}
  b: {digital_in: GPIO6, debounce: 30ms}
  c: {digital_in: GPIO12, debounce: 30ms}
steps:
  - {at: 1s, every: 1s, drive: GPIO5, to: toggle}
  - {at: 1s, every: 1s, drive: GPIO6, to: toggle}
  - {at: 1s, every: 1s, drive: GPIO12, to: toggle}
`)
	one, two := s.run("sim", "ties.yaml").want(t, 0), s.run("sim", "ties.yaml").want(t, 0)
	if one.out != two.out || strings.Count(one.out, "\n") < 1500 {
		t.Error("the same seed gave two logs")
	}
}

// TestSimUplinks: the uplinks of a config are not in the twin, so an output that goes by
// them is as it is without any.
func TestSimUplinks(t *testing.T) {
	s := newSandbox(t, "")
	s.write("box.yaml", "uplinks: {cloud: {mqtt: 'mqtt://127.0.0.1:1'}}\ndevices: {pump: {digital_out: GPIO27, offline: {after: 5m, set: off}}}\n")
	s.write("on.yaml", "fieldpost: scenario\nversion: 1\nseed: 1\nsteps: [{at: 1m, command: pump, verb: 'on'}]\n")
	s.run("sim", "on.yaml", "--config", "box.yaml").want(t, 0, "1h0m0s in", `"why":"offline`)
}

// FuzzScenario: no text makes the reader of scenarios panic, and what it takes has
// bounded times.
func FuzzScenario(f *testing.F) {
	f.Add([]byte(simDay))
	f.Add([]byte("fieldpost: scenario\nversion: 1\nbounce: {GPIO17: 5ms}\nsteps: [{clock: -1h, every: 2h, times: 3}, {at: 1s, drive: P1_11, to: free}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sc := &scenario{}
		if sc.decode(text) != nil {
			return
		}
		for _, s := range sc.Steps {
			if time.Duration(s.At) > simMost || s.Every != 0 && time.Duration(s.Every) < simLeast {
				t.Errorf("step %+v", s)
			}
		}
		_, _ = sc.configText()
	})
}

const lostTrace = `{"fieldpost":"trace","version":1,"device":"door","driver":"digital_in","config":{"digital_in":"GPIO17"},"boot":"b","time":"2026-01-01T00:00:00Z","mono":100000000000,"began":1}
{"lost":3}
`

// TestBubble: virtual time passes at once, and what goes wrong in it is an error.
func TestBubble(t *testing.T) {
	began := time.Now()
	var passed time.Duration
	err := inBubble(func() error {
		virtual := time.Now()
		time.Sleep(1000 * time.Hour) // synctest: it takes no time
		passed = time.Since(virtual)
		return errors.New("as it is")
	})
	if err == nil || err.Error() != "as it is" || passed != 1000*time.Hour || time.Since(began) > time.Minute {
		t.Errorf("%v after %v", err, passed)
	}
	if err := inBubble(func() error { panic("no") }); err == nil || !strings.Contains(err.Error(), "panic: no") {
		t.Errorf("a panic: %v", err)
	}
	if err := inBubble(func() error { go func() { <-make(chan struct{}) }(); return nil }); err == nil || !strings.Contains(err.Error(), "blocked goroutines") {
		t.Errorf("a goroutine that was left behind: %v", err)
	}
}
