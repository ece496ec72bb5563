package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// stateTable holds the devices' durable states, by driver and name.
const stateTable = "outputs"

// stateRow is one row of it.
type stateRow struct {
	At    *queue.Stamp    `json:"at,omitempty"` // when the value was reported last
	State json.RawMessage `json:"state"`        // the device's own
}

// Outlet is where a device's reports leave. It keeps their order, also where
// the loop and commands report at once: who finds it idle emits all that waits,
// and everybody else's Queue and Flush return at once. So a rule that reacts to
// a device's report may command the same device again.
type Outlet struct {
	spec  Spec // but for name and driver the mutex guards it
	pump  emitter
	rows  rows
	clock Clock
	tap   *tap

	mu       sync.Mutex
	queue    []queued
	emitting bool
	idle     chan struct{} // closed once nobody emits; nil: nobody waits for that
	stored   []byte        // the newest stateRow, stored or on its way
	status   status
	tried    func() // called when it works, or failed; may be nil
}

// queued is a report that waits to be emitted.
type queued struct {
	event edge.Event
	from  *Told        // its cause, or
	cause *edge.Ticket // its cause
	rows  []queue.Row
	told  *Told
}

// Told is a report that was queued: another can name it as its cause.
type Told struct {
	emitted chan struct{} // closed when ticket is set
	ticket  *edge.Ticket
}

// Ticket waits until the report was emitted, which no disk holds up.
func (t *Told) Ticket() *edge.Ticket {
	<-t.emitted
	return t.ticket
}

// wait waits until the event is stored and gives it.
func (t *Told) wait(ctx context.Context) (edge.Event, error) {
	select {
	case <-t.emitted:
	case <-ctx.Done():
		return edge.Event{}, ctx.Err()
	}
	select {
	case <-t.ticket.Done():
		return t.ticket.Event()
	case <-ctx.Done():
		return edge.Event{}, ctx.Err()
	}
}

// event is the stored event, false while it is not stored.
func (t *Told) event() (edge.Event, bool) {
	select {
	case <-t.emitted:
	default:
		return edge.Event{}, false
	}
	select {
	case <-t.ticket.Done():
		ev, err := t.ticket.Event()
		return ev, err == nil
	default:
		return edge.Event{}, false
	}
}

// status is what is known of a running device. The outlet's mutex guards it.
type status struct {
	status   string // starting, ok, absent, failed
	err      error
	restarts uint64
	lost     uint64
	value    json.RawMessage
	state    string
	unit     string
	since    *queue.Stamp
	told     *Told // the report that gave the value
}

// Emit hands on a report: Queue and Flush.
func (o *Outlet) Emit(r Report) *Told {
	t := o.Queue(r)
	o.Flush()
	return t
}

// Queue gives a report its place in the order. It may be called under the
// device's own lock; Flush may not.
func (o *Outlet) Queue(r Report) *Told {
	if r.Kind == "" {
		r.Kind = edge.Change
	}
	if r.from == "" {
		r.from = "device:" + o.spec.Name
	}
	stamp := o.clock.Stamp()
	if r.Mono == 0 {
		r.Mono = stamp.Mono
	}
	stamp.Mono = r.Mono
	q := queued{
		event: edge.Event{Name: o.spec.Name, Kind: r.Kind, Mono: r.Mono, From: r.from, Cause: r.causeID, Data: r.data()},
		from:  r.Cause, cause: r.cause, rows: r.rows, told: &Told{emitted: make(chan struct{})},
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	q.event.Ring = o.spec.Ring
	switch r.Kind {
	case edge.Loss:
		o.status.lost += r.Count
	case edge.Change, edge.Sample:
		o.status.value, o.status.state, o.status.unit = r.Value, r.State, r.Unit
		o.status.since, o.status.told = &stamp, q.told
	}
	if r.Store != nil {
		o.store(r.Store, &q)
	}
	o.queue = append(o.queue, q)
	return q.told
}

// store adds the device's state to a report. The caller holds o.mu.
func (o *Outlet) store(state any, q *queued) {
	b, err := json.Marshal(state)
	if err == nil {
		b, err = json.Marshal(stateRow{o.status.since, b})
	}
	if err != nil {
		return // a driver's state is plain numbers and words, so this can't be
	}
	o.stored = b
	q.rows = append(q.rows, queue.Row{Table: stateTable, Key: o.key(), Value: b})
}

// Keep stores a device's state where there is nothing to tell. It does not wait
// for the flush; it fails where the store can't take it now. Who reports through
// the outlet from several goroutines stores with the reports alone: those keep
// the order.
func (o *Outlet) Keep(state any) error {
	var q queued
	o.mu.Lock()
	o.store(state, &q)
	o.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what waits for its flush is stored though nobody waits
	if err := o.pump.Commit(ctx, q.rows...); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Flush emits what was queued, in order. It never blocks on a disk.
func (o *Outlet) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.emitting {
		return
	}
	o.emitting = true
	defer func() {
		o.emitting = false
		if o.idle != nil {
			close(o.idle)
			o.idle = nil
		}
	}()
	for len(o.queue) > 0 {
		q := o.queue[0]
		o.queue = o.queue[1:]
		o.emit(q)
	}
	o.queue = nil
}

// drain waits until all that was queued is emitted, whoever does that: a reaction may
// hold it up.
func (o *Outlet) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.emitting {
		if o.idle == nil {
			o.idle = make(chan struct{})
		}
		idle := o.idle
		o.mu.Unlock()
		<-idle
		o.mu.Lock()
	}
}

