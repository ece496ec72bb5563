package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/edge/edgetest"
	"fieldpost/gpio"
	"fieldpost/queue"
)

// reloader is an agent whose config can be written anew.
type reloader struct {
	*running
	dir   string
	board *edgetest.Board
	pins  *gpio.SimBoard
	hup   chan struct{}
}

const reloadHead = "agent: {id: box}\ndata_dir: %s/data\napi: {listen: off, socket: %s/s.sock}\n"

func newReloader(t *testing.T, text string) *reloader {
	t.Helper()
	dir := testDir(t)
	r := &reloader{dir: dir, board: edgetest.NewBoard("boot-1"), hup: make(chan struct{}, 1)}
	cfg := load(t, dir, text)
	b := r.board.Board()
	r.pins = gpio.NewSimBoard(gpio.SimOptions{Mono: b.Mono})
	r.running = start(t, Options{Config: cfg, Board: &b, Pins: r.pins, Reload: r.hup,
		Load: func() (*config.Config, error) {
			return config.Load(config.Source{Path: filepath.Join(dir, "fieldpost.yaml"), Tables: Tables()})
		}})
	t.Cleanup(r.stop)
	r.until("all devices are ok", func() bool { return !strings.Contains(r.get("/v1/devices"), `"starting"`) })
	return r
}

// write writes the config anew, with another head where it is given.
func (r *reloader) write(text string) {
	r.t.Helper()
	if !strings.Contains(text, "data_dir") {
		text = fmt.Sprintf(reloadHead, r.dir, r.dir) + text
	}
	if err := os.WriteFile(filepath.Join(r.dir, "fieldpost.yaml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloader) get(path string) string {
	r.t.Helper()
	_, body, err := send(filepath.Join(r.dir, "s.sock"), http.MethodGet, path, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return body
}

// reload asks for one, and wants the status and the words.
func (r *reloader) reload(status int, words ...string) (done edge.Reloaded) {
	r.t.Helper()
	got, body, err := send(filepath.Join(r.dir, "s.sock"), http.MethodPost, "/v1/reload", "")
	if err != nil || got != status {
		r.t.Fatalf("%d %s %v, want %d", got, body, err, status)
	}
	for _, w := range words {
		if !strings.Contains(body, w) {
			r.t.Errorf("%q is not in %s", w, body)
		}
	}
	if status == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &done); err != nil {
			r.t.Fatal(err)
		}
	}
	return done
}

func (r *reloader) until(what string, so func() bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("waited 10 s until %s", what)
		}
	}
}

// TestReload: what changed is put in force and told, what is the same does not notice;
// a mistake changes nothing and shows until the next good one.
func TestReload(t *testing.T) {
	const pump = "  pump: {digital_out: GPIO27, boot: on}\n"
	r := newReloader(t, "devices:\n"+pump)
	r.until("the pump is on", func() bool { on, _ := r.pins.Level("GPIO27"); return on })
	mark := len(r.pins.Trace("GPIO27"))

	if done := r.reload(200); !done.Nothing() || done.Devices.Untouched != 1 {
		t.Errorf("%+v", done)
	}
	r.write("devices:\n" + pump + "  door: {digital_in: GPIO17}\nstore: {headroom: 1MB, rings: {events: {keep: 500 events}}}\nkeys: {app: {role: read, secret: hush}}\nmailboxes: {app: {}}\n")
	done := r.reload(200)
	if strings.Join(done.Devices.Added, " ") != "door" || done.Devices.Untouched != 1 || strings.Join(done.Other, " ") != "store.rings store.headroom keys mailboxes" || done.Config == done.Before {
		t.Errorf("%+v", done)
	}
	if !strings.Contains(r.get("/v1/keys"), `"app"`) || !strings.Contains(r.get("/v1/mailboxes"), `"app"`) || !strings.Contains(r.get("/v1/rings"), `500`) {
		t.Errorf("%s %s %s", r.get("/v1/keys"), r.get("/v1/mailboxes"), r.get("/v1/rings"))
	}

	r.write("devices:\n" + pump + "  door: {digital_in: GPIO17, debounce: 3}\n  bell: {digital_in: GPIO27}\n")
	r.reload(422, "fieldpost.yaml:6:", "debounce", "fieldpost.yaml:7:", "GPIO27")
	r.write("devices:\n" + pump + "  fan: {sim: sine, every: 0s}\n  air: {sim: sine, every: 0s}\n")
	r.reload(422, "fieldpost.yaml:6:", "devices.fan: every is 0", "fieldpost.yaml:7:", "devices.air: every is 0")
	r.write(fmt.Sprintf("agent: {id: other}\ndata_dir: %s/else\napi: {listen: off, socket: %s/s.sock}\ndevices: {}\n", r.dir, r.dir))
	r.reload(409, "fieldpost.yaml:1:", "agent.id", "fieldpost.yaml:2:", "data_dir can't change", "systemctl restart fieldpost")
	r.pins.Hold("GPIO5", "another")
	r.write("devices:\n" + pump + "  bell: {digital_in: GPIO5}\n")
	r.reload(409, "fieldpost.yaml:6:", "devices.bell", "another holds it")
	if st := r.get("/v1/status"); !strings.Contains(st, "The config on the disk was not taken") || !strings.Contains(st, "another holds it") {
		t.Errorf("status %s", st)
	}
	if devices := r.get("/v1/devices"); !strings.Contains(devices, `"door"`) || strings.Contains(devices, "bell") {
		t.Errorf("devices %s", devices)
	}
	r.pins.Hold("GPIO5", "")
	r.reload(200)
	if st := r.get("/v1/status"); strings.Contains(st, "was not taken") {
		t.Errorf("status %s", st)
	}
	if n := len(r.pins.Trace("GPIO27")); n != mark {
		t.Errorf("the pump moved %d times", n-mark)
	}
	r.end()

	store := edgetest.OpenStore(t, edgetest.Options(filepath.Join(r.dir, "data"), r.board))
	defer store.Close()
	evs, _, _, err := edge.NewLog(store, edgetest.NewClock(t, r.board, store), "box").Ring(edge.RingAudit, 0, queue.Max{})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, ev := range evs {
		if ev.Name == "reload" {
			told = append(told, ev.From+" "+string(ev.Data))
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], "client:local") || !strings.Contains(told[0], `"added":["door"]`) || !strings.Contains(told[0], done.Config) || !strings.Contains(told[1], `"removed":["door"]`) {
		t.Errorf("told %q", told)
	}
}

