package localapi

import (
	"context"
	"encoding/json"
	"time"

	"fieldpost/edge"
)

// publish is one publish message that waits for its flush.
type publish struct {
	ref    []byte
	events []edge.Event
	weight int
}

// publishBatch bounds how many events a socket stores with one call.
const publishBatch = 1024

// publish takes a publish message and returns. It blocks while as much is in
// flight as there may be, and for the flush of a message that comes alone: then the
// client's next messages stay in its socket.
func (k *socket) publish(ctx context.Context, m *message) error {
	if !k.who.role.allows(roleWrite) {
		return forbidden("publish needs the role write, and the key %q has %s", k.who.name, k.who.role)
	}
	evs, err := k.events.message(m.rest)
	if err != nil {
		return err
	}
	w := publish{ref: m.ref, events: evs, weight: max(len(m.rest), len(evs)*windowEvent)}
	if k.quick.Load() && k.pipe.in.Buffered() == 0 && k.waiting.idle() {
		// Nothing else to read and nothing to be answered before it: waking the
		// publisher would cost more than this takes.
		return k.storeAll(ctx, []publish{w}, evs)
	}
	if !k.waiting.take(w.weight) {
		return errGone
	}
	select {
	case k.queue <- w:
		return nil
	case <-ctx.Done():
		return errGone
	}
}

