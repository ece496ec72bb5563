package uplink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/uplink"
	"fieldpost/uplink/uplinktest"
)

func TestMQTTConfigErrors(t *testing.T) {
	for _, tt := range []struct{ url, user, password, want string }{
		{"ws://host", "", "", "WebSocket is not in this version"},
		{"wss://host/mqtt", "", "", "WebSocket is not in this version"},
		{"tcp://host", "", "", "mqtt (TCP) or mqtts (TLS)"},
		{"host:1883", "", "", "mqtt (TCP) or mqtts (TLS)"},
		{"mqtt://bob:hunter2@host", "", "", "keys user and password"},
		{"bob:hunter2@host", "", "", "mqtt (TCP) or mqtts (TLS)"},
		{"mqtt:bob:hunter2@host", "", "", "names no host"},
		{"mqtt://", "", "", "names no host"},
		{"mqtt://host/topic", "", "", "behind host and port"},
		{"mqtt://host", "", "hunter2", "without a user"},
	} {
		conf := sender("mqtt").Config().(*uplink.MQTTConfig)
		conf.URL, conf.User, conf.Password = tt.url, tt.user, edge.LiteralSecret(tt.password)
		_, err := sender("mqtt").New(env(), conf)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.url, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", tt.url, err)
		}
	}
	e := env()
	e.Prefix = "a/+/b"
	if _, err := sender("mqtt").New(e, &uplink.MQTTConfig{URL: "mqtt://host"}); err == nil {
		t.Error("a prefix with a wildcard was taken")
	}
}

