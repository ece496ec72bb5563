package uplink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/uplink"
)

// post stores count messages in a ring, 500 at a time.
func post(t testing.TB, rig *edgetest.Rig, ring string, count int) {
	t.Helper()
	pad := strings.Repeat("x", 60)
	for done := 0; done < count; {
		var evs []edge.Event
		for ; len(evs) < 500 && done < count; done++ {
			evs = append(evs, edge.Event{Name: fmt.Sprintf("room/%d", done%7), Kind: edge.Message, Ring: ring, From: "client:test",
				Data: json.RawMessage(fmt.Sprintf(`{"i":%d,"pad":%q}`, done, pad))})
		}
		if _, err := rig.Pump.Post(context.Background(), evs, edge.Idempotency{}); err != nil {
			t.Fatal(err)
		}
	}
}

// reader subscribes to all that an agent publishes and keeps it.
type reader struct {
	client      mqtt.Client
	subscribing sync.WaitGroup

	mu   sync.Mutex
	got  map[string]int // by topic: messages
	last map[string]string
	evs  []edge.Event
	keep bool
	bad  []string
}

func subscribe(t testing.TB, addr, filter string, keep bool) *reader {
	t.Helper()
	r := &reader{got: map[string]int{}, last: map[string]string{}, keep: keep}
	opt := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("reader-" + t.Name()).SetProtocolVersion(4).
		SetCleanSession(false).SetAutoReconnect(true).SetMaxReconnectInterval(200 * time.Millisecond).
		SetOrderMatters(true).SetDefaultPublishHandler(r.take).SetWriteTimeout(5 * time.Second)
	opt.SetOnConnectHandler(func(c mqtt.Client) { // on a goroutine of paho's own
		r.subscribing.Add(1)
		defer r.subscribing.Done()
		c.Subscribe(filter, 1, nil)
	})
	r.client = mqtt.NewClient(opt)
	if tok := r.client.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("subscribe: %v", tok.Error())
	}
	if tok := r.client.Subscribe(filter, 1, nil); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("subscribe: %v", tok.Error())
	}
	t.Cleanup(func() {
		r.client.Disconnect(100)
		r.subscribing.Wait() // on a connection that is gone it takes as long as a write may
	})
	return r
}

func (r *reader) take(_ mqtt.Client, m mqtt.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[m.Topic()]++
	r.last[m.Topic()] = string(m.Payload())
	if !r.keep {
		return
	}
	var evs []edge.Event
	switch {
	case strings.Contains(m.Topic(), "/events/"):
		evs = make([]edge.Event, 1)
		if err := json.Unmarshal(m.Payload(), &evs[0]); err != nil {
			r.bad = append(r.bad, err.Error())
		}
	case strings.Contains(m.Topic(), "/batch/"):
		if err := json.Unmarshal(m.Payload(), &evs); err != nil {
			r.bad = append(r.bad, err.Error())
		}
	}
	r.evs = append(r.evs, evs...)
}

func (r *reader) count(topic string) int { r.mu.Lock(); defer r.mu.Unlock(); return r.got[topic] }

func (r *reader) text(topic string) string { r.mu.Lock(); defer r.mu.Unlock(); return r.last[topic] }

func (r *reader) events() []edge.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]edge.Event(nil), r.evs...)
}

// until polls for a condition and fails with what it was after the deadline.
func until(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// mqttOptions are those of an uplink to a broker.
func mqttOptions(rig *edgetest.Rig, url string) uplink.ForwarderOptions {
	conf := sender("mqtt").Config().(*uplink.MQTTConfig)
	conf.URL = url
	return uplink.ForwarderOptions{
		Spec: uplink.Spec{Name: "cloud", Sender: "mqtt", Options: conf},
		Log:  rig.Log, Store: rig.Store, Pump: rig.Pump, Agent: "test",
	}
}

// start runs an uplink until the test ends; stop ends it earlier.
func start(t testing.TB, opt uplink.ForwarderOptions) (f *uplink.Forwarder, stop func()) {
	t.Helper()
	f, err := uplink.NewForwarder(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the forwarder did not stop")
		}
	})
	t.Cleanup(stop)
	return f, stop
}

// sender is a row of the table of senders.
func sender(name string) uplink.SenderType {
	for _, s := range uplink.Senders() {
		if s.Name == name {
			return s
		}
	}
	return uplink.SenderType{}
}

// verify closes the ledger of alarms over what a receiver has. A ledger event
// is among it: the forwarder sends one when it connects.
func verify(t testing.TB, evs []edge.Event) {
	t.Helper()
	v := edge.NewVerifier("alarms") // the ledger is itself in events, and tells of what was before it
	for i := range evs {
		if err := v.Add(evs[i].AppendJSON(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if r := v.Report(); !r.Closed || r.Missing > 0 || r.Conflicts > 0 {
		t.Errorf("the ledger does not close: %+v", r)
	}
}
