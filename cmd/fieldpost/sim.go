package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/edge/agent"
	"fieldpost/edge/config"
	"fieldpost/gpio"
)

// A scenario begins this long after its devices did, at this time of its board, and
// lasts that long where nobody says.
const (
	simLead = time.Second
	simMono = int64(100 * time.Second)
	simLast = time.Hour
)

// simNowhere is where the config says that a twin's store is.
const simNowhere = "/nonexistent/fieldpost-sim"

// simOptions are the flags of sim.
type simOptions struct {
	file, config, store, last string
	seed                      uint64
	seeded                    bool
	verbose                   bool
	out                       format
}

// simulated is what sim did, as its summary tells it.
type simulated struct {
	Seed    uint64  `json:"seed"`
	Events  uint64  `json:"events"`
	Seconds float64 `json:"seconds"` // of virtual time
	Took    float64 `json:"took"`    // of real time
	Store   string  `json:"store,omitempty"`
}

func simVerb(a *app) *cobra.Command {
	var opt simOptions
	cmd := &cobra.Command{
		Use:   "sim SCENARIO",
		Short: "Plays a scenario, or what record wrote, on the agent's twin in virtual time",
		Long: `Runs the agent's own devices, store and clock on a simulated board, in virtual time:
a month takes seconds. SCENARIO is a YAML file, or a trace that "fieldpost record"
wrote: its edges then come with the kernel's own times. No network is used. The
events go to the standard output, a line each, and a summary to the standard error.
The same scenario and the same seed give the same output, byte by byte.`,
		Example: `  fieldpost sim month.yaml --seed 7 --for 720h > month.ndjson
  fieldpost record door --for 1m -f door.ndjson && fieldpost sim door.ndjson`,
		Args: takes(1, 1, "the scenario"),
	}
	f := cmd.Flags()
	f.StringVarP(&opt.config, "config", "c", "", "the config `file`, over what the scenario says")
	f.Uint64Var(&opt.seed, "seed", 0, "what all that is random is made of, over the scenario's; without either it is printed")
	f.StringVar(&opt.last, "for", "", "how much virtual `time` to play, over the scenario's")
	f.StringVar(&opt.store, "store", "", "keep the store in this `folder`, which has none yet")
	f.BoolVarP(&opt.verbose, "verbose", "v", false, "show the agent's log")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opt.file, opt.out, opt.seeded = args[0], *out, cmd.Flags().Changed("seed")
		return a.sim(cmd.Context(), opt)
	}
	return cmd
}

// sim reads the scenario, plays it and tells how it went.
func (a *app) sim(ctx context.Context, opt simOptions) error {
	sc, err := readScenario(opt.file)
	if err != nil {
		return withCode(exitUsage, err)
	}
	last, err := sc.lasts(opt.last)
	if err != nil {
		return err
	}
	dir, done, err := simFolder(opt.store)
	if err != nil {
		return err
	}
	defer done()
	cfg, err := a.simConfig(sc, opt.config)
	if err != nil {
		return err
	}
	cfg.DataDir = dir
	if !opt.seeded {
		opt.seed = rand.Uint64()
		if sc.Seed != nil {
			opt.seed = *sc.Seed
		}
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	// A reader that has seen enough, such as head, ends it, and its folders go too.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	began := time.Now()
	// What a goroutine did before another of the same instant is then the same each time.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	sum := simulated{Seed: opt.seed, Seconds: last.Seconds(), Store: opt.store}
	err = inBubble(func() error { return a.simulate(ctx, sc, cfg, opt, last, &sum.Events) })
	sum.Took = time.Since(began).Seconds()
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil
	case err != nil:
		return agentError(err)
	}
	if opt.out == asJSON {
		return json.NewEncoder(a.Err).Encode(sum)
	}
	_, err = fmt.Fprintf(a.Err, "fieldpost: %s in %.1f s, %d events, seed %d\n", spanText(last), sum.Took, sum.Events, opt.seed)
	return err
}

// spanText is a virtual time, in days where it has some.
func spanText(d time.Duration) string {
	if day := 24 * time.Hour; d >= 2*day {
		return fmt.Sprintf("%.4g days", d.Hours()/24)
	}
	return d.String()
}

// simulate runs the twin, in the bubble.
func (a *app) simulate(ctx context.Context, sc *scenario, cfg *config.Config, opt simOptions, last time.Duration, events *uint64) error {
	wall, mono, boot := sc.begins(opt.seed)
	board := agent.NewTwinBoard(boot, wall.Add(-simLead), mono-int64(simLead))
	w := &simWorld{sc: sc, seed: opt.seed, board: board, out: bufio.NewWriterSize(a.Out, 64<<10), began: time.Now().Add(simLead), ended: func() bool { return ctx.Err() != nil }}
	t := agent.TwinOptions{Config: cfg, Version: thisBuild().Version, Board: board, Seed: opt.seed, Sensor: sc.sensor(), Traces: sc.traces}
	if opt.verbose {
		t.Log = a.logger(true)
	}
	t.World = func(_ context.Context, twin *agent.Twin) error {
		w.twin = twin
		for pin, d := range sc.Bounce {
			if _, err := twin.Pins.Level(pin); pin != "" && err != nil {
				return &agent.ConfigError{Err: fmt.Errorf("bounce: %w", err)}
			}
			twin.Pins.Bounce(pin, d)
		}
		w.plan(mono)
		return w.run(last)
	}
	t.Last = func(*agent.Twin) error { return w.print() }
	err := agent.RunTwin(context.Background(), t)
	*events = w.events
	return err
}

