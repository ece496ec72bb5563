package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// demoBroker is the stand-in upstream: a real MQTT broker on loopback, which
// counts the events that it is given.
type demoBroker struct {
	mqtt.HookBase
	server *mqtt.Server
	door   *demoHall
	got    atomic.Uint64
}

func newDemoBroker() (*demoBroker, error) {
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	b := &demoBroker{door: newDemoHall(door)}
	b.server = mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := b.server.AddHook(b, nil); err != nil {
		_ = door.Close()
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	if err := b.server.AddListener(listeners.NewNet("demo", b.door)); err != nil {
		_ = door.Close()
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	if err := b.server.Serve(); err != nil {
		_ = b.server.Close()
		return nil, fmt.Errorf("start the demo's broker: %w", err)
	}
	return b, nil
}

func (b *demoBroker) addr() string   { return b.door.Addr().String() }
func (b *demoBroker) events() uint64 { return b.got.Load() }

func (b *demoBroker) close() {
	b.door.shut()
	_ = b.server.Close()
}

// ID names the hook for the broker.
func (b *demoBroker) ID() string { return "count" }

// Provides says which calls the hook wants.
func (b *demoBroker) Provides(what byte) bool {
	return what == mqtt.OnPublished || what == mqtt.OnConnectAuthenticate || what == mqtt.OnACLCheck
}

// OnConnectAuthenticate lets everyone in: only this process and its user's others
// reach the broker.
func (b *demoBroker) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck lets everyone do everything.
func (b *demoBroker) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnPublished counts the events of a message that the broker has taken.
func (b *demoBroker) OnPublished(_ *mqtt.Client, pk packets.Packet) {
	switch {
	case strings.Contains(pk.TopicName, "/events/"):
		b.got.Add(1)
	case strings.Contains(pk.TopicName, "/batch/"):
		b.got.Add(uint64(bytes.Count(pk.Payload, []byte(`"agent":`))))
	}
}

// quiet is a log that shows errors alone: the demo has its own line.
func quiet(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}
