package uplink

import (
	"fmt"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// publishing gives waves to the client, one message after the other.
func (c *mqttConn) publishing() {
	defer close(c.sent)
	for {
		select {
		case w := <-c.publish:
			w.tokens = make([]mqtt.Token, len(w.msgs))
			for i := range w.msgs {
				if c.over() {
					return
				}
				if w.msgs[i].err == nil {
					w.tokens[i] = c.client.Publish(w.topics[i], 1, w.retained, w.msgs[i].body)
				}
				w.msgs[i].body = nil
			}
			w.topics = nil
			select {
			case c.sent <- w:
			case <-c.dead:
				return
			}
		case <-c.dead:
			return
		}
	}
}

// acknowledging waits for tokens in order and tells what they cover.
func (c *mqttConn) acknowledging() {
	defer close(c.acks)
	for w := range c.sent {
		for next := 0; next < len(w.msgs); {
			a, n, err := c.acked(w, next)
			if err != nil {
				c.fail(err)
				return
			}
			next += n
			if w.ring == "" {
				continue
			}
			select {
			case c.acks <- a:
			case <-c.dead:
				return
			}
		}
	}
}

// acked waits for the message at next and takes along those behind it that are
// acknowledged by then and go on where it ends. n is how many messages it is.
func (c *mqttConn) acked(w *wave, next int) (a Ack, n int, err error) {
	first := &w.msgs[next]
	a = Ack{Ring: w.ring, Range: first.covers, Events: first.events, Err: first.err}
	if first.err != nil {
		return a, 1, nil
	}
	select {
	case <-w.tokens[next].Done():
	case <-c.dead:
		return a, 0, ErrNotConnected
	}
	if err := c.valid(w.tokens[next]); err != nil {
		return a, 0, err
	}
	for n = 1; next+n < len(w.msgs); n++ {
		m := &w.msgs[next+n]
		if m.err != nil || m.covers.From != a.Range.To+1 {
			break
		}
		select {
		case <-w.tokens[next+n].Done():
		default:
			return a, n, nil
		}
		if c.valid(w.tokens[next+n]) != nil {
			break
		}
		a.Range.To, a.Events = m.covers.To, a.Events+m.events
	}
	return a, n, nil
}

// valid reports whether a token that is done is an acknowledgement. One that was
// completed while the connection ended is not trusted.
func (c *mqttConn) valid(t mqtt.Token) error {
	if err := t.Error(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if c.over() {
		return ErrNotConnected
	}
	return nil
}
