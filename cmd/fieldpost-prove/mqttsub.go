package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// mqttSubscribe is the first byte of a SUBSCRIBE, with the flags that it has.
const mqttSubscribe = 0x82

// Listener is a subscriber with QoS 0 that tells of each payload as it comes:
// the receiver whose clock is the driver's own.
type Listener struct {
	conn *mqttConn
	done chan struct{}
}

// listenMQTT subscribes to a topic filter and calls got for each message, on a
// goroutine of its own, until Close. The payload is valid during the call only.
func listenMQTT(addr, id, filter string, got func(payload []byte)) (*Listener, error) {
	c, err := dialMQTT(addr, id)
	if err != nil {
		return nil, err
	}
	if err := c.subscribe(filter); err != nil {
		c.Close()
		return nil, fmt.Errorf("subscribe to %s at %s: %w", filter, addr, err)
	}
	l := &Listener{conn: c, done: make(chan struct{})}
	go l.read(got)
	return l, nil
}

// subscribe sends a SUBSCRIBE with QoS 0 and waits for its answer.
func (m *mqttConn) subscribe(filter string) error {
	body := append([]byte{0, 1, byte(len(filter) >> 8), byte(len(filter))}, filter...)
	m.w.WriteByte(mqttSubscribe)
	m.w.Write(appendLength(nil, len(body)+1))
	m.w.Write(append(body, 0))
	if err := m.w.Flush(); err != nil {
		return err
	}
	_ = m.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer m.SetReadDeadline(time.Time{})
	var ack [5]byte
	if _, err := io.ReadFull(m.r, ack[:]); err != nil {
		return err
	}
	if ack[0] != 0x90 || ack[4] > 2 {
		return fmt.Errorf("refused: %x", ack)
	}
	return nil
}

func (l *Listener) read(got func(payload []byte)) {
	defer close(l.done)
	var s splitter
	buf := make([]byte, 64<<10)
	for {
		n, err := l.conn.r.Read(buf)
		if n > 0 {
			bad := s.feed(buf[:n], func(first byte, body []byte) {
				if first&0xf0 != mqttPublish {
					return
				}
				if _, payload, _, err := parsePublish(first, body); err == nil {
					got(payload)
				}
			})
			if bad != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Close ends it and waits for its goroutine.
func (l *Listener) Close() {
	l.conn.Close()
	<-l.done
}

// first is a channel that gets the time of the first payload that comes once it
// is armed.
type first struct {
	armed chan struct{} // has a token while the next payload counts
	at    chan time.Time
}

func newFirst() *first {
	return &first{armed: make(chan struct{}, 1), at: make(chan time.Time, 1)}
}

// arm makes the next payload count.
func (f *first) arm() { f.armed <- struct{}{} }

// got takes a payload.
func (f *first) got([]byte) {
	select {
	case <-f.armed:
		f.at <- time.Now()
	default:
	}
}

// wait gives when it came.
func (f *first) wait(ctx context.Context, most time.Duration) (time.Time, error) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case at := <-f.at:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, context.Cause(ctx)
	case <-t.C:
		return time.Time{}, fmt.Errorf("nothing came in %v", most)
	}
}
