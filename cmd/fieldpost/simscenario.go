package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// maxScenario is the most bytes of a scenario, maxTrace those of a trace.
const (
	maxScenario = 1 << 20
	maxTrace    = 256 << 20
)

// The times of a scenario: the longest, the shortest from one to the next of what happens
// again, and the years that its wall clock may say.
const (
	simMost  = 10 * 366 * 24 * time.Hour
	simLeast = 10 * time.Microsecond
	simYears = "1970 to 2199"
)

// simYear reports whether the wall clock may say so.
func simYear(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() < 2200 }

// simQueued is how many trains of pulses there may be at a time, with all that is planned.
const simQueued = 100_000

// scenario is a file that sim plays. Times in it count from its start, when the
// devices have just begun.
type scenario struct {
	Format  string         `yaml:"fieldpost"` // "scenario"
	Version int            `yaml:"version"`   // 1
	For     simTime        `yaml:"for"`
	Start   time.Time      `yaml:"start"` // the wall time at 0s
	Seed    *uint64        `yaml:"seed"`
	Config  string         `yaml:"config"`  // a config file, from this one's folder
	Devices map[string]any `yaml:"devices"` // or devices, as in a config
	Store   map[string]any `yaml:"store"`   // and the store, as in a config
	Bounce  simBounce      `yaml:"bounce"`  // how long contacts jump: 5ms, or {GPIO17: 5ms}
	Sensors *simSensors    `yaml:"sensors"` // how the simulated sensors behave
	Traces  []string       `yaml:"traces"`  // what record wrote, from this one's folder
	Steps   []simStep      `yaml:"steps"`
	Tests   any            `yaml:"tests"` // of DESIGN.md section 4: not played yet

	dir    string
	traces []*gpio.Trace
}

// simStep is something that happens: one of drive, pulses, command and clock.
type simStep struct {
	At     simTime `yaml:"at"`
	Every  simTime `yaml:"every"`  // again and again; 0: once
	Times  int     `yaml:"times"`  // at most so often; 0: to the end
	Spread simTime `yaml:"spread"` // later by up to this, at random

	Drive edge.Pin `yaml:"drive"`
	To    string   `yaml:"to"` // high, low, toggle, or free: the pull decides

	Pulses edge.Pin `yaml:"pulses"` // of a flow meter: high and low again
	Count  int      `yaml:"count"`
	Period simTime  `yaml:"period"` // from one to the next

	Command string `yaml:"command"` // a device
	Verb    string `yaml:"verb"`
	Value   any    `yaml:"value"`

	Clock simTime `yaml:"clock"` // the wall clock is set forward, or back, by this

	line int // of the file
}

// simSensors are gpio.SimSensor, as a scenario has them.
type simSensors struct {
	Value     float64 `yaml:"value"`
	Amplitude float64 `yaml:"amplitude"`
	Period    simTime `yaml:"period"`
	Noise     float64 `yaml:"noise"`
	Dropout   float64 `yaml:"dropout"`
	Spikes    float64 `yaml:"spikes"`
}

// simTime is a time with its unit; a negative one has a minus in front.
type simTime time.Duration

// UnmarshalYAML reads a time.
func (t *simTime) UnmarshalYAML(n *yaml.Node) error {
	text, minus := strings.CutPrefix(n.Value, "-")
	var d edge.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	if d.D() > simMost {
		return fmt.Errorf("line %d: %s is too long: %s at most", n.Line, n.Value, spanText(simMost))
	}
	if *t = simTime(d); minus {
		*t = -*t
	}
	return nil
}

// simBounce is a time for each line, "" for all.
type simBounce map[edge.Pin]time.Duration

// UnmarshalYAML reads a time, or one a line.
func (b *simBounce) UnmarshalYAML(n *yaml.Node) error {
	*b = simBounce{}
	var all simTime
	if n.Kind == yaml.ScalarNode {
		err := n.Decode(&all)
		(*b)[""] = time.Duration(all)
		return err
	}
	var lines map[string]simTime
	if err := n.Decode(&lines); err != nil {
		return err
	}
	for name, d := range lines {
		var pin edge.Pin
		if err := pin.UnmarshalText([]byte(name)); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		(*b)[pin] = time.Duration(d)
	}
	return nil
}

// readScenario reads a scenario, or a trace alone, which is a scenario that replays it.
func readScenario(path string) (*scenario, error) {
	sc := &scenario{dir: filepath.Dir(path)}
	head, err := readSome(path, 256)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(head), []byte(`{"fieldpost":"trace"`)) {
		sc.Traces = []string{filepath.Base(path)}
		return sc, sc.readTraces()
	}
	text, err := readSome(path, maxScenario+1)
	if err != nil {
		return nil, err
	}
	if len(text) > maxScenario {
		return nil, fmt.Errorf("read scenario %s: it is over %d bytes", path, maxScenario)
	}
	if err := sc.decode(text); err != nil {
		return nil, fmt.Errorf("read scenario %s: %w", path, err)
	}
	return sc, sc.readTraces()
}