// TestReloadSignal: a signal does the same, and systemd hears of it.
func TestReloadSignal(t *testing.T) {
	path := filepath.Join(testDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	r := newReloader(t, "")
	r.write("devices: {door: {digital_in: GPIO17}}\n")
	r.hup <- struct{}{}
	r.until("it is told", func() bool { return strings.Contains(r.get("/v1/events?ring=audit"), `"from":"system:reload"`) })
	if devices := r.get("/v1/devices"); !strings.Contains(devices, `"door"`) {
		t.Error(devices)
	}
	r.until("the turn is free", func() bool {
		status, _, err := send(filepath.Join(r.dir, "s.sock"), http.MethodPost, "/v1/reload", "")
		return err == nil && status == http.StatusOK
	})
	r.end()
	var heard []string
	for buf := make([]byte, 4096); ; {
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			break
		}
		first, rest, _ := strings.Cut(string(buf[:n]), "\n")
		if first == "RELOADING=1" && !strings.HasPrefix(rest, "MONOTONIC_USEC=") {
			t.Errorf("%s %s", first, rest)
		}
		heard = append(heard, first)
	}
	if got := strings.Join(heard, " "); got != "READY=1 RELOADING=1 READY=1 RELOADING=1 READY=1 STOPPING=1" {
		t.Errorf("systemd heard %s", got)
	}
}

// counting counts who connects to a broker.
type counting struct {
	mqtt.HookBase
	broker    *mqtt.Server
	here, all atomic.Int32
}

func (c *counting) ID() string { return "counting" }
func (c *counting) Provides(what byte) bool {
	return what == mqtt.OnSessionEstablished || what == mqtt.OnDisconnect || what == mqtt.OnConnectAuthenticate || what == mqtt.OnACLCheck
}

func (c *counting) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (c *counting) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

func (c *counting) OnSessionEstablished(*mqtt.Client, packets.Packet) {
	c.here.Add(1)
	c.all.Add(1)
}

func (c *counting) OnDisconnect(*mqtt.Client, error, bool) { c.here.Add(-1) }

// startBroker runs a broker in this process.
func startBroker(t *testing.T) (addr string, c *counting) {
	t.Helper()
	c = &counting{}
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	c.broker = s
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	for _, err := range []error{s.AddHook(c, nil), s.AddListener(l), s.Serve()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.Close() })
	return l.Address(), c
}