// What a reader upstream sees of an agent that comes, goes and is killed.
func TestMQTTStatusStateAbout(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{})
	line, err := uplinktest.NewProxy(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	r := subscribe(t, m.Addr(), "fieldpost/test/#", true)
	rig := edgetest.NewRig(t)

	var current atomic.Pointer[string] // the id of the door's current event
	change := func(value string) {
		evs, err := rig.Pump.CommitWith(t.Context(), []edge.Event{{Name: "door", Kind: edge.Change, From: "device:door", Data: json.RawMessage(`{"value":` + value + `}`)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := evs[0].ID()
		current.Store(&id)
	}
	change("false")
	change("true")
	opt := mqttOptions(rig, "mqtt://"+line.Addr())
	opt.Devices = func() []edge.DeviceStatus {
		if current.Load() == nil {
			return nil
		}
		return []edge.DeviceStatus{{Name: "door", Event: *current.Load()}}
	}
	opt.About = func() json.RawMessage { return json.RawMessage(`{"version":"1"}`) }
	f, stop := start(t, opt)

	const base = "fieldpost/test/"
	until(t, 10*time.Second, "state", func() bool { return strings.Contains(r.text(base+"state/door"), `"value":true`) })
	until(t, 10*time.Second, "about", func() bool { return r.text(base+"about") == `{"version":"1"}` })
	until(t, 10*time.Second, "drained", empty(f))
	if r.text(base+"status") != "online" || r.count(base+"events/events/door") != 2 {
		t.Errorf("status %q, %d door events", r.text(base+"status"), r.count(base+"events/events/door"))
	}
	if n := r.count(base + "state/door"); n != 1 {
		t.Errorf("%d states: the backlog made some", n)
	}
	change("false")
	until(t, 10*time.Second, "state follows", func() bool { return strings.Contains(r.text(base+"state/door"), `"value":false`) })

	line.Refuse(true)
	line.Cut()
	until(t, 10*time.Second, "the will", func() bool { return r.text(base+"status") == "offline" })
	current.Store(nil) // the door left the config meanwhile
	line.Refuse(false)
	until(t, 10*time.Second, "online again", func() bool { return r.text(base+"status") == "online" })
	until(t, 10*time.Second, "no state of a device that is no more", func() bool { return r.text(base+"state/door") == "" })
	stop()
	until(t, 10*time.Second, "offline at the stop", func() bool { return r.text(base+"status") == "offline" })
}

func TestMQTTCommands(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{})
	r := subscribe(t, m.Addr(), "fieldpost/test/result/#", false)
	rig := edgetest.NewRig(t)
	var mu sync.Mutex
	var got []edge.Command
	opt := mqttOptions(rig, m.URL())
	opt.Command = func(_ context.Context, c edge.Command) (edge.Outcome, error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, c)
		if c.Device == "attic" {
			return edge.Outcome{ID: c.ID, Device: c.Device, Verb: c.Verb}, fmt.Errorf("%w: it is not remote", edge.ErrRefused)
		}
		return edge.Outcome{ID: c.ID, Device: c.Device, Verb: c.Verb, Done: true, Value: json.RawMessage("true")}, nil
	}
	tell := func(topic, text string, retained bool) {
		t.Helper()
		if tok := r.client.Publish("fieldpost/test/command/"+topic, 1, retained, text); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
			t.Fatal(tok.Error())
		}
	}
	tell("stale", `{"command":"on","id":"old"}`, true)
	f, _ := start(t, opt)
	until(t, 10*time.Second, "up", func() bool { return f.Status().State == "up" })
	until(t, 10*time.Second, "a retained command is refused", func() bool { return strings.Contains(r.text("fieldpost/test/result/old"), "retained") })

	tell("kitchen/lamp %2B", "ON", false)
	tell("pump", `{"command":"pulse","value":"90s","id":"a/1"}`, false)
	tell("attic", `{"command":"on","id":"a2"}`, false)
	tell("pump", `{"command":"on","id":"a3","surprise":1}`, false)
	for id, want := range map[string]string{"a%2F1": `"done":true`, "a2": "not remote", "a3": "surprise"} {
		until(t, 10*time.Second, "result "+id, func() bool { return strings.Contains(r.text("fieldpost/test/result/"+id), want) })
	}
	until(t, 10*time.Second, "all ran", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 3 })
	mu.Lock()
	defer mu.Unlock()
	for _, c := range got {
		switch {
		case !c.Remote || c.From != "uplink:cloud":
			t.Errorf("a command from upstream is not marked so: %+v", c)
		case c.Device == "kitchen/lamp +" && c.Verb == "on" && c.ID != "":
		case c.Device == "pump" && c.Verb == "pulse" && string(c.Value) == `"90s"` && c.ID == "a/1":
		case c.Device == "attic":
		default:
			t.Errorf("ran %+v", c)
		}
	}
}

// A device whose client is gone is waited for; the others are not held up by it.
func TestMQTTCommandsOfADeadDevice(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{})
	r := subscribe(t, m.Addr(), "fieldpost/test/result/#", false)
	opt := mqttOptions(edgetest.NewRig(t), m.URL())
	answer := make(chan struct{})
	opt.Command = func(ctx context.Context, c edge.Command) (edge.Outcome, error) {
		if c.Device == "dead" {
			select {
			case <-answer:
			case <-ctx.Done():
			}
		}
		return edge.Outcome{ID: c.ID, Device: c.Device, Verb: c.Verb, Done: true}, nil
	}
	f, _ := start(t, opt)
	until(t, 10*time.Second, "up", func() bool { return f.Status().State == "up" })
	tell := func(device, id string) {
		t.Helper()
		text := fmt.Sprintf(`{"command":"on","id":%q}`, id)
		if tok := r.client.Publish("fieldpost/test/command/"+device, 1, false, text); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
			t.Fatal(tok.Error())
		}
	}
	done := func(id string) bool { return strings.Contains(r.text("fieldpost/test/result/"+id), `"done":true`) }
	tell("dead", "d0")
	tell("dead", "d1")
	for i := range 12 {
		tell(fmt.Sprintf("lamp%d", i), fmt.Sprintf("l%d", i))
	}
	for i := range 12 {
		until(t, 10*time.Second, "a lamp's result", func() bool { return done(fmt.Sprintf("l%d", i)) })
	}
	if done("d0") || done("d1") {
		t.Error("a command was done that nobody has confirmed")
	}
	close(answer)
	until(t, 10*time.Second, "the late one's result", func() bool { return done("d0") && done("d1") })
}

