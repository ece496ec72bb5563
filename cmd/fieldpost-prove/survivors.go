package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// counting counts each answer of a peer.
func counting(answer func() error, acked *atomic.Int64) func() error {
	return func() error {
		err := answer()
		if err == nil {
			acked.Add(1)
		}
		return err
	}
}

// lossWindow is how many events are in flight when the blow falls.
const lossWindow = 1000

type oursSurvivor struct {
	b     *bench
	agent *Agent
}

func (b *bench) oursSurvivor(_ context.Context, dir string) (survivor, error) {
	agent, err := newAgent(AgentOptions{Binary: b.binary, Dir: b.folder("survivor"), DataDir: dir})
	return &oursSurvivor{b, agent}, err
}

func (s *oursSurvivor) start(ctx context.Context) error { return s.b.firstAck(ctx, s.agent, less()) }
func (s *oursSurvivor) kill() error                     { return s.agent.Kill() }
func (s *oursSurvivor) close() {
	if s.agent.Proc != nil {
		_ = s.agent.Kill()
	}
}

func (s *oursSurvivor) load(acked *atomic.Int64, stop <-chan struct{}) error {
	conn, err := dialSocket(s.agent.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	frames := make([][]byte, len(s.b.corpus.lines))
	for i, l := range s.b.corpus.lines {
		frames[i] = publishFrame(l)
	}
	_, err = fillWindow(frames, lossWindow, conn.w, conn.r, counting(conn.published, acked), stop)
	return err
}

// count reads them all back: two are those of the starts.
func (s *oursSurvivor) count(ctx context.Context) (int, error) {
	items, err := readRing(ctx, s.agent, "samples")
	n := -2
	for _, e := range items {
		if e.Kind == "sample" {
			n++
		}
	}
	return n, err
}

type redisSurvivor struct {
	b     *bench
	dir   string
	addr  string
	redis *Redis
}

func (b *bench) redisSurvivor(_ context.Context, dir string) (survivor, error) {
	addr, err := freeAddr()
	return &redisSurvivor{b: b, dir: dir, addr: addr}, err
}

func (s *redisSurvivor) start(ctx context.Context) (err error) {
	s.redis, err = startRedis(ctx, s.dir, s.addr)
	return err
}
func (s *redisSurvivor) kill() error { return s.redis.Kill() }
func (s *redisSurvivor) close() {
	if s.redis != nil {
		_ = s.redis.Kill()
	}
}

func (s *redisSurvivor) load(acked *atomic.Int64, stop <-chan struct{}) error {
	conn, err := dialRedis(s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fillWindow(redisPushes(s.b.corpus), lossWindow, conn.w, conn.r, counting(conn.reply, acked), stop)
	return err
}

func (s *redisSurvivor) count(context.Context) (int, error) {
	conn, err := dialRedis(s.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.number("LLEN", "events")
}

// bridgeSurvivor is a mosquitto whose messages wait for a bridge. What it has shows
// when its line is up.
type bridgeSurvivor struct {
	b       *bench
	target  *Broker
	link    *Link
	counter *Counter
	edge    *Broker
}

func (b *bench) bridgeSurvivor(ctx context.Context, dir string, eachChange bool) (survivor, error) {
	s := &bridgeSurvivor{b: b}
	var err error
	if s.target, s.link, s.counter, err = b.target(ctx, 1<<30); err != nil {
		return nil, err
	}
	s.edge, err = newBroker(dir, "", &Bridge{To: s.link.Addr, EachChange: eachChange})
	return s, err
}

func (s *bridgeSurvivor) start(ctx context.Context) error { return s.edge.Start(ctx) }
func (s *bridgeSurvivor) kill() error                     { return s.edge.Kill() }
func (s *bridgeSurvivor) close() {
	if s.edge.Proc != nil {
		_ = s.edge.Kill()
	}
	s.link.Close()
	_ = s.target.Kill()
}

func (s *bridgeSurvivor) load(acked *atomic.Int64, stop <-chan struct{}) error {
	conn, err := dialMQTT(s.edge.Addr, "bench")
	if err != nil {
		return err
	}
	defer conn.Close()
	packets := make([][]byte, len(s.b.corpus.lines))
	for i, l := range s.b.corpus.lines {
		packets[i] = publishPacket(uint16(i+1), s.b.benchTopic(i), l)
	}
	answer := func() error { _, err := conn.puback(); return err }
	_, err = fillWindow(packets, lossWindow, conn.w, conn.r, counting(answer, acked), stop)
	return err
}

// publishPacket is a PUBLISH with QoS 1 as it goes over the wire.
func publishPacket(id uint16, topic string, payload []byte) []byte {
	b := appendLength([]byte{mqttPublish | 0x02}, 4+len(topic)+len(payload))
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint16(b, id)
	return append(b, payload...)
}

// count waits until no more comes: the bridge dials each second.
func (s *bridgeSurvivor) count(ctx context.Context) (int, error) {
	const quiet = 4 * time.Second
	s.link.Up()
	last, since := s.counter.Count(), time.Now()
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if n := s.counter.Count(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > quiet, nil
	})
	return last, err
}

type natsSurvivor struct {
	b    *bench
	nats *NATS
}

func (b *bench) natsSurvivor(dir string, always bool) (survivor, error) {
	n, err := newNATS(b.nats, natsOptions{dir: filepath.Clean(dir), domain: "edge", always: always})
	return &natsSurvivor{b, n}, err
}

func (s *natsSurvivor) start(ctx context.Context) error { return s.nats.StartReady(ctx) }
func (s *natsSurvivor) kill() error                     { return s.nats.Kill() }
func (s *natsSurvivor) close() {
	if s.nats.Proc != nil {
		_ = s.nats.Kill()
	}
}

func (s *natsSurvivor) load(acked *atomic.Int64, stop <-chan struct{}) error {
	return publishNATS(s.nats, s.b.corpus, lossWindow, -1, acked, stop)
}

func (s *natsSurvivor) count(ctx context.Context) (int, error) { return s.nats.count(ctx) }

// number runs a command whose answer is a number.
func (c *redisConn) number(args ...string) (int, error) {
	if _, err := c.w.Write(respCommand(args...)); err != nil {
		return 0, err
	}
	if err := c.w.Flush(); err != nil {
		return 0, err
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("read redis's reply: %w", err)
	}
	var n int
	if _, err := fmt.Sscanf(strings.TrimSpace(line), ":%d", &n); err != nil {
		return 0, fmt.Errorf("read redis's reply: %q is no number", line)
	}
	return n, nil
}
