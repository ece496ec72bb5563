package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	"fieldpost/queue"
	"fieldpost/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testDir is a folder whose path is short enough for a socket.
func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fp-agent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// load reads a config with data_dir and socket in dir, and no TCP listener.
func load(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	path := filepath.Join(dir, "fieldpost.yaml")
	text = fmt.Sprintf("agent: {id: box}\ndata_dir: %s/data\napi: {listen: off, socket: %s/s.sock}\n", dir, dir) + text
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{Path: path, Tables: Tables()})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// running is an agent in this process.
type running struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

// start runs an agent and waits until it is ready.
func start(t *testing.T, opt Options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, stop: cancel, done: make(chan error, 1)}
	ready := make(chan struct{})
	opt.Ready = func() { close(ready) }
	go func() { r.done <- Run(ctx, opt) }()
	select {
	case <-ready:
	case err := <-r.done:
		cancel()
		t.Fatalf("run: %v", err)
	case <-time.After(10 * time.Second):
		cancel()
		t.Fatal("not ready within 10 s")
	}
	return r
}

// end stops it, which must work.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("run: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("not stopped within 20 s")
	}
}

// stored is what a stopped store has in its ring events.
func stored(t *testing.T, cfg *config.Config, b *edgetest.Board) []edge.Event {
	t.Helper()
	store := edgetest.OpenStore(t, edgetest.Options(cfg.DataDir, b))
	defer store.Close()
	evs, _, _, err := edge.NewLog(store, edgetest.NewClock(t, b, store), "box").Ring(edge.RingEvents, 0, queue.Max{})
	if err != nil {
		t.Fatal(err)
	}
	return evs
}

// named gives the data of the events of a name.
func named(evs []edge.Event, name string) []map[string]any {
	var out []map[string]any
	for i := range evs {
		var data map[string]any
		if evs[i].Name == name && evs[i].Kind == edge.System && json.Unmarshal(evs[i].Data, &data) == nil {
			out = append(out, data)
		}
	}
	return out
}

// TestStarts: each start tells its boot, each new epoch itself, each stop the
// ledger; and nothing is left running.
func TestStarts(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "devices: {pump: {digital_out: GPIO27}}\n")
	board := edgetest.NewBoard("boot-1")
	pins := gpio.NewSimBoard(gpio.SimOptions{})
	for range 2 {
		b := board.Board()
		start(t, Options{Config: cfg, Version: "v1", Board: &b, Pins: pins}).end()
	}
	other := edgetest.NewBoard("boot-2")
	other.SetSerial("another")
	b := other.Board()
	start(t, Options{Config: cfg, Version: "v2", Board: &b, Pins: pins}).end()

	evs := stored(t, cfg, other)
	boots, epochs, ledgers := named(evs, "boot"), named(evs, "epoch"), named(evs, "ledger")
	if len(boots) != 3 || boots[0]["version"] != "v1" || boots[2]["version"] != "v2" || boots[2]["boot"] != "boot-2" {
		t.Errorf("boots: %v", boots)
	}
	if len(ledgers) != 3 {
		t.Errorf("ledgers: %v", ledgers)
	}
	if len(epochs) != 2 || epochs[0]["why"] != "new" || epochs[1]["why"] != "board" {
		t.Fatalf("epochs: %v", epochs)
	}
	if _, ok := epochs[0]["previous"]; ok {
		t.Errorf("the first epoch has a previous one: %v", epochs[0])
	}
	if epochs[1]["previous"] != epochs[0]["epoch"] {
		t.Errorf("previous: %v of %v", epochs[1], epochs[0])
	}
	var at *edge.Event
	for i := range evs {
		if evs[i].Name == "epoch" && evs[i].Kind == edge.System {
			at = &evs[i]
		}
	}
	first, ok := epochs[1]["first_seq"].(map[string]any)
	if !ok || first[edge.RingEvents] != float64(at.Seq) || epochs[1]["first_n"] != float64(at.N) {
		t.Errorf("the epoch's first event is %d, seq %d; it tells %v", at.N, at.Seq, epochs[1])
	}
}

// TestConfigErrors: what only the user can mend is told apart.
func TestConfigErrors(t *testing.T) {
	dir := testDir(t)
	cfg := load(t, dir, "")
	cfg.Devices = map[string]*config.Device{"a": {Name: "a", Driver: "none"}}
	board := edgetest.NewBoard("boot-1").Board()
	err := Run(t.Context(), Options{Config: cfg, Board: &board})
	var mistake *ConfigError
	if !errors.As(err, &mistake) || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
}

// TestExamples: the example of every driver and sender is a config that loads,
// and the devices can be made.
func TestExamples(t *testing.T) {
	text := "devices:\n"
	for _, d := range gpio.Drivers() {
		text += "  " + d.Example + "\n"
	}
	text += "uplinks:\n"
	for _, s := range uplink.Senders() {
		text += "  " + s.Example + "\n"
	}
	cfg := load(t, testDir(t), text)
	if len(cfg.Devices) != len(gpio.Drivers()) || len(cfg.Uplinks) != len(uplink.Senders()) {
		t.Errorf("%d devices, %d uplinks", len(cfg.Devices), len(cfg.Uplinks))
	}
	rig := edgetest.NewRig(t)
	a := &agent{opt: Options{Config: cfg, Pins: gpio.NewSimBoard(gpio.SimOptions{})}, pump: rig.Pump, store: rig.Store, clock: rig.Clock}
	if _, err := a.newSource(); err != nil {
		t.Error(err)
	}
}

// TestNotify: systemd hears that the agent is ready, alive and stopping.
func TestNotify(t *testing.T) {
	dir := testDir(t)
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	board := edgetest.NewBoard("boot-1").Board()
	r := start(t, Options{Config: load(t, dir, ""), Board: &board})
	hear := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("wait for %s: %v", want, err)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	hear("READY=1")
	hear("WATCHDOG=1")
	hear("WATCHDOG=1")
	r.stop()
	hear("STOPPING=1")
	r.end()
}