func TestMQTTDenied(t *testing.T) {
	dir := t.TempDir()
	passwd := filepath.Join(dir, "passwd") // of mosquitto_passwd: site7, secret
	if err := os.WriteFile(passwd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{Dir: dir, Extra: []string{"allow_anonymous false", "password_file " + passwd}})
	conf := sender("mqtt").Config().(*uplink.MQTTConfig)
	conf.URL, conf.User, conf.Password = m.URL(), "site7", edge.LiteralSecret("wrong")
	s, err := sender("mqtt").New(env(), conf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Connect(t.Context()); !errors.Is(err, uplink.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	steps, err := s.(uplink.Prober).Probe(t.Context())
	if err == nil || len(steps) != 3 || steps[2].Name != "connack" || steps[2].Error == "" {
		t.Errorf("probe gave %+v, %v", steps, err)
	}
}

func TestMQTTProbe(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{})
	rig := edgetest.NewRig(t)
	f, _ := start(t, mqttOptions(rig, m.URL()))
	until(t, 10*time.Second, "up", func() bool { return f.Status().State == "up" })
	steps, err := f.Probe(t.Context())
	if err != nil {
		t.Fatalf("%v: %+v", err, steps)
	}
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, ","); got != "dns,tcp,connack,subscribe,canary out,canary back" {
		t.Errorf("steps are %s", got)
	}
	if s := f.Status(); s.State != "up" || s.Connects != 1 {
		t.Errorf("the probe disturbed the uplink: %+v", s)
	}
}

