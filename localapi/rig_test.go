package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys that every server of the tests has.
const (
	readKey    = "secret-of-reader"
	writeKey   = "secret-of-writer"
	forwardKey = "secret-of-forwarder"
	adminKey   = "secret-of-admin"
	kitchenKey = "secret-of-kitchen" // write, bounded to kitchen/* and lamp
)

func testKeys() []Key {
	return []Key{
		{Name: "reader", Role: "read", Secret: edge.LiteralSecret(readKey)},
		{Name: "writer", Role: "write", Secret: edge.LiteralSecret(writeKey)},
		{Name: "forwarder", Role: "forward", Secret: edge.LiteralSecret(forwardKey)},
		{Name: "boss", Role: "admin", Secret: edge.LiteralSecret(adminKey)},
		{Name: "kitchen", Role: "write", Secret: edge.LiteralSecret(kitchenKey), Names: []string{"kitchen/*", "lamp"}},
	}
}

// rig is a running server on a real store.
type rig struct {
	*edgetest.Rig
	t      testing.TB
	server *Server
	world  *fakeWorld
	addr   string // of TCP
	socket string
	stop   func()
	client *http.Client
}

// newRig runs a server on a new store; change may change what it is made of.
func newRig(t testing.TB, change func(*Deps, *Options)) *rig {
	t.Helper()
	return serveRig(t, edgetest.NewRig(t), change)
}

func serveRig(t testing.TB, er *edgetest.Rig, change func(*Deps, *Options)) *rig {
	t.Helper()
	w := newFakeWorld()
	r := &rig{Rig: er, t: t, world: w, socket: filepath.Join(t.TempDir(), "fp.sock")}
	d := Deps{Log: er.Log, Pump: er.Pump, Store: er.Store, Clock: er.Clock, Devices: w, Uplinks: w}
	opt := Options{Agent: "test", Version: "v0", Hostname: "board", Socket: r.socket, Keys: testKeys(), limits: defaultLimits()}
	if change != nil {
		change(&d, &opt)
	}
	s, err := New(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	r.server = s
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	r.addr = tcp.Addr().String()
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	r.client = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, tcp, unix) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		tr.CloseIdleConnections()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the server did not stop")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// overSocket is a client of the Unix socket.
func (r *rig) overSocket() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("read %d %s: %v", a.status, a.body, err)
	}
}

type header map[string]string

