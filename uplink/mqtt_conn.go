package uplink

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge"
)

// Times and sizes of an MQTT connection.
const (
	publishWithin = 2 * time.Second  // only a client whose connection just ended takes longer
	deafAfter     = 10 * time.Second // an unanswered ping
	wavesAhead    = 8                // batches between the parts of a connection
	topicsKept    = 1024             // topics of events, encoded once
	goodbyeMillis = 500              // for a DISCONNECT to be written
	packetHead    = 9                // bytes of a PUBLISH beside topic and message, at most
)

// mqttConn is one connection, with one client that lives as long as it does.
//
//	Send --encode--> publishing --tokens--> acknowledging --> Acks
//
// One goroutine publishes, so that the order of Send is the order on the wire.
// One waits for the tokens in the same order, so that nothing counts before what
// went before it.
type mqttConn struct {
	m      *mqttSender
	client mqtt.Client
	wire   *wire
	enc    encoder
	names  map[topicKey]string // of events

	publish chan *wave
	sent    chan *wave
	acks    chan Ack
	lost    chan error
	dead    chan struct{} // closed when nothing is acknowledged any more
	die     sync.Once
	parts   sync.WaitGroup
	desk    *commandDesk

	closing sync.Once
	closed  chan struct{}
}

// wave is a batch on its way.
type wave struct {
	ring     string // "": not of a batch, and told to nobody
	retained bool
	topics   []string
	msgs     []message
	tokens   []mqtt.Token
}

type topicKey struct{ ring, name string }

var (
	_ Conn     = (*mqttConn)(nil)
	_ unsenter = (*mqttConn)(nil)
	_ stater   = (*mqttConn)(nil)
	_ teller   = (*mqttConn)(nil)
)

func newMQTTConn(m *mqttSender) *mqttConn {
	c := &mqttConn{
		m: m, names: map[topicKey]string{},
		publish: make(chan *wave, wavesAhead), sent: make(chan *wave, wavesAhead),
		acks: make(chan Ack, 64), lost: make(chan error, 1),
		dead: make(chan struct{}), closed: make(chan struct{}),
	}
	c.desk = newCommandDesk(c)
	return c
}

// open dials and shakes hands. With will the broker says offline for us when the
// connection ends without a goodbye.
func (c *mqttConn) open(ctx context.Context, id string, will bool) error {
	conn, err := c.m.dial(ctx)
	if err != nil {
		return err
	}
	if conn, err = c.m.secure(ctx, conn); err != nil {
		return err
	}
	return c.handshake(ctx, conn, id, will)
}

// handshake makes the client on a connection that is open, which it owns from
// here on, and waits for the broker's CONNACK.
func (c *mqttConn) handshake(ctx context.Context, conn net.Conn, id string, will bool) error {
	c.wire = newWire(conn)
	opt := mqtt.NewClientOptions().
		AddBroker("tcp://" + c.m.broker.addr()).
		SetClientID(id).
		SetProtocolVersion(4). // else a refusal is tried again as 3.1
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetCleanSession(!will || !c.m.conf.Commands.Queue).
		SetOrderMatters(true). // handlers run in turn and must not block: ours does not
		SetAutoAckDisabled(true).
		SetWriteTimeout(publishWithin).
		SetConnectTimeout(connectWithin).
		SetKeepAlive(c.m.conf.KeepAlive.D()).
		SetPingTimeout(24 * time.Hour). // listen judges pings: it knows of falling queues
		SetStore(noStore{}).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c.wire, nil }).
		SetDefaultPublishHandler(c.desk.receive).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.fail(err) })
	if will {
		opt.SetBinaryWill(c.m.topics.status(), []byte("offline"), 1, true)
	}
	if c.m.conf.User != "" {
		opt.SetUsername(c.m.conf.User)
		if c.m.conf.Password.Set() {
			password, err := c.m.conf.Password.Reveal()
			if err != nil {
				return err
			}
			opt.SetPassword(password)
		}
	}
	c.client = mqtt.NewClient(opt)
	stop := context.AfterFunc(ctx, c.wire.abort)
	defer stop()
	token, _ := c.client.Connect().(*mqtt.ConnectToken)
	<-token.Done() // the wire ends with ctx, and the client with it
	err := token.Error()
	switch code := token.ReturnCode(); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case code >= 1 && code <= 5 && code != 3:
		// 1 protocol, 2 client id, 4 user or password, 5 not authorised: a human
		// has to change something. 3 is a broker that is busy.
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}

// greet says online, asks for commands, and returns once the broker has
// acknowledged both.
func (c *mqttConn) greet(ctx context.Context) error {
	if err := c.await(ctx, c.client.Publish(c.m.topics.status(), 1, true, "online")); err != nil {
		return fmt.Errorf("publish status: %w", err)
	}
	if c.m.env.Command == nil {
		return nil
	}
	token, _ := c.client.Subscribe(c.m.topics.commands(), 1, nil).(*mqtt.SubscribeToken)
	if err := c.await(ctx, token); err != nil {
		return fmt.Errorf("subscribe to commands: %w", err)
	}
	if token.Result()[c.m.topics.commands()] == 0x80 {
		c.m.env.Log.Warn("the broker does not let us subscribe to commands", "topic", c.m.topics.commands())
	}
	return nil
}

