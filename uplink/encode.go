package uplink

import (
	"fmt"

	"fieldpost/edge"
	"fieldpost/queue"
)

// slabSize is how much is allocated at once for encoded events: one allocation
// for a few hundred messages.
const slabSize = 64 << 10

// maxArray bounds a message of several events, so that common brokers' limits
// are kept even where events are large. One event alone may be larger.
const maxArray = 256 << 10

// message is one message to send: its bytes and the events it has.
type message struct {
	body   []byte
	covers queue.Range
	events int
	name   string // of its event, where it has one
	err    error  // Permanent: this event can't be sent, and body is nil
}

// encoder turns batches into messages. It is used by one goroutine.
type encoder struct {
	slab []byte
	most int // bytes a body may have; 0: no bound
}

// messages encodes a batch. What a message's body holds is never written again.
func (e *encoder) messages(b Batch, into []message) []message {
	for i := 0; i < len(b.Events); {
		m := message{covers: rangeOf(&b.Events[i]), name: b.Events[i].Name}
		if b.Per <= 1 {
			m.events = 1
			m.body = e.one(&b.Events[i])
		} else {
			m.body, m.events = e.array(b.Events[i:min(i+b.Per, len(b.Events))])
			m.covers.To = rangeOf(&b.Events[i+m.events-1]).To
		}
		if e.most > 0 && len(m.body) > e.most {
			m.body, m.err = nil, tooLarge(m.covers, len(m.body), e.most)
		}
		into = append(into, m)
		i += m.events
	}
	return into
}

// tooLarge is why an event can't be sent.
func tooLarge(at queue.Range, size, most int) error {
	return Permanent(fmt.Errorf("event %d takes %d bytes, the peer takes %d", at.From, size, most))
}

func (e *encoder) one(ev *edge.Event) []byte {
	start := e.room(sizeOf(ev))
	e.slab = ev.AppendJSON(e.slab)
	return e.slab[start:len(e.slab):len(e.slab)]
}

// array takes as many events as fit, at least one.
func (e *encoder) array(evs []edge.Event) (body []byte, n int) {
	limit := maxArray
	if e.most > 0 {
		limit = min(limit, e.most)
	}
	need := 2
	for i := range evs {
		need += sizeOf(&evs[i]) + 1
		if need > limit {
			need = limit
			break
		}
	}
	start := e.room(need)
	e.slab = append(e.slab, '[')
	for i := range evs {
		before := len(e.slab)
		if i > 0 {
			e.slab = append(e.slab, ',')
		}
		e.slab = evs[i].AppendJSON(e.slab)
		if n > 0 && len(e.slab)-start+1 > limit {
			e.slab = e.slab[:before]
			break
		}
		n++
	}
	e.slab = append(e.slab, ']')
	return e.slab[start:len(e.slab):len(e.slab)], n
}

// room makes room for need bytes and gives the place where they begin. A wrong
// guess only costs a copy.
func (e *encoder) room(need int) int {
	if cap(e.slab)-len(e.slab) < need {
		e.slab = make([]byte, 0, max(slabSize, need))
	}
	return len(e.slab)
}
