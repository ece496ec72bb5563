package uplink

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"fieldpost/edge/dial"
)

// dial opens the TCP connection to the broker.
func (m *mqttSender) dial(ctx context.Context) (net.Conn, error) {
	var d dialer = &dial.Dialer{}
	if m.env.Dial != nil {
		d = m.env.Dial
	}
	return d.DialContext(ctx, "tcp", m.broker.addr())
}

// secure shakes hands over TLS where the broker wants it. It owns conn: where it
// fails conn is closed.
func (m *mqttSender) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if m.broker.scheme != "mqtts" {
		return conn, nil
	}
	conf := &tls.Config{ServerName: m.broker.host, MinVersion: tls.VersionTLS12}
	if m.env.TLS != nil {
		var err error
		if conf, err = m.env.TLS.Config(m.broker.host); err != nil {
			conn.Close()
			return nil, fmt.Errorf("make TLS config: %w", err)
		}
	}
	t := tls.Client(conn, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("shake hands over TLS: %w", err)
	}
	return t, nil
}

// noStore is the client's store of messages in flight. They are in the rings,
// and a client is never connected twice, so nothing would ever be taken from it.
type noStore struct{}

var _ mqtt.Store = noStore{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
