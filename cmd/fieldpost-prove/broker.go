package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Broker is a real mosquitto on loopback. It can be stopped, killed and started
// again on the same port and files.
type Broker struct {
	Addr string

	*Proc
	dir  string
	conf string
}

// Bridge makes a broker hand on all it gets to another one.
type Bridge struct {
	To string
	// EachChange makes it write its database a second after every change, instead
	// of every half hour.
	EachChange bool
}

// newBroker writes the configuration of a broker that keeps its messages on disk
// and drops none of them by count. An empty addr means a free port.
func newBroker(dir, addr string, bridge *Bridge) (*Broker, error) {
	var err error
	if addr == "" {
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make broker's folder: %w", err)
	}
	host, port, _ := strings.Cut(addr, ":")
	var c strings.Builder
	fmt.Fprintf(&c, "listener %s %s\nallow_anonymous true\nuser root\n", port, host)
	fmt.Fprintf(&c, "persistence true\npersistence_location %s/\n", dir)
	fmt.Fprintf(&c, "max_queued_messages 0\nset_tcp_nodelay true\nlog_type error\nlog_type warning\n")
	if bridge != nil {
		fmt.Fprintf(&c, "connection up\naddress %s\ntopic # out 1\ncleansession false\n", bridge.To)
		fmt.Fprintf(&c, "bridge_protocol_version mqttv311\ntry_private false\nnotifications false\nrestart_timeout 1\n")
		if bridge.EachChange {
			c.WriteString("autosave_on_changes true\nautosave_interval 1\n")
		}
	}
	b := &Broker{Addr: addr, dir: dir, conf: filepath.Join(dir, "mosquitto.conf")}
	if err := os.WriteFile(b.conf, []byte(c.String()), 0o600); err != nil {
		return nil, fmt.Errorf("write broker's config: %w", err)
	}
	return b, nil
}

// Start runs it and waits until it takes connections.
func (b *Broker) Start(ctx context.Context) error {
	p, err := startProc(filepath.Join(b.dir, "mosquitto.log"), "mosquitto", "-c", b.conf)
	if err != nil {
		return err
	}
	b.Proc = p
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, fmt.Errorf("start mosquitto: no answer at %s in 15 s", b.Addr))
	defer cancel()
	if err := waitDial(ctx, p, b.Addr); err != nil {
		_ = p.Kill()
		return err
	}
	return nil
}

// startBroker makes and starts a broker.
func startBroker(ctx context.Context, dir, addr string, bridge *Bridge) (*Broker, error) {
	b, err := newBroker(dir, addr, bridge)
	if err != nil {
		return nil, err
	}
	return b, b.Start(ctx)
}
