package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	sigTerm  = syscall.SIGTERM
	sigInt   = syscall.SIGINT
	sigHup   = syscall.SIGHUP
	stopTime = 20 * time.Second
)

// TestRunAlone: no network, no broker, no devices, no config: it starts, stores,
// reads, and drains at a signal.
func TestRunAlone(t *testing.T) {
	s := newSandbox(t, "")
	if err := os.Remove(s.path("fieldpost.yaml")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p := s.start("run", "--data-dir", s.path("data"), "--listen", "off")
	s.until("it answers", func() bool { return s.call(http.MethodGet, "/healthz", nil, nil) == nil })
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v to accept", took)
	}
	s.mustPublish("a", 1)
	s.run("events").want(t, 0, "a", "boot", "epoch")
	p.signal(sigTerm)
	p.exits(0, stopTime)
	if !strings.Contains(p.text(), "no config file") {
		t.Errorf("it does not say that it runs on defaults: %s", p.text())
	}
	if _, err := os.Stat(s.socket); err == nil {
		t.Error("it left its socket behind")
	}
	s.run("export", "--dir", s.path("data"), "--file", "all").want(t, 0)
	s.run("verify", "all").want(t, 0, "closed: every event")
	r := s.pipe(s.run("export", "--dir", s.path("data")).out, "verify", "-", "-o", "json").want(t, 0, `"closed": true`)
	if !strings.Contains(r.out, `"missing": 0`) {
		t.Error(r.out)
	}
}

// TestBrokenConfig: every mistake in one line with its place; nothing starts.
func TestBrokenConfig(t *testing.T) {
	s := newSandbox(t, "devices:\n  door: {digital_in: GPIO17, debounce: 30}\n  gate: {digital_in: GPIO17}\nuplinks: {cloud: {mqtt: \"mqtt://h\", speed: 9}}\n")
	for _, verb := range [][]string{{"run"}, {"check"}, {"check", "fieldpost.yaml"}, {"run", "--config", s.path("fieldpost.yaml")}} {
		r := s.run(verb...).want(t, 2, "fieldpost.yaml:5:", "debounce", "fieldpost.yaml:6:", "GPIO17", "fieldpost.yaml:7:", "speed")
		if r.out != "" {
			t.Errorf("%v printed %q", verb, r.out)
		}
	}
	s.run("check", "-o", "json").want(t, 2, `"ok": false`, `"Line": 5`)
	s.run("check", "nothing.yaml").want(t, 2, "nothing.yaml")
	if _, err := os.Stat(s.path("data")); err == nil {
		t.Error("a broken config made a store")
	}
}

// TestExampleConfig: the example of the package passes with the real plug-ins.
func TestExampleConfig(t *testing.T) {
	const example = "../../packaging/fieldpost.yaml"
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	s := newSandbox(t, "")
	s.write("example.yaml", string(text))
	s.run("check", "example.yaml").want(t, 0, "fine:")
}

// TestStoreRefusals: a store that is in use, and one of a newer version.
func TestStoreRefusals(t *testing.T) {
	s := newSandbox(t, "")
	p := s.agent()
	s.run("run", "--socket", s.path("other.sock")).want(t, 1, s.path("data"), "another process has the store open")
	s.run("run", "--data-dir", s.path("other")).want(t, 1, "another agent answers")
	p.signal(sigTerm)
	p.exits(0, stopTime)

	raw, err := os.ReadFile(s.path("data/store.json"))
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(raw), `"format": 2`, `"format": 99`, 1)
	if newer == string(raw) {
		t.Fatalf("store.json has no format 1: %s", raw)
	}
	s.write("data/store.json", newer)
	s.run("run").want(t, 2, s.path("data"), "newer version of fieldpost")
}

// TestSocketLeftBehind: what a killed agent left is no obstacle.
func TestSocketLeftBehind(t *testing.T) {
	s := newSandbox(t, "")
	p := s.agent()
	p.signal(syscall.SIGKILL)
	p.exits(-1, stopTime)
	if _, err := os.Stat(s.socket); err != nil {
		t.Fatal("the kill left no socket: the test proves nothing")
	}
	s.agent()
	s.run("status").want(t, 0)
}

// TestPortTaken: the agent stores all the same, says it, and takes the port when
// it can.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSandbox(t, "")
	s.agent("--listen", l.Addr().String())
	s.mustPublish("a", 1)
	s.run("status").want(t, 1, "can't listen on "+l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.until("it listens", func() bool {
		resp, err := http.Get("http://" + l.Addr().String() + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	s.run("status").want(t, 0)
}

// TestKill: what was acknowledged before a SIGKILL is there after it, whole.
func TestKill(t *testing.T) {
	s := newSandbox(t, "")
	var ids []string
	for round := range 3 {
		p := s.agent()
		for i := range 50 {
			ids = append(ids, s.mustPublish("k", round*100+i))
		}
		p.signal(syscall.SIGKILL)
		p.exits(-1, stopTime)
	}
	s.agent()
	s.run("export", "--file", "all").want(t, 0)
	s.run("verify", "all").want(t, 0, "closed: every event")
	text, err := os.ReadFile(s.path("all"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !strings.Contains(string(text), `"id":"`+id+`"`) {
			t.Errorf("%s was acknowledged and is gone", id)
		}
	}
}

// TestDrain: at a signal what waits goes out, and a ledger closes the store.
func TestDrain(t *testing.T) {
	s := newSandbox(t, "")
	p := s.agent()
	s.mustPublish("a", 1)
	p.signal(sigInt)
	p.exits(0, stopTime)
	r := s.run("export", "--dir", s.path("data")).want(t, 0)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) < 2 || !strings.Contains(lines[len(lines)-2], `"name":"ledger"`) || !strings.Contains(lines[len(lines)-2], `"from":"system:ledger"`) {
		t.Errorf("the last stored event is no ledger: %s", r.out)
	}
}

// TestSecondSignal: while the drain waits for a broker that takes everything and
// acknowledges nothing, a second signal ends the process at once.
func TestSecondSignal(t *testing.T) {
	s := newSandbox(t, fmt.Sprintf("uplinks: {cloud: {mqtt: \"mqtt://%s\"}}\n", deafBroker(t)))
	p := s.agent()
	s.mustPublish("a", 1)
	s.until("the uplink is up", func() bool { return strings.Contains(s.run("uplinks").out, " up ") })
	p.signal(sigTerm)
	s.until("it drains", func() bool { return strings.Contains(p.text(), "draining") })
	select {
	case <-p.done:
		t.Fatalf("it did not wait for the broker: %s", p.text())
	case <-time.After(500 * time.Millisecond):
	}
	begun := time.Now()
	p.signal(sigTerm)
	p.exits(1, stopTime)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the second signal took %v", took)
	}
	if !strings.Contains(p.text(), "fieldpost: terminated again") {
		t.Errorf("it does not say why it ended: %s", p.text())
	}
}

// deaf is a broker's hook that lets no event through, and so none is acknowledged.
type deaf struct {
	mqtt.HookBase
	until chan struct{}
}

func (d *deaf) ID() string              { return "deaf" }
func (d *deaf) Provides(what byte) bool { return what == mqtt.OnPublish }

func (d *deaf) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if strings.Contains(pk.TopicName, "/events/") {
		<-d.until
	}
	return pk, nil
}

// deafBroker welcomes clients and never acknowledges an event.
func deafBroker(t *testing.T) string {
	t.Helper()
	b, err := newDemoBroker()
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{until: make(chan struct{})}
	if err := b.server.AddHook(d, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(d.until)
		b.close()
	})
	return b.addr()
}