// await waits for the broker's answer.
func (c *mqttConn) await(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-c.dead:
		return ErrNotConnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start begins to take batches.
func (c *mqttConn) start() {
	c.parts.Go(c.publishing)
	c.parts.Go(c.acknowledging)
	c.parts.Go(c.listen)
	c.desk.start()
}

// Send encodes the batch and hands it on.
func (c *mqttConn) Send(ctx context.Context, b Batch) error {
	if b.Per > 1 {
		c.enc.most = c.room(c.topic(b.Ring, "", b.Per))
	}
	w := &wave{ring: b.Ring, msgs: c.enc.messages(b, make([]message, 0, len(b.Events)/max(b.Per, 1)+1))}
	w.topics = make([]string, len(w.msgs))
	for i := range w.msgs {
		m := &w.msgs[i]
		if m.err != nil {
			continue
		}
		w.topics[i] = c.topic(b.Ring, m.name, b.Per)
		if most := c.room(w.topics[i]); most > 0 && len(m.body) > most {
			m.body, m.err = nil, tooLarge(m.covers, len(m.body), most)
		}
	}
	return c.enqueue(ctx, w)
}

// room is how many bytes a message to a topic may have, so that its packet is not
// over max_packet; 0: there is no bound.
func (c *mqttConn) room(topic string) int {
	if c.m.conf.MaxPacket == 0 {
		return 0
	}
	return max(int(c.m.conf.MaxPacket)-len(topic)-packetHead, 1)
}

// enqueue hands a wave to the goroutine that publishes.
func (c *mqttConn) enqueue(ctx context.Context, w *wave) error {
	if c.over() {
		return ErrNotConnected // a select may choose the channel
	}
	select {
	case c.publish <- w:
		return nil
	case <-c.dead:
		return ErrNotConnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// topic is the topic of a message. Names are few and come again, so each is
// encoded once.
func (c *mqttConn) topic(ring, name string, per int) string {
	k := topicKey{ring, name}
	if per > 1 {
		k.name = ""
	}
	t, ok := c.names[k]
	if ok {
		return t
	}
	if t = c.m.topics.event(ring, name); per > 1 {
		t = c.m.topics.batch(ring)
	}
	if len(c.names) >= topicsKept {
		clear(c.names)
	}
	c.names[k] = t
	return t
}

// over reports whether the connection has ended.
func (c *mqttConn) over() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// listen ends a connection whose pings are not answered while nothing else comes
// in and what we wrote does not leave either.
func (c *mqttConn) listen() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, fell := 0, time.Now()
	for {
		select {
		case now := <-tick.C:
			c.wire.rest()
			n, err := c.wire.Unsent()
			if err == nil && n < last {
				fell = now
			}
			last = n
			if min(c.wire.deaf(now), now.Sub(fell)) > deafAfter {
				c.fail(errDeaf)
			}
		case <-c.dead:
			return
		}
	}
}

// fail ends the connection by itself, once.
func (c *mqttConn) fail(err error) {
	c.die.Do(func() {
		if err == nil {
			err = ErrNotConnected
		}
		c.lost <- err
		close(c.dead)
	})
}

// State publishes a device's current event, retained. It does not wait for the
// acknowledgement: the next connection publishes it again. Where there is none an
// empty message takes the retained one away (MQTT 3.1.1, 3.3.1.3).
func (c *mqttConn) State(ctx context.Context, device string, ev *edge.Event) error {
	if ev == nil {
		return c.beside(ctx, c.m.topics.state(device), true, nil)
	}
	return c.beside(ctx, c.m.topics.state(device), true, ev.AppendJSON(nil))
}

// About publishes what this agent is, retained.
func (c *mqttConn) About(ctx context.Context, about json.RawMessage) error {
	return c.beside(ctx, c.m.topics.about(), true, about)
}

// beside publishes what is of no batch. Too large a message would only cost the
// connection.
func (c *mqttConn) beside(ctx context.Context, topic string, retained bool, body []byte) error {
	if most := c.room(topic); most > 0 && len(body) > most {
		c.m.env.Log.Warn("not published: it is over max_packet", "topic", topic, "bytes", len(body))
		return nil
	}
	return c.enqueue(ctx, &wave{retained: retained, topics: []string{topic}, msgs: []message{{body: body}}})
}

func (c *mqttConn) Acks() <-chan Ack   { return c.acks }
func (c *mqttConn) Lost() <-chan error { return c.lost }

// Unsent is how many bytes the broker's kernel has not taken yet.
func (c *mqttConn) Unsent() (int, error) { return c.wire.Unsent() }

// Close publishes offline, as the will does not after a goodbye, and ends all.
func (c *mqttConn) Close(ctx context.Context) error {
	var err error
	c.closing.Do(func() {
		defer close(c.closed)
		if ctx.Err() == nil && c.client.IsConnectionOpen() {
			err = c.await(ctx, c.client.Publish(c.m.topics.status(), 1, true, "offline"))
			if err == nil {
				c.client.Disconnect(goodbyeMillis)
			}
		}
		c.abort()
	})
	<-c.closed
	return err
}

// abort ends all without any courtesy and waits for the goroutines.
func (c *mqttConn) abort() {
	c.die.Do(func() { close(c.dead) })
	if c.wire != nil {
		c.wire.abort()
	}
	if c.client != nil {
		c.client.Disconnect(goodbyeMillis) // returns at once where the wire is gone
	}
	c.desk.stop()
	c.parts.Wait()
	if c.wire != nil {
		<-c.wire.done
	}
}