// message reads the events of a publish message: one in its place, or a list.
func (p *publisher) message(rest []byte) ([]edge.Event, error) {
	var list []byte
	members := 0
	err := scanObject(rest, func(key, value, _ []byte) error {
		members++
		if string(key) == "events" {
			list = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if list == nil {
		ev, err := p.input(rest)
		if err != nil {
			return nil, err
		}
		return []edge.Event{ev}, nil
	}
	if members > 1 {
		return nil, badRequest("events: give a list, or one event's own keys, not both")
	}
	if len(list) == 0 || list[0] != '[' {
		return nil, badRequest("events: want an array")
	}
	return p.oneOrMany(list)
}

// publishAll stores what was published, as much as waits at a time, and answers
// in order.
func (k *socket) publishAll(ctx context.Context) {
	var work []publish
	for first := range k.queue {
		work = append(work[:0], first)
		evs := append([]edge.Event(nil), first.events...) // the pump keeps what it gets
		for more := true; more && len(evs) < publishBatch; {
			select {
			case next, ok := <-k.queue:
				if more = ok; ok {
					work, evs = append(work, next), append(evs, next.events...)
				}
			default:
				more = false
			}
		}
		err := k.storeAll(ctx, work, evs)
		for _, w := range work {
			k.waiting.give(w.weight)
		}
		clear(work)
		if err != nil {
			k.drop()
			return
		}
	}
}

// drop empties the queue when nobody can be answered any more, so that the
// reader does not wait for room.
func (k *socket) drop() {
	k.me.end()
	k.waiting.close()
	for range k.queue {
		continue
	}
}

// quickFlush is the most that a flush may have taken for the reader to wait for the
// next one itself: a slow disk must not hold up the commands behind a publish.
const quickFlush = 2 * time.Millisecond

// storeAll stores a batch and answers each of its messages.
func (k *socket) storeAll(ctx context.Context, work []publish, evs []edge.Event) error {
	began := time.Now()
	stored, err := k.s.Pump.Post(ctx, evs, edge.Idempotency{})
	k.quick.Store(time.Since(began) < quickFlush)
	k.pipe.hold()
	defer func() { _ = k.pipe.release() }() // a write that failed fails the next one, too
	if err != nil {
		p := notStored(err)
		for _, w := range work {
			if err := k.fail(w.ref, p); err != nil {
				return err
			}
		}
		return nil
	}
	k.s.meters.published.Add(len(stored))
	var buf []byte
	for _, w := range work {
		buf = appendOp(buf[:0], "published", w.ref)
		buf = appendReceipts(append(buf, `,"events":`...), stored[:len(w.events)])
		stored = stored[len(w.events):]
		if err := k.send(append(buf, '}')); err != nil {
			return err
		}
	}
	return nil
}

// subscribe begins to feed, in the place of what was subscribed to before.
func (k *socket) subscribe(ctx context.Context, m *message) error {
	var in subscription
	if err := decodeStrict(m.rest, &in); err != nil {
		return err
	}
	q, err := in.query(k.who, k.s.now)
	if err != nil {
		return err
	}
	k.stopFeed()
	k.stopFeed = func() {}
	k.after = q.After
	if err := k.answerAfter("subscribed", m.ref, q.After); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	out := &socketSink{k: k}
	f := &feed{log: k.s.Log, query: q, out: out, every: k.s.lim.beat, me: k.me}
	go func() {
		defer close(done)
		defer func() { _ = out.flush() }() // nothing may stay held back
		if err := f.run(ctx); err != nil && ctx.Err() == nil {
			_ = k.fail(nil, err)
			k.me.end()
		}
	}()
	k.stopFeed = func() {
		cancel()
		<-done
		k.after = f.query.After
	}
	return nil
}

func (k *socket) answerAfter(op string, ref []byte, after edge.Position) error {
	b := appendOp(nil, op, ref)
	b = appendPosition(append(b, `,"after":`...), after)
	return k.send(append(b, '}'))
}

// command does a command beside the reader, so that one that takes its time
// holds nothing else up.
func (k *socket) command(ctx context.Context, m *message) error {
	if !k.who.role.allows(roleWrite) {
		return forbidden("command needs the role write, and the key %q has %s", k.who.name, k.who.role)
	}
	var in commandMessage
	if err := decodeStrict(m.rest, &in); err != nil {
		return err
	}
	if !k.who.sees(in.Device) {
		return notFound("device %q: %v", in.Device, edge.ErrNoDevice)
	}
	return k.beside(m.ref, k.commands, func() (edge.Outcome, error) {
		return k.s.command(ctx, k.who, in.Device, in.Command, in.commandBody)
	})
}

// confirm takes what the client did with a command. Confirmations have a bound of
// their own: a client that both commands and plays must get through with them.
func (k *socket) confirm(ctx context.Context, m *message) error {
	if !k.who.role.allows(roleWrite) {
		return forbidden("confirm needs the role write, and the key %q has %s", k.who.name, k.who.role)
	}
	var in confirmMessage
	if err := decodeStrict(m.rest, &in); err != nil {
		return err
	}
	return k.beside(m.ref, k.confirms, func() (edge.Outcome, error) {
		return k.s.confirm(ctx, k.who, in.ID, in.confirmBody)
	})
}

// beside does something beside the reader, as long as places has one.
func (k *socket) beside(ref []byte, places chan struct{}, do func() (edge.Outcome, error)) error {
	select {
	case places <- struct{}{}:
	default:
		return busy("%d commands of this socket are being done", cap(places))
	}
	k.running.Go(func() {
		defer func() { <-places }()
		out, err := do()
		if err == nil {
			var b []byte
			if b, err = json.Marshal(out); err == nil {
				b = append(append(appendOp(nil, "result", ref), `,"outcome":`...), b...)
				_ = k.send(append(b, '}')) // a client that is gone is noticed by the reader
				return
			}
		}
		_ = k.fail(ref, err)
	})
	return nil
}

// socketSink writes what a feed reads as messages.
type socketSink struct {
	k    *socket
	buf  []byte
	held bool
}

func (o *socketSink) event(ev *edge.Event, after edge.Position) error {
	if !o.held {
		o.held = true
		o.k.pipe.hold()
	}
	o.buf = appendPosition(append(o.buf[:0], `{"op":"event","after":`...), after)
	o.buf = ev.AppendJSON(append(o.buf, `,"event":`...))
	return o.send()
}

func (o *socketSink) at(after edge.Position) error    { return o.control("at", after) }
func (o *socketSink) reset(after edge.Position) error { return o.control("reset", after) }

func (o *socketSink) control(op string, after edge.Position) error {
	o.buf = appendPosition(append(appendOp(o.buf[:0], op, nil), `,"after":`...), after)
	return o.send()
}

// beat tells the position again: each 15 s, whatever happens.
func (o *socketSink) beat() error { return o.control("at", o.k.me.position()) }

func (o *socketSink) send() error {
	err := o.k.send(append(o.buf, '}'))
	if err != nil {
		_ = o.flush()
	}
	return err
}

func (o *socketSink) flush() error {
	if !o.held {
		return nil
	}
	o.held = false
	if o.k.pipe.release() != nil {
		return errGone
	}
	return nil
}

// windowEvent is what an event counts at least, in bytes of a window.
const windowEvent = 1024

var _ sink = (*socketSink)(nil)
var _ sink = (*streamSink)(nil)