// TestReloadUplinks: one that is the same keeps its connection; one that changed makes
// another and goes on where it was; one that left says goodbye.
func TestReloadUplinks(t *testing.T) {
	addr, calm := startBroker(t)
	addr2, other := startBroker(t)
	same := fmt.Sprintf("  same: {mqtt: \"mqtt://%s\"}\n", addr)
	r := newReloader(t, "uplinks:\n"+same)
	r.until("it is connected", func() bool { return calm.here.Load() == 1 })
	r.write("uplinks:\n" + same + fmt.Sprintf("  more: {mqtt: \"mqtt://%s\", from: now}\n", addr2))
	if done := r.reload(200); strings.Join(done.Uplinks.Added, "") != "more" || done.Uplinks.Untouched != 1 {
		t.Errorf("%+v", done)
	}
	r.until("the other is connected", func() bool { return other.here.Load() == 1 })
	drained := func() bool { return strings.Count(r.get("/v1/uplinks"), `"backlog":0`) == 2 }
	r.until("all is sent", drained)
	r.write("uplink_defaults: {prefix: site7}\nuplinks:\n" + strings.TrimSuffix(same, "}\n") + ", prefix: fieldpost}\n" + fmt.Sprintf("  more: {mqtt: \"mqtt://%s\", from: now}\n", addr2))
	if done := r.reload(200); strings.Join(done.Uplinks.Changed, " ") != "more same" {
		t.Errorf("%+v", done)
	}
	r.until("the other is connected again", func() bool { return other.all.Load() == 2 && other.here.Load() == 1 })
	r.until("all is sent", drained)
	r.write("uplink_defaults: {prefix: fieldpost}\nuplinks:\n" + same)
	before := calm.all.Load()
	if done := r.reload(200); strings.Join(done.Uplinks.Removed, "") != "more" || done.Uplinks.Untouched != 1 || len(done.Uplinks.Changed) != 0 {
		t.Errorf("%+v", done)
	}
	r.until("it left", func() bool { return other.here.Load() == 0 })
	if calm.all.Load() != before || before != 2 {
		t.Errorf("%d connections, %d before the last reload", calm.all.Load(), before)
	}
	if s := r.get("/v1/uplinks"); strings.Contains(s, "more") {
		t.Error(s)
	}
	// A plan that is given up leaves no cursor behind.
	r.write("uplinks:\n" + same + "  wrong: {mqtt: \"mqtt://127.0.0.1:1\"}\ndevices: {a: {sim: sine, every: 0s}}\n")
	r.reload(422, "devices.a")
	r.end()
	store := edgetest.OpenStore(t, edgetest.Options(filepath.Join(r.dir, "data"), r.board))
	defer store.Close()
	if got := strings.Join(store.Cursors(), " "); got != "more same" {
		t.Errorf("cursors %s", got)
	}
}

// TestReloadOfADeviceAndItsUplink: a device that leaves with the same reload that changes
// an uplink leaves no state behind at the broker.
func TestReloadOfADeviceAndItsUplink(t *testing.T) {
	addr, peer := startBroker(t)
	shown := func(device string) bool { return len(peer.broker.Topics.Messages("fieldpost/box/state/"+device)) > 0 }
	r := newReloader(t, fmt.Sprintf("devices: {door: {digital_in: GPIO17}, bell: {digital_in: GPIO22}}\nuplinks: {cloud: {mqtt: \"mqtt://%s\"}}\n", addr))
	r.until("both states are there", func() bool { return shown("door") && shown("bell") })
	r.write(fmt.Sprintf("devices: {bell: {digital_in: GPIO22}}\nuplinks: {cloud: {mqtt: \"mqtt://%s\", batch: {events: 20}}}\n", addr))
	if done := r.reload(200); strings.Join(done.Uplinks.Changed, "") != "cloud" || strings.Join(done.Devices.Removed, "") != "door" {
		t.Errorf("%+v", done)
	}
	r.until("the state of the door is taken back", func() bool { return !shown("door") })
	if !shown("bell") {
		t.Error("so is that of the bell")
	}
}

// TestReloadsTakeTurns: one at a time, none before the start and none after the end.
func TestReloadsTakeTurns(t *testing.T) {
	a := &agent{reloads: newReloads()}
	if _, err := a.reload(t.Context(), "x"); !errors.Is(err, edge.ErrReloading) {
		t.Errorf("before the start: %v", err)
	}
	a.reloads.begin()
	if err := a.reloads.end(time.Second); err != nil {
		t.Error(err)
	}
	if _, err := a.reload(t.Context(), "x"); !errors.Is(err, edge.ErrReloading) {
		t.Errorf("after the end: %v", err)
	}
	select {
	case <-a.reloads.over.Done():
	default:
		t.Error("what is under way is not given up")
	}
}