// do makes a request over TCP.
func (r *rig) do(method, path, key, body string, hs ...header) answer {
	r.t.Helper()
	a, err := r.try(r.client, "http://"+r.addr, method, path, key, body, hs...)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) try(c *http.Client, base, method, path, key, body string, hs ...header) (answer, error) {
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range hs {
		for k, v := range h {
			if k == "Host" {
				req.Host = v
			}
			req.Header.Set(k, v)
		}
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// want makes a request and checks its status.
func (r *rig) want(status int, method, path, key, body string, hs ...header) answer {
	r.t.Helper()
	a := r.do(method, path, key, body, hs...)
	if a.status != status {
		r.t.Fatalf("%s %s: got %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

// publish stores n events of a name and gives the last one's position.
func (r *rig) publish(name string, n int) string {
	r.t.Helper()
	var b bytes.Buffer
	for i := range n {
		b.WriteString(`{"name":"` + name + `","data":{"i":` + itoa(i) + "}}\n")
	}
	var out receipts
	r.want(201, "POST", "/v1/events", adminKey, b.String(), header{"Content-Type": "application/x-ndjson"}).into(r.t, &out)
	return strings.Replace(out.Events[n-1].ID, "-", ".", 1)
}

func itoa(i int) string { b, _ := json.Marshal(i); return string(b) }

type receipts struct {
	Events []struct {
		ID   string `json:"id"`
		N    uint64 `json:"n"`
		Ring string `json:"ring"`
		Seq  uint64 `json:"seq"`
	} `json:"events"`
}

type events struct {
	Events []edge.Event `json:"events"`
	Next   string       `json:"next"`
	At     string       `json:"at"`
	Reset  bool         `json:"reset"`
	More   bool         `json:"more"`
}

// eventually polls until ok, for 5 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 5 s: %s", what)
}

// fakeWorld is a board of three devices and one uplink, in memory.
type fakeWorld struct {
	mu        sync.Mutex
	list      []edge.DeviceStatus
	uplink    edge.UplinkStatus
	commands  []edge.Command
	confirmed []edge.Confirmation
	refuse    error
	cut       bool
	driven    map[edge.Pin]bool
}

func newFakeWorld() *fakeWorld {
	return &fakeWorld{
		list: []edge.DeviceStatus{
			{Name: "door", Driver: "digital_in", Status: "ok", Room: "Hall", Tags: []string{"safety"}, Value: json.RawMessage("true"), State: "open", Pins: []string{"GPIO17"}},
			{Name: "lamp", Driver: "digital_out", Label: "Big Lamp", Status: "ok", Room: "Kitchen", Value: json.RawMessage("false"), Pins: []string{"GPIO27"}, Commands: []string{"on", "off", "toggle", "pulse"}},
			{Name: "soil", Driver: "ds18b20", Status: "absent", Error: "no sensor on the bus"},
		},
		uplink: edge.UplinkStatus{Name: "cloud", Sender: "mqtt", Address: "mqtts://broker.example.com:8883", State: "up", Acknowledged: 7, Backlog: 3},
		driven: map[edge.Pin]bool{},
	}
}

func (w *fakeWorld) Devices() []edge.DeviceStatus { return slices.Clone(w.list) }

func (w *fakeWorld) Device(name string) (edge.DeviceStatus, bool) {
	for _, d := range w.list {
		if d.Name == name {
			return d, true
		}
	}
	return edge.DeviceStatus{}, false
}

func (w *fakeWorld) Command(_ context.Context, c edge.Command) (edge.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commands = append(w.commands, c)
	out := edge.Outcome{ID: "c1", Device: c.Device, Verb: c.Verb}
	switch {
	case w.refuse != nil:
		out.Why = w.refuse.Error()
		return out, w.refuse
	case c.Device != "lamp":
		return out, edge.ErrNoDevice
	case c.Verb != "on" && c.Verb != "off":
		return out, edge.ErrBadValue
	}
	out.Done, out.Value = true, json.RawMessage(`true`)
	return out, nil
}

// Asked knows two commands: one for the lamp, one for the door.
func (w *fakeWorld) Asked(id string) (string, bool) {
	device, ok := map[string]string{"c1": "lamp", "c2": "door"}[id]
	return device, ok
}

func (w *fakeWorld) Confirm(_ context.Context, c edge.Confirmation) (edge.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.confirmed = append(w.confirmed, c)
	out := edge.Outcome{ID: c.ID, Device: "lamp", Verb: "on", Done: c.Why == "", Value: c.Value, Why: c.Why}
	if w.refuse != nil {
		out.Done, out.Why = false, w.refuse.Error()
	}
	return out, w.refuse
}

func (w *fakeWorld) Report(_ context.Context, device string, value json.RawMessage, from string) (edge.Event, error) {
	if device != "lamp" {
		return edge.Event{}, edge.ErrBadValue
	}
	return edge.Event{Epoch: 7, N: 9, Ring: "events", Seq: 3, Name: device, From: from, Data: value}, w.refuse
}

func (w *fakeWorld) Pins() []edge.PinStatus {
	on := true
	return []edge.PinStatus{{Number: 1, Name: "3V3", Function: "power"}, {Number: 7, Name: "GPIO4", Function: "in"}, {Number: 11, Name: "GPIO17", Function: "in", Level: &on, Owner: "fieldpost", Device: "door"}, {Number: 13, Name: "GPIO27", Function: "out", Level: &on, Owner: "fieldpost", Device: "lamp"}}
}

func (w *fakeWorld) Drive(p edge.Pin, level bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == "GPIO4" {
		return errors.New("drive GPIO4: this is a real board")
	}
	w.driven[p] = level
	return nil
}

func (w *fakeWorld) Uplinks() []edge.UplinkStatus { return []edge.UplinkStatus{w.uplink} }

func (w *fakeWorld) Fates(ring string, seq uint64) []edge.UplinkFate {
	fate := edge.Waiting
	if seq <= w.uplink.Acknowledged {
		fate = edge.Acknowledged
	}
	return []edge.UplinkFate{{Uplink: w.uplink.Name, Fate: fate}}
}

func (w *fakeWorld) Test(context.Context, string) ([]Step, error) {
	return []Step{{Name: "connect", OK: true, TookMS: 1.5}, {Name: "canary", OK: false, Detail: "it did not come back"}}, nil
}

func (w *fakeWorld) Cut(_ context.Context, _ string, cut bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	return nil
}

// failingPump is a pump whose flushes can be made to fail.
type failingPump struct {
	*edge.Pump
	before func() // each CommitWith; may be nil

	mu  sync.Mutex
	err error
}

func (p *failingPump) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *failingPump) Post(ctx context.Context, evs []edge.Event, key edge.Idempotency) ([]edge.Event, error) {
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return p.Pump.Post(ctx, evs, key)
}

func (p *failingPump) CommitWith(ctx context.Context, evs []edge.Event, rows []queue.Row) ([]edge.Event, error) {
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if p.before != nil {
		p.before()
	}
	return p.Pump.CommitWith(ctx, evs, rows)
}

var _ store = (*queue.Store)(nil)
var _ eventLog = (*edge.Log)(nil)
var _ pump = (*edge.Pump)(nil)
var _ clock = (*edge.Clock)(nil)

// copyFolder copies a folder as a kill would leave it.
func copyFolder(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}