// decode reads the text of a scenario, and refuses what can't be played.
func (sc *scenario) decode(text []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(sc); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var at struct {
		Steps []yaml.Node `yaml:"steps"`
	}
	if yaml.Unmarshal(text, &at) == nil { // for the lines alone
		for i := range min(len(at.Steps), len(sc.Steps)) {
			sc.Steps[i].line = at.Steps[i].Line
		}
	}
	return sc.check()
}

// readSome reads at most the first so many bytes of a file.
func readSome(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// readTraces reads the traces. They must be of one boot: their times are of one clock.
func (sc *scenario) readTraces() error {
	for _, name := range sc.Traces {
		if !filepath.IsAbs(name) {
			name = filepath.Join(sc.dir, name)
		}
		tr, err := readTrace(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if at := tr.Head.Time; !at.IsZero() && !simYear(at) {
			return fmt.Errorf("read %s: its time is %s: its year is one of %s", name, at.Format(time.RFC3339), simYears)
		}
		if len(sc.traces) > 0 && sc.traces[0].Head.Boot != tr.Head.Boot {
			return fmt.Errorf("read %s: it is of another boot than %s: their clocks have nothing in common", name, sc.Traces[0])
		}
		sc.traces = append(sc.traces, tr)
	}
	return nil
}

func readTrace(name string) (*gpio.Trace, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return gpio.ReadTrace(io.LimitReader(f, maxTrace))
}

// check refuses what can't be played.
func (sc *scenario) check() error {
	switch {
	case sc.Format != "scenario":
		return errors.New("it is no scenario: that says so at its key fieldpost")
	case sc.Version != 1:
		return fmt.Errorf("version is %d: this program knows 1", sc.Version)
	case sc.Tests != nil:
		return errors.New("tests: this version plays a scenario and does not judge it; take them out")
	case !sc.Start.IsZero() && !simYear(sc.Start):
		return fmt.Errorf("start is %s: its year is one of %s", sc.Start.Format(time.RFC3339), simYears)
	case sc.Config != "" && sc.Devices != nil:
		return errors.New("it has both a config and devices: one says what there is")
	}
	for i := range sc.Steps {
		if err := sc.Steps[i].check(); err != nil {
			return fmt.Errorf("line %d, step %d: %w", sc.Steps[i].line, i+1, err)
		}
	}
	return nil
}

func (s *simStep) check() error {
	acts := 0
	for _, is := range []bool{s.Drive != "", s.Pulses != "", s.Command != "", s.Clock != 0} {
		if is {
			acts++
		}
	}
	switch {
	case acts != 1:
		return errors.New("it is one of drive, pulses, command and clock")
	case s.At < 0 || s.Every < 0 || s.Spread < 0 || s.Times < 0:
		return errors.New("at, every, times and spread can't be negative")
	case s.Every > 0 && s.Spread > s.Every:
		return errors.New("spread is longer than every")
	case s.Every > 0 && time.Duration(s.Every) < simLeast, s.Pulses != "" && time.Duration(s.Period) < 2*simLeast && s.Period > 0:
		return fmt.Errorf("every is %s at least, and period %s", simLeast, 2*simLeast)
	case s.Times > 0 && s.Every == 0:
		return errors.New("times needs every")
	case s.Drive != "" && s.To != "high" && s.To != "low" && s.To != "toggle" && s.To != "free":
		return fmt.Errorf("to is %q: it is high, low, toggle or free", s.To)
	case s.Pulses != "" && (s.Count < 1 || s.Count > 999_999_999 || s.Period <= 0):
		return errors.New("pulses need a count, below a billion, and a period")
	case s.Command != "" && s.Verb == "":
		return errors.New("a command needs a verb")
	}
	for _, pin := range []*edge.Pin{&s.Drive, &s.Pulses} {
		if *pin == "" {
			continue
		}
		if err := pin.UnmarshalText([]byte(*pin)); err != nil {
			return err
		}
	}
	return nil
}

// configText is a config with the scenario's own devices, or those of its traces; ""
// where it has none.
func (sc *scenario) configText() (string, error) {
	devices, id := sc.Devices, "twin"
	if devices == nil {
		devices = map[string]any{}
		for _, tr := range sc.traces {
			var entry map[string]any
			if tr.Head.Config == nil || json.Unmarshal(tr.Head.Config, &entry) != nil {
				return "", fmt.Errorf("the trace of %s has no config of it: give --config", tr.Head.Device)
			}
			devices[tr.Head.Device], id = entry, tr.Head.Agent
		}
	}
	if len(devices) == 0 {
		return "", nil
	}
	all := map[string]any{"agent": map[string]any{"id": id}, "devices": devices}
	if sc.Store != nil {
		all["store"] = sc.Store
	}
	b, err := yaml.Marshal(all)
	return string(b), err
}
