package uplink

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// canaryWithin is how long a canary may take to come back.
const canaryWithin = 10 * time.Second

// Probe connects under a client id of its own, so that the running connection is
// left alone, and sends a message through the broker to itself. An acknowledged
// publish alone proves nothing about who will get it: a broker of 3.1.1
// acknowledges what it then drops.
func (m *mqttSender) Probe(ctx context.Context) ([]Step, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	steps, err := timed(nil, "dns", func() (string, error) { return m.resolve(ctx) })
	if err != nil {
		return steps, err
	}
	var conn net.Conn
	steps, err = timed(steps, "tcp", func() (string, error) {
		var err error
		if conn, err = m.dial(ctx); err != nil {
			return "", err
		}
		return conn.RemoteAddr().String(), nil
	})
	if err != nil {
		return steps, err
	}
	if m.broker.scheme == "mqtts" {
		steps, err = timed(steps, "tls", func() (string, error) {
			var err error
			conn, err = m.secure(ctx, conn)
			return tlsDetail(conn), err
		})
		if err != nil {
			return steps, err
		}
	}
	c := newMQTTConn(m)
	defer c.abort()
	got := make(chan string, 8)
	steps, err = timed(steps, "connack", func() (string, error) {
		id := m.clientID() + "-probe-" + strings.ToLower(rand.Text()[:6])
		return "client id " + id, c.handshake(ctx, conn, id, false)
	})
	if err != nil {
		return steps, err
	}
	return m.canary(ctx, c, steps, got)
}

// canary sends a message through and waits for it on the other side.
func (m *mqttSender) canary(ctx context.Context, c *mqttConn, steps []Step, got chan string) ([]Step, error) {
	id := strings.ToLower(rand.Text())
	topic := m.topics.canary(id)
	steps, err := timed(steps, "subscribe", func() (string, error) {
		token, _ := c.client.Subscribe(topic, 1, func(_ mqtt.Client, msg mqtt.Message) {
			msg.Ack()
			select {
			case got <- string(msg.Payload()):
			default:
			}
		}).(*mqtt.SubscribeToken)
		if err := c.await(ctx, token); err != nil {
			return "", err
		}
		if token.Result()[topic] == 0x80 {
			return "", fmt.Errorf("the broker does not let us subscribe to %s: allow %scanary/#", topic, m.topics.base)
		}
		return topic, nil
	})
	if err != nil {
		return steps, err
	}
	steps, err = timed(steps, "canary out", func() (string, error) {
		return "", c.await(ctx, c.client.Publish(topic, 1, false, id))
	})
	if err != nil {
		return steps, err
	}
	return timed(steps, "canary back", func() (string, error) {
		t := time.NewTimer(canaryWithin)
		defer t.Stop()
		select {
		case text := <-got:
			if text != id {
				return "", fmt.Errorf("another message came back: %q", clip(text, 40))
			}
			return "", nil
		case <-c.dead:
			return "", ErrNotConnected
		case <-ctx.Done():
			return "", ctx.Err()
		case <-t.C:
			return "", errors.New("it was acknowledged and never came back: the broker may deny us that topic, which MQTT 3.1.1 can't say")
		}
	})
}

// resolve looks the broker's name up.
func (m *mqttSender) resolve(ctx context.Context) (string, error) {
	if net.ParseIP(m.broker.host) != nil {
		return "it is an address", nil
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, m.broker.host)
	return strings.Join(addrs, " "), err
}

func tlsDetail(conn net.Conn) string {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return ""
	}
	s := t.ConnectionState()
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
}
