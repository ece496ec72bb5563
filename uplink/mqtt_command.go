package uplink

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge"
)

// Bounds of commands from upstream.
const (
	commandDevices = 32       // that have a command running or waiting; those of one device run in turn
	commandsWait   = 16       // behind the one that runs
	maxCommand     = 16 << 10 // bytes of a payload
	commandWithin  = 30 * time.Second
)

// commandDesk takes commands from the client, which must not be kept waiting, and
// runs them: each device's in turn, so that one whose client is gone and who answers
// late holds up no other.
type commandDesk struct {
	c    *mqttConn
	done chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex
	open    bool                      // started, and not stopped
	over    bool                      // stopped
	waiting map[string][]mqtt.Message // by topic, which names the device; the first of each runs
}

func newCommandDesk(c *mqttConn) *commandDesk {
	return &commandDesk{c: c, done: make(chan struct{}), waiting: map[string][]mqtt.Message{}}
}

// start begins to run commands; those that came before have waited.
func (d *commandDesk) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	d.open = true
	for topic, all := range d.waiting {
		d.work.Go(func() { d.serve(topic, all[0]) })
	}
}

// stop waits for the commands that run; those behind them are not acknowledged.
func (d *commandDesk) stop() {
	d.mu.Lock()
	if !d.over {
		d.open, d.over = false, true
		close(d.done)
	}
	d.mu.Unlock()
	d.work.Wait()
}

// receive never blocks. What finds no room is not acknowledged, so that a broker
// that keeps a session sends it again.
func (d *commandDesk) receive(_ mqtt.Client, m mqtt.Message) {
	topic := m.Topic()
	d.mu.Lock()
	defer d.mu.Unlock()
	all, busy := d.waiting[topic]
	switch {
	case d.over:
	case len(all) > commandsWait || !busy && len(d.waiting) == commandDevices:
		d.c.m.env.Log.Warn("command dropped: too many wait", "topic", topic)
	default:
		d.waiting[topic] = append(all, m)
		if d.open && !busy {
			d.work.Go(func() { d.serve(topic, m) })
		}
	}
}

// serve runs the commands of a device until none waits.
func (d *commandDesk) serve(topic string, m mqtt.Message) {
	for m != nil {
		d.handle(m)
		m = d.next(topic)
	}
}

// next takes the command that ran off the desk, and gives the one behind it; nil:
// there is none, or the desk has closed.
func (d *commandDesk) next(topic string) mqtt.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.waiting[topic][1:]
	if len(all) == 0 || !d.open {
		delete(d.waiting, topic)
		return nil
	}
	d.waiting[topic] = all
	return all[0]
}

// handle runs one command and publishes what it did. One with an id acts once
// however often it comes, so it is acknowledged after it acted; one without can't
// be told from its repeat, so it is acknowledged before.
func (d *commandDesk) handle(m mqtt.Message) {
	name, ok := d.c.m.topics.device(m.Topic())
	if !ok || m.Retained() && len(m.Payload()) == 0 {
		m.Ack()
		return
	}
	cmd, err := parseCommand(m.Payload())
	if cmd.ID == "" {
		cmd.ID = newCommandID()
		m.Ack()
	} else {
		defer m.Ack()
	}
	cmd.Device, cmd.From, cmd.Remote = name, "uplink:"+d.c.m.env.Uplink, true
	if err == nil && m.Retained() {
		err = errors.New("the message is retained: a command must act when it is sent, not when somebody connects")
	}
	out := edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb}
	if err == nil {
		out, err = d.run(cmd)
	}
	if err != nil {
		out.Done, out.Why = false, err.Error()
		d.c.m.env.Log.Warn("command from upstream refused", "device", name, "id", cmd.ID, "why", err)
	}
	d.answer(out)
}

func (d *commandDesk) run(cmd edge.Command) (edge.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // the desk closes: the command is not waited for
		select {
		case <-d.done:
			cancel()
		case <-stop:
		}
	}()
	out, err := d.c.m.env.Command(ctx, cmd)
	if out.ID == "" {
		out.ID, out.Device, out.Verb = cmd.ID, cmd.Device, cmd.Verb
	}
	return out, err
}

// answer publishes an outcome on result/{id}.
func (d *commandDesk) answer(out edge.Outcome) {
	body, err := json.Marshal(out)
	if err != nil {
		d.c.m.env.Log.Error("encode the outcome of a command", "id", out.ID, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	if err := d.c.beside(ctx, d.c.m.topics.result(out.ID), false, body); err != nil {
		d.c.m.env.Log.Warn("the outcome of a command could not be told", "id", out.ID, "error", err)
	}
}

func newCommandID() string { return rand.Text()[:12] }

// commandPayload is a command as JSON.
type commandPayload struct {
	ID      string          `json:"id"`
	Command string          `json:"command"`
	Value   json.RawMessage `json:"value"`
	If      json.RawMessage `json:"if"`
	Expires time.Time       `json:"expires"`
}

// parseCommand reads the payload of a command: ON, OFF or TOGGLE alone, or
//
//	{"command":"pulse","value":"90s","id":"a1","if":false,"expires":"2026-11-21T01:32:15Z"}
//
// of which only command is needed. Where it fails, the id is given if it could
// be read.
func parseCommand(b []byte) (edge.Command, error) {
	if len(b) > maxCommand {
		return edge.Command{}, fmt.Errorf("a command of %d bytes: it can be %d", len(b), maxCommand)
	}
	b = bytes.TrimSpace(b)
	switch string(bytes.ToLower(bytes.Trim(b, `"`))) {
	case "on":
		return edge.Command{Verb: "on"}, nil
	case "off":
		return edge.Command{Verb: "off"}, nil
	case "toggle":
		return edge.Command{Verb: "toggle"}, nil
	}
	if len(b) == 0 || b[0] != '{' {
		return edge.Command{}, fmt.Errorf("command %q: write ON, OFF, TOGGLE or {\"command\":\"...\"}", clip(string(b), 40))
	}
	var p commandPayload
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(&p)
	if err == nil {
		if _, end := dec.Token(); end != io.EOF { // More takes a closing bracket for the end
			err = errors.New("there is more behind the object")
		}
	}
	if err == nil && p.Command == "" {
		err = errors.New(`it has no "command"`)
	}
	if len(p.ID) > edge.MaxName {
		p.ID, err = "", fmt.Errorf("its id is over %d bytes", edge.MaxName)
	}
	cmd := edge.Command{ID: p.ID, Verb: p.Command, Value: p.Value, If: p.If, Expires: p.Expires}
	if err != nil {
		return cmd, fmt.Errorf("read command: %w", err)
	}
	return cmd, nil
}
