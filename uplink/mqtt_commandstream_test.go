package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge"
)

// sentMessage is a message as the broker hands it over.
type sentMessage struct {
	mqtt.Message // nil: what is not below is not asked for
	topic        string
	body         []byte
	retained     bool
	acked        int
}

func (m *sentMessage) Topic() string   { return m.topic }
func (m *sentMessage) Payload() []byte { return m.body }
func (m *sentMessage) Retained() bool  { return m.retained }
func (m *sentMessage) Ack()            { m.acked++ }

// In random streams of commands from a broker none that is retained reaches a device,
// each is answered once, with a reason where it did nothing, and acknowledged: after it
// acted where it has an id, before that where it has none.
func TestCommandStreams(t *testing.T) {
	for seed := range uint64(300) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { commandStream(t, rand.New(rand.NewPCG(seed, 0))) }) {
			break
		}
	}
}

func commandStream(t *testing.T, rnd *rand.Rand) {
	var now *sentMessage
	var got []edge.Command
	c := &mqttConn{m: &mqttSender{topics: topics{"fieldpost/a/"}}, publish: make(chan *wave, 8), dead: make(chan struct{})}
	c.m.env = SenderEnv{Uplink: "cloud", Log: slog.New(slog.DiscardHandler), Command: func(_ context.Context, cmd edge.Command) (edge.Outcome, error) {
		if got = append(got, cmd); now.retained || !cmd.Remote || cmd.From != "uplink:cloud" || cmd.Device != "pump" {
			t.Errorf("%q retained %v reached the device as %+v", now.body, now.retained, cmd)
		}
		if before := now.acked > 0; before == strings.Contains(string(now.body), `"id":"c`) {
			t.Errorf("%q was acknowledged before it acted: %v", now.body, before)
		}
		if cmd.Verb == "off" {
			return edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb}, errors.New("refused: it is locked")
		}
		return edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb, Done: true, Value: json.RawMessage("true")}, nil
	}}
	d := newCommandDesk(c)
	bodies := []string{"ON", "off", "TOGGLE", "", "maybe", "{", `{"command":"on","id":"c1"}`, `{"command":"off","id":"c2"}`, `{"command":"pulse","value":"90s","id":"c3","if":false}`,
		`{"command":"set","value":1,"expires":"` + time.Now().Format(time.RFC3339) + `"}`, `{"id":"c4"}`, `{"command":"on","id":"c5","x":1}`, `{"command":"on"}]`}
	for range 20 + rnd.IntN(40) {
		now = &sentMessage{topic: "fieldpost/a/command/pump", body: []byte(bodies[rnd.IntN(len(bodies))]), retained: rnd.IntN(3) == 0}
		before := len(got)
		d.handle(now)
		if now.acked != 1 {
			t.Errorf("%q was acknowledged %d times", now.body, now.acked)
		}
		if now.retained && len(now.body) == 0 { // it takes a retained message back
			continue
		}
		if len(c.publish) != 1 {
			t.Fatalf("%q retained %v has %d answers", now.body, now.retained, len(c.publish))
		}
		var out edge.Outcome
		w := <-c.publish
		if err := json.Unmarshal(w.msgs[0].body, &out); err != nil || w.topics[0] != c.m.topics.result(out.ID) || out.ID == "" || w.retained {
			t.Errorf("answer %s on %s, %v", w.msgs[0].body, w.topics[0], err)
		}
		switch acted := len(got) > before; {
		case out.Done && !acted, !out.Done && out.Why == "":
			t.Errorf("%q retained %v: acted %v, answered %s", now.body, now.retained, acted, w.msgs[0].body)
		case now.retained && !acted && out.Why == "":
			t.Errorf("%q: no reason", now.body)
		}
	}
}