// emit hands one report to the Pump without the lock, since the Pump reacts
// before it queues.
func (o *Outlet) emit(q queued) {
	o.mu.Unlock()
	defer o.mu.Lock()
	if q.from != nil {
		q.cause = q.from.Ticket()
	}
	q.told.ticket = o.pump.EmitWith(q.event, q.cause, q.rows...)
	close(q.told.emitted)
}

// Ready says that the hardware is there and works.
func (o *Outlet) Ready() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.status, o.status.err = "ok", nil
	if o.tried != nil {
		o.tried()
	}
}

// Doubt says what is wrong with a device that goes on; nil takes it back.
func (o *Outlet) Doubt(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.err = err
}

// Show sets the value that the status shows where it needs no report, since it
// is the one that was reported last.
func (o *Outlet) Show(value json.RawMessage, state, unit string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.value, o.status.state, o.status.unit = value, state, unit
}

// Stored decodes the device's durable state into a pointer; false, and the zero
// value, where there is none that it can read.
func (o *Outlet) Stored(into any) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.stored
	if b == nil {
		var ok bool
		if b, ok = o.rows.Get(stateTable, o.key()); !ok {
			return false
		}
	}
	var row stateRow
	if json.Unmarshal(b, &row) != nil || json.Unmarshal(row.State, into) != nil {
		reflect.ValueOf(into).Elem().SetZero() // it may be half filled
		return false
	}
	o.status.since = row.At
	return true
}

// key names the device's row: another driver under the same name has its own.
func (o *Outlet) key() string { return o.spec.Driver + "/" + o.spec.Name }

// fail notes why the device stopped.
func (o *Outlet) fail(how string, err error) (changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	changed = o.status.status != how || o.status.err == nil || o.status.err.Error() != err.Error()
	o.status.status, o.status.err = how, err
	o.status.restarts++
	if o.tried != nil {
		o.tried()
	}
	return changed
}

// begin notes that a run begins, and calls tried once the device works or failed.
func (o *Outlet) begin(tried func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.status, o.status.err, o.tried = "starting", nil, tried
}

// relabel takes what is told of the device from another spec of it.
func (o *Outlet) relabel(spec Spec) {
	o.mu.Lock()
	defer o.mu.Unlock()
	to := &o.spec // name and driver are the same, and read without the lock
	to.Label, to.Room, to.Tags, to.At, to.Ring, to.Options = spec.Label, spec.Room, spec.Tags, spec.At, spec.Ring, spec.Options
}

// inherit goes on with the durable state of another outlet of the same device,
// which may not have reached the store yet.
func (o *Outlet) inherit(from *Outlet) {
	if o == from || o.key() != from.key() {
		return
	}
	from.mu.Lock()
	stored, lost, restarts := from.stored, from.status.lost, from.status.restarts
	from.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stored, o.status.lost, o.status.restarts = stored, lost, restarts
}

// device is the status as others see it.
func (o *Outlet) device() edge.DeviceStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.status
	d := edge.DeviceStatus{Name: o.spec.Name, Driver: o.spec.Driver, Label: o.spec.Label, Room: o.spec.Room, Tags: o.spec.Tags,
		Ring: o.spec.Ring, At: o.spec.At, Status: s.status, Restarts: s.restarts, Lost: s.lost, Value: s.value, State: s.state, Unit: s.unit}
	if s.err != nil {
		d.Error = s.err.Error()
	}
	if s.since != nil {
		t, _, _ := o.clock.Time(*s.since)
		d.Since = new(time.Time)
		*d.Since = t
	}
	if s.told != nil {
		if ev, ok := s.told.event(); ok {
			d.Event = ev.ID()
		}
	}
	return d
}
