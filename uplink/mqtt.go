package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fieldpost/edge"
)

// MQTTConfig is the config of the sender mqtt.
type MQTTConfig struct {
	// URL is mqtt://host[:1883] or mqtts://host[:8883].
	URL      string      `mapstructure:"mqtt"`
	User     string      `mapstructure:"user"`
	Password edge.Secret `mapstructure:"password"`

	KeepAlive edge.Duration  `mapstructure:"keepalive"`  // how often an idle line is tested; 20 s
	MaxPacket edge.Size      `mapstructure:"max_packet"` // the broker's limit of a message, where it has one; 0: none
	Commands  CommandsConfig `mapstructure:"commands"`
}

// CommandsConfig says how commands from upstream come in.
type CommandsConfig struct {
	Queue bool `mapstructure:"queue"` // the broker keeps them while we are offline
}

func mqttType() SenderType {
	return SenderType{
		Name:    "mqtt",
		Doc:     "publishes to an MQTT 3.1.1 broker with QoS 1, over TCP or TLS, and takes commands from it",
		Example: "cloud: {mqtt: \"mqtts://broker.example.com:8883\", user: site7, password: \"file:/etc/fieldpost/mqtt.pass\"}",
		Config:  func() any { return &MQTTConfig{KeepAlive: edge.Duration(20 * time.Second)} },
		New: func(env SenderEnv, config any) (Sender, error) {
			c, ok := config.(*MQTTConfig)
			if !ok {
				return nil, fmt.Errorf("make mqtt sender: its config is a %T", config)
			}
			return newMQTT(env, *c)
		},
	}
}

// mqttSender makes connections to one broker.
type mqttSender struct {
	env    SenderEnv
	conf   MQTTConfig
	broker broker
	topics topics
}

var (
	_ Sender = (*mqttSender)(nil)
	_ Prober = (*mqttSender)(nil)
)

// broker is where to connect.
type broker struct {
	scheme string // mqtt or mqtts
	host   string
	port   string
}

func (b broker) addr() string { return net.JoinHostPort(b.host, b.port) }

func newMQTT(env SenderEnv, conf MQTTConfig) (*mqttSender, error) {
	b, err := parseBroker(conf.URL)
	if err != nil {
		return nil, err
	}
	if conf.KeepAlive == 0 {
		conf.KeepAlive = edge.Duration(20 * time.Second)
	}
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	t, err := newTopics(env.Prefix, env.Agent)
	if err != nil {
		return nil, err
	}
	return &mqttSender{env: env, conf: conf, broker: b, topics: t}, nil
}

// Validate tells what the types of the fields can't, so that a check of the
// config finds it before a start does.
func (c MQTTConfig) Validate() error {
	_, err := parseBroker(c.URL)
	switch {
	case err != nil:
		return keyed("mqtt", err)
	case c.KeepAlive != 0 && (c.KeepAlive.D() < time.Second || c.KeepAlive.D() > time.Hour):
		return keyed("keepalive", fmt.Errorf("keepalive is %v: it can be 1s to 1h", c.KeepAlive))
	case c.MaxPacket != 0 && c.MaxPacket < 1024:
		return keyed("max_packet", fmt.Errorf("max_packet is %v: it must be at least 1kB", c.MaxPacket))
	case c.Password.Set() && c.User == "":
		return keyed("password", errors.New("there is a password without a user: MQTT 3.1.1 has no such thing; set user"))
	}
	return nil
}

// parseBroker reads the URL of a broker.
func parseBroker(text string) (broker, error) {
	u, err := url.Parse(text)
	if err != nil {
		return broker{}, fmt.Errorf("broker %q is no URL: write mqtt://host or mqtts://host", redact(text))
	}
	ports := map[string]string{"mqtt": "1883", "mqtts": "8883"}
	switch {
	case u.Scheme == "ws" || u.Scheme == "wss":
		return broker{}, fmt.Errorf("broker %q: WebSocket is not in this version, TCP and TLS are: write mqtt://host or mqtts://host", redact(text))
	case ports[u.Scheme] == "":
		return broker{}, fmt.Errorf("broker %q: the scheme must be mqtt (TCP) or mqtts (TLS)", redact(text))
	case u.User != nil:
		return broker{}, fmt.Errorf("broker %q: put user and password into the keys user and password, where they stay hidden", redact(text))
	case u.Hostname() == "":
		return broker{}, fmt.Errorf("broker %q names no host", redact(text))
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return broker{}, fmt.Errorf("broker %q: there is nothing to say behind host and port", redact(text))
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return broker{}, fmt.Errorf("broker %q has no port from 1 to 65535", redact(text))
		}
	}
	b := broker{u.Scheme, u.Hostname(), u.Port()}
	if b.port == "" {
		b.port = ports[u.Scheme]
	}
	return b, nil
}

// redact takes what may be a password out of a URL that did not parse.
func redact(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	scheme, _, ok := strings.Cut(text[:at], "://")
	if !ok {
		return "********" + text[at:]
	}
	return scheme + "://********" + text[at:]
}

// Address is the broker's URL.
func (m *mqttSender) Address() string { return m.broker.scheme + "://" + m.broker.addr() }

// clientID names us at the broker. The store's own id keeps a cloned card from
// taking over its original's session.
func (m *mqttSender) clientID() string {
	id := m.env.Agent + "-" + m.env.Uplink
	if len(m.env.StoreID) >= 4 {
		id += "-" + m.env.StoreID[:4]
	}
	return id
}

// Connect makes a connection with a client of its own, so that nothing of an
// earlier one can be taken for an acknowledgement of this one. It returns once
// the broker acknowledged our status.
func (m *mqttSender) Connect(ctx context.Context) (Conn, error) {
	c := newMQTTConn(m)
	if err := c.open(ctx, m.clientID(), true); err != nil {
		c.abort()
		return nil, err
	}
	if err := c.greet(ctx); err != nil {
		c.abort()
		return nil, err
	}
	c.start()
	return c, nil
}