// begins is the board's time at 0s, and its boot: those of the traces, where there are any.
func (sc *scenario) begins(seed uint64) (wall time.Time, mono int64, boot string) {
	rnd := gpio.Stream(seed, "boot")
	wall, mono = sc.Start, simMono
	boot = fmt.Sprintf("%08x-0000-4000-8000-%012x", rnd.Uint32(), rnd.Uint64()&(1<<48-1))
	if wall.IsZero() {
		wall = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	for i, tr := range sc.traces {
		if h := &tr.Head; i == 0 || h.Mono < mono {
			mono, boot = h.Mono, h.Boot
			if sc.Start.IsZero() && !h.Time.IsZero() {
				wall = h.Time
			}
		}
	}
	return wall, mono, boot
}

// lasts is how long to play.
func (sc *scenario) lasts(flag string) (time.Duration, error) {
	if flag != "" {
		var d edge.Duration
		if err := d.UnmarshalText([]byte(flag)); err != nil || d <= 0 {
			return 0, usagef("sim: --for %q: write a time such as 720h", flag)
		}
		if d.D() > simMost {
			return 0, usagef("sim: --for %s: %s at most", flag, spanText(simMost))
		}
		return d.D(), nil
	}
	last := time.Duration(sc.For)
	if last == 0 && len(sc.traces) > 0 {
		_, mono, _ := sc.begins(0)
		for _, tr := range sc.traces {
			last = max(last, time.Duration(tr.End()-mono))
		}
	}
	return cmp.Or(last, simLast), nil
}

// sensor is how the simulated sensors behave.
func (sc *scenario) sensor() gpio.SimSensor {
	s := sc.Sensors
	if s == nil {
		return gpio.UsualSensor()
	}
	return gpio.SimSensor{Value: s.Value, Amplitude: s.Amplitude, Period: time.Duration(s.Period), Noise: s.Noise, Dropout: s.Dropout, Spikes: s.Spikes}
}

// simFolder is where the store is: the given folder, else one in memory where there is
// such a place.
func simFolder(given string) (dir string, done func(), err error) {
	if given != "" {
		if exists(filepath.Join(given, "state.db")) {
			return "", nil, usagef("sim: --store %s: there is a store already; a scenario begins with none", given)
		}
		return given, func() {}, nil
	}
	for _, below := range []string{"/dev/shm", os.TempDir()} {
		if dir, err = os.MkdirTemp(below, "fieldpost-sim-"); err == nil {
			return dir, func() { _ = os.RemoveAll(dir) }, nil
		}
	}
	return "", nil, fmt.Errorf("make a folder for the store: %w", err)
}

// inScenario names the scenario in the place of the file that its devices were written to,
// whose lines are not the scenario's.
func inScenario(err error, path string) error {
	if err == nil {
		return nil
	}
	text := regexp.MustCompile(regexp.QuoteMeta(path)+`(:\d+)*`).ReplaceAllString(err.Error(), "scenario")
	return withCode(exitCode(err), errors.New(text))
}

// simConfig is the config to run: that of the flag, of the scenario, or of the traces.
func (a *app) simConfig(sc *scenario, path string) (*config.Config, error) {
	text, err := sc.configText()
	if err != nil && path == "" {
		return nil, withCode(exitUsage, err)
	}
	switch {
	case path != "":
	case sc.Config != "":
		if path = sc.Config; !filepath.IsAbs(path) {
			path = filepath.Join(sc.dir, path)
		}
	case text != "":
		tmp, done, err := writeScenario(text)
		if err != nil {
			return nil, err
		}
		defer done()
		cfg, err := a.loadSim(tmp)
		return cfg, inScenario(err, tmp)
	}
	return a.loadSim(path)
}

// writeScenario writes the config of a scenario into a file of its own.
func writeScenario(text string) (path string, done func(), err error) {
	dir, err := os.MkdirTemp("", "fieldpost-sim-")
	if err != nil {
		return "", nil, fmt.Errorf("write the scenario's config: %w", err)
	}
	done = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "scenario.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		done()
		return "", nil, fmt.Errorf("write the scenario's config: %w", err)
	}
	return path, done, nil
}

// loadSim loads the config of a twin.
func (a *app) loadSim(path string) (*config.Config, error) {
	// The hash of a config, which an event tells, is that of a place which no run chose.
	cfg, err := a.loadConfig(path, map[string]string{"data_dir": simNowhere, "api.socket": simNowhere + ".sock", "api.listen": "off"})
	if err != nil {
		return nil, err
	}
	if len(cfg.Devices) == 0 {
		return nil, withCode(exitUsage, errors.New("sim: there is no device: give --config, or devices in the scenario"))
	}
	if cfg.Agent.ID == "" {
		cfg.Agent.ID = "twin" // the log is the same on every machine
	}
	cfg.Store.Headroom = -1 // the disk here is not the board's
	return cfg, nil
}