// A broker that lets nothing through acknowledges all the same.
func TestMQTTProbeFindsADeniedTopic(t *testing.T) {
	dir := t.TempDir()
	acl := filepath.Join(dir, "acl")
	if err := os.WriteFile(acl, []byte("topic read fieldpost/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{Dir: dir, Extra: []string{"acl_file " + acl}})
	conf := sender("mqtt").Config().(*uplink.MQTTConfig)
	conf.URL = m.URL()
	s, err := sender("mqtt").New(env(), conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	steps, err := s.(uplink.Prober).Probe(ctx)
	last := steps[len(steps)-1]
	if err == nil || last.Name != "canary back" || steps[len(steps)-2].Error != "" {
		t.Errorf("probe gave %+v, %v", steps, err)
	}
}

// The broker is restarted, the line is cut in the middle, and the uplink itself
// is stopped, all under load. Nothing may be missing in the end.
func TestMQTTLosesNothing(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{Persistence: true})
	line, err := uplinktest.NewProxy(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	r := subscribe(t, m.Addr(), "fieldpost/test/events/#", true)
	rig := edgetest.NewRig(t)
	opt := mqttOptions(rig, "mqtt://"+line.Addr())
	wake := make(chan struct{}, 1)
	opt.Wake = wake
	f, stop := start(t, opt)

	const each, rounds = 2000, 6
	for i := range rounds {
		until(t, 20*time.Second, "up", func() bool { return f.Status().State == "up" })
		line.Freeze() // so that each fault finds something in flight
		post(t, rig, "alarms", each)
		until(t, 20*time.Second, "in flight", func() bool { return f.Status().InFlight > 0 })
		opened := line.Opened()
		switch i % 3 {
		case 0:
			line.CutAfter(5000)
			line.Thaw()
			until(t, 20*time.Second, "cut and open again", func() bool { return line.Opened() > opened })
		case 1:
			if err := m.Restart(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			line.Thaw()
		case 2:
			line.Thaw()
			stop()
			f, stop = start(t, opt)
		}
		select {
		case wake <- struct{}{}:
		default:
		}
		until(t, 30*time.Second, "drained", empty(f))
	}
	until(t, 20*time.Second, "all arrived", func() bool {
		seen := map[uint64]bool{}
		for _, ev := range r.events() {
			if ev.Ring == "alarms" {
				seen[ev.Seq] = true
			}
		}
		return len(seen) == each*rounds
	})
	stop()
	verify(t, r.events())
	if n := len(r.events()); n > each*rounds*2 {
		t.Errorf("%d messages for %d events", n, each*rounds)
	}
}

// A message over the broker's limit ends the connection, and must not do so for
// ever.
func TestMQTTBrokerWithALimit(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{Extra: []string{"max_packet_size 2000"}})
	rig := edgetest.NewRig(t)
	post(t, rig, "alarms", 5)
	big := edge.Event{Name: "big", Kind: edge.Message, Ring: "alarms", From: "client:test", Data: json.RawMessage(`"` + strings.Repeat("x", 3000) + `"`)}
	if _, err := rig.Pump.Post(t.Context(), []edge.Event{big}, edge.Idempotency{}); err != nil {
		t.Fatal(err)
	}
	post(t, rig, "alarms", 5)
	opt := mqttOptions(rig, m.URL())
	f, _ := start(t, opt)
	until(t, 60*time.Second, "sent around it", empty(f))
	if s := f.Status(); s.Refused != 1 || s.Positions["alarms"] != 11 {
		t.Errorf("status is %+v", s)
	}
}

// A broker closes the connection over a topic of too many levels, and over a
// packet that is a byte too large; neither must reach it.
func TestMQTTNamesAndSizesThatBrokersHate(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{Extra: []string{"max_packet_size 2000"}})
	rig := edgetest.NewRig(t)
	r := subscribe(t, m.Addr(), "fieldpost/test/#", true)
	evs := []edge.Event{{Name: strings.Repeat("/", 250), Kind: edge.Message, Ring: "alarms", From: "client:test", Data: json.RawMessage(`1`)}}
	for size := 1700; size < 2000; size += 3 {
		evs = append(evs, edge.Event{Name: "room", Kind: edge.Message, Ring: "alarms", From: "client:test", Data: json.RawMessage(`"` + strings.Repeat("x", size) + `"`)})
	}
	if _, err := rig.Pump.Post(t.Context(), evs, edge.Idempotency{}); err != nil {
		t.Fatal(err)
	}
	opt := mqttOptions(rig, m.URL())
	opt.Options.(*uplink.MQTTConfig).MaxPacket = 2000
	f, _ := start(t, opt)
	until(t, 30*time.Second, "sent", empty(f))
	if s := f.Status(); s.Connects != 1 || s.Refused == 0 {
		t.Errorf("status is %+v", s)
	}
	until(t, 10*time.Second, "received", func() bool { return len(r.events()) > 0 && r.events()[0].Name == evs[0].Name })
}

func TestMQTTQueuedCommandsSurviveAnOutage(t *testing.T) {
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{})
	rig := edgetest.NewRig(t)
	ran := make(chan edge.Command, 4)
	opt := mqttOptions(rig, m.URL())
	opt.Options.(*uplink.MQTTConfig).Commands.Queue = true
	opt.Command = func(_ context.Context, c edge.Command) (edge.Outcome, error) {
		ran <- c
		return edge.Outcome{ID: c.ID, Done: true}, nil
	}
	f, stop := start(t, opt)
	until(t, 10*time.Second, "up", func() bool { return f.Status().State == "up" })
	stop()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + m.Addr()).SetClientID("boss"))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer c.Disconnect(100)
	if tok := c.Publish("fieldpost/test/command/pump", 1, false, `{"command":"on","id":"x1"}`); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	_, _ = start(t, opt)
	select {
	case c := <-ran:
		if c.ID != "x1" || c.Device != "pump" {
			t.Errorf("ran %+v", c)
		}
	case <-time.After(10 * time.Second):
		t.Error("the command that waited at the broker did not come")
	}
}
