package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The first bytes of the MQTT 3.1.1 packets that the driver looks at.
const (
	mqttConnect = 0x10
	mqttPublish = 0x30
	mqttPuback  = 0x40
	mqttQoS     = 0x06
)

// mqttMost bounds one packet: more than any batch, less than what would hurt.
const mqttMost = 64 << 20

var errPacket = errors.New("not an MQTT packet")

// splitter cuts a stream of bytes, which comes in pieces of any size, into MQTT
// packets.
type splitter struct{ rest []byte }

// feed takes the next piece and calls packet for each whole packet, with its
// first byte and what follows the length. The body is valid during the call only.
func (s *splitter) feed(b []byte, packet func(first byte, body []byte)) error {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, b...)
		b = s.rest
	}
	for {
		size, head, err := packetSize(b)
		if err != nil {
			return err
		}
		if head == 0 || len(b) < head+size {
			break
		}
		packet(b[0], b[head:head+size])
		b = b[head+size:]
	}
	s.rest = append(s.rest[:0], b...)
	return nil
}

// packetSize reads a fixed header: the body's size and the header's own, which
// is 0 where more bytes are needed.
func packetSize(b []byte) (size, head int, err error) {
	shift := 0
	for i := 1; i < len(b); i++ {
		size |= int(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			if size > mqttMost {
				return 0, 0, errPacket
			}
			return size, i + 1, nil
		}
		if shift += 7; shift > 21 {
			return 0, 0, errPacket
		}
	}
	return 0, 0, nil
}

// parsePublish reads a PUBLISH; id is 0 where the QoS is 0.
func parsePublish(first byte, body []byte) (topic, payload []byte, id uint16, err error) {
	if len(body) < 2 {
		return nil, nil, 0, errPacket
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	if len(body) < n {
		return nil, nil, 0, errPacket
	}
	topic, body = body[:n], body[n:]
	if first&mqttQoS != 0 {
		if len(body) < 2 {
			return nil, nil, 0, errPacket
		}
		id, body = binary.BigEndian.Uint16(body), body[2:]
	}
	return topic, body, id, nil
}

// mqttConn is the least of an MQTT client: it connects and publishes with QoS 1.
type mqttConn struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

// dialMQTT connects with a clean session and no keepalive.
func dialMQTT(addr, id string) (*mqttConn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	m := &mqttConn{Conn: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}
	if err := m.connect(id); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to broker at %s: %w", addr, err)
	}
	return m, nil
}

func (m *mqttConn) connect(id string) error {
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0}, byte(len(id)>>8), byte(len(id)))
	body = append(body, id...)
	m.w.WriteByte(mqttConnect)
	m.w.Write(appendLength(nil, len(body)))
	m.w.Write(body)
	if err := m.w.Flush(); err != nil {
		return err
	}
	_ = m.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer m.SetReadDeadline(time.Time{})
	var ack [4]byte
	if _, err := io.ReadFull(m.r, ack[:]); err != nil {
		return err
	}
	if ack[3] != 0 {
		return fmt.Errorf("refused with code %d", ack[3])
	}
	return nil
}

// publish buffers one PUBLISH with QoS 1.
func (m *mqttConn) publish(id uint16, topic string, payload []byte) error {
	m.w.WriteByte(mqttPublish | 0x02)
	m.w.Write(appendLength(nil, 4+len(topic)+len(payload)))
	m.w.Write([]byte{byte(len(topic) >> 8), byte(len(topic))})
	m.w.WriteString(topic)
	m.w.Write([]byte{byte(id >> 8), byte(id)})
	_, err := m.w.Write(payload)
	return err
}

// puback reads until the next PUBACK and gives its id.
func (m *mqttConn) puback() (uint16, error) {
	var ack [4]byte
	if _, err := io.ReadFull(m.r, ack[:]); err != nil {
		return 0, err
	}
	if ack[0] != mqttPuback || ack[1] != 2 {
		return 0, fmt.Errorf("wait for PUBACK: %w: it begins with %x", errPacket, ack)
	}
	return binary.BigEndian.Uint16(ack[2:]), nil
}

// publishAll sends count payloads with at most window of them unacknowledged, and
// returns when all are acknowledged.
func (m *mqttConn) publishAll(count, window int, topic func(i int) string, payload func(i int) []byte) error {
	room := make(chan struct{}, window)
	read := make(chan error, 1)
	go func() {
		for range count {
			if _, err := m.puback(); err != nil {
				read <- err
				m.Close() // frees the writer
				return
			}
			<-room
		}
		read <- nil
	}()
	for i := range count {
		select {
		case room <- struct{}{}:
		default:
			if err := m.w.Flush(); err != nil {
				return err
			}
			select {
			case room <- struct{}{}:
			case err := <-read:
				return err
			}
		}
		if err := m.publish(uint16(i%65000)+1, topic(i), payload(i)); err != nil {
			return err
		}
	}
	if err := m.w.Flush(); err != nil {
		return err
	}
	return <-read
}

// appendLength appends the remaining length of a packet.
func appendLength(dst []byte, n int) []byte {
	for n > 127 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}
