package uplink

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge"
)

// Bounds of commands from upstream.
const (
	commandDesks  = 4        // commands that run at once; those of one device run in turn
	commandsWait  = 16       // at each of them
	maxCommand    = 16 << 10 // bytes of a payload
	commandWithin = 30 * time.Second
)

// commandDesk takes commands from the client, which must not be kept waiting,
// and runs them.
type commandDesk struct {
	c      *mqttConn
	queues [commandDesks]chan mqtt.Message
	done   chan struct{}
	ending sync.Once
	work   sync.WaitGroup
}

func newCommandDesk(c *mqttConn) *commandDesk {
	d := &commandDesk{c: c, done: make(chan struct{})}
	for i := range d.queues {
		d.queues[i] = make(chan mqtt.Message, commandsWait)
	}
	return d
}

func (d *commandDesk) start() {
	for _, q := range d.queues {
		d.work.Go(func() { d.serve(q) })
	}
}

func (d *commandDesk) stop() {
	d.ending.Do(func() { close(d.done) })
	d.work.Wait()
}

// receive never blocks. What finds no room is not acknowledged, so that a broker
// that keeps a session sends it again.
func (d *commandDesk) receive(_ mqtt.Client, m mqtt.Message) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(m.Topic())) // a hash takes everything
	select {
	case d.queues[h.Sum32()%commandDesks] <- m:
	default:
		d.c.m.env.Log.Warn("command dropped: too many wait", "topic", m.Topic())
	}
}

func (d *commandDesk) serve(queue <-chan mqtt.Message) {
	for {
		select {
		case m := <-queue:
			d.handle(m)
		case <-d.done:
			return
		}
	}
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
