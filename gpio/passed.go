package gpio

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"fieldpost/edge"
)

// passed is a command that a device passed on to the client that plays it. It ends
// when the client has answered or its time is over: the device sees to both.
type passed struct {
	cmd  edge.Command
	slot *commandSlot

	settled chan struct{} // closed when these are set
	out     edge.Outcome
	err     error
	told    *Told

	answered chan struct{} // closed when out is stored as well, or can't be in time
}

// passedDesk has the commands that wait for a client, by id.
type passedDesk struct {
	mu  sync.Mutex
	all map[string]*passed
}

func (d *passedDesk) find(id string) *passed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id]
}

// take takes a command that is on its way to its client. The id's slot ends with the
// command and not with its caller, who may leave before.
func (d *passedDesk) take(p *passed) {
	p.slot.passed = p
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all[p.cmd.ID] = p
	go func() {
		<-p.settled
		var durable bool
		p.out, durable = stored(context.Background(), p.out, p.told)
		p.slot.end(durable)
		d.mu.Lock()
		delete(d.all, p.cmd.ID)
		d.mu.Unlock()
		close(p.answered)
	}()
}

// settle is an Action's Later.
func (p *passed) settle(res Result, err error, from string) (Report, func(*Told)) {
	p.out, p.err = edge.Outcome{ID: p.cmd.ID, Device: p.cmd.Device, Verb: p.cmd.Verb, Done: true, Value: res.Value, State: res.State}, err
	if err != nil {
		p.out = refusal(p.cmd, err)
	}
	rep := commandReport(p.cmd, p.out, nil)
	rep.from, rep.causeID, rep.rows = from, "", p.slot.finish(p.out)
	return rep, func(t *Told) {
		p.told = t
		close(p.settled)
	}
}

// wait waits for what came of the command.
func (p *passed) wait(ctx context.Context) (edge.Outcome, error) {
	select {
	case <-p.answered:
		return p.out, p.err
	case <-ctx.Done():
		return waiting(p.cmd), fmt.Errorf("wait for the client of %s: %w", p.cmd.Device, ctx.Err())
	}
}

// waiting is the outcome of a command while its client has not answered.
func waiting(cmd edge.Command) edge.Outcome {
	return edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb, Why: "it waits for the client that plays " + cmd.Device}
}

// passedReport is the event that asks the client. The id is stored with it.
func passedReport(cmd edge.Command, res Result, cause *edge.Ticket, slot *commandSlot) Report {
	rep := commandReport(cmd, edge.Outcome{}, cause)
	rep.More = append(rep.More, Field{"wanted", res.Wanted}, Field{"within", number(res.Within.Seconds())})
	rep.rows = slot.rows()
	return rep
}

// reactPassed is React for a device that a client plays. The command gets an id of
// its own, by which the client names it.
func (s *Source) reactPassed(r *runner, cmd edge.Command, cause *edge.Ticket) (edge.Outcome, error) {
	cmd.ID = randomID()
	slot, _, err := s.commands.begin(context.Background(), cmd) // a new id waits for nobody
	if err != nil {
		return refusal(cmd, err), err
	}
	out, _, err := s.act(r, cmd, cause, slot)
	if slot.passed == nil {
		slot.end(false)
	}
	return out, err
}

// Asked is the device that a command was for, while its id is remembered.
func (s *Source) Asked(id string) (device string, ok bool) {
	if p := s.desk.find(id); p != nil {
		return p.cmd.Device, true
	}
	row, ok := s.commands.find(id)
	return row.Device, ok
}

// Confirm takes what the client that plays a device did with a command, and waits
// until that is stored. The same again gives the same outcome. The error wraps
// edge.ErrNoCommand, ErrBadValue, ErrAbsent, or ErrRefused: the command is over, or
// that client does not play the device. A client that says why it did nothing gets
// no error, and an outcome that is not Done.
func (s *Source) Confirm(ctx context.Context, c edge.Confirmation) (edge.Outcome, error) {
	out := edge.Outcome{ID: c.ID}
	device, ok := s.Asked(c.ID)
	if !ok {
		return out, fmt.Errorf("command %q: %w", c.ID, edge.ErrNoCommand)
	}
	out.Device = device
	r, dev, err := s.played(device)
	if err != nil {
		return out, err
	}
	p := s.desk.find(c.ID)
	took, err := dev.confirm(c.ID, c.Value, c.Why, c.From)
	r.out.Flush()
	switch {
	case err != nil:
		out.Why = err.Error()
		return out, err
	case !took:
		if p != nil { // it was settled just now: what it is answered with must be stored
			if _, err := p.wait(ctx); ctx.Err() != nil {
				return out, err
			}
		}
		return s.confirmed(out, c)
	case p == nil:
		return out, fmt.Errorf("command %q: %w", c.ID, edge.ErrNoCommand) // can't be: it waited
	}
	if out, err = p.wait(ctx); err != nil && ctx.Err() == nil {
		err = nil // the client's own words
	}
	return out, err
}

// confirmed answers for a command that waits no more.
func (s *Source) confirmed(out edge.Outcome, c edge.Confirmation) (edge.Outcome, error) {
	row, ok := s.commands.find(c.ID)
	if !ok {
		return out, fmt.Errorf("command %q: %w", c.ID, edge.ErrNoCommand)
	}
	out.Verb = row.Verb
	was := row.Outcome
	if was != nil && was.Done && c.Why == "" && (c.Value == nil || sameJSON(c.Value, was.Value)) {
		out = *was
		out.Repeat = true
		return out, nil
	}
	out.Why = "it waited while the agent stopped, and is over"
	switch {
	case was != nil && was.Done:
		out.Why = fmt.Sprintf("it was confirmed with %s", clip(was.Value))
	case was != nil:
		out.Why = "it is over: " + was.Why
	}
	return out, fmt.Errorf("%w: command %s: %s", edge.ErrRefused, c.ID, out.Why)
}

// Report takes what a device is now from the client that plays it, and waits until
// that is stored. The error wraps edge.ErrNoDevice, ErrBadValue, ErrRefused or
// ErrAbsent, or says why it could not be stored.
func (s *Source) Report(ctx context.Context, device string, value json.RawMessage, from string) (edge.Event, error) {
	r, dev, err := s.played(device)
	if err != nil {
		return edge.Event{}, err
	}
	told, err := dev.report(value, from)
	r.out.Flush()
	if err != nil {
		return edge.Event{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	return told.wait(ctx)
}

// played finds a device that a client plays.
func (s *Source) played(device string) (*runner, player, error) {
	r, ok := s.now().byName[device]
	if !ok {
		return nil, nil, fmt.Errorf("device %q: %w", device, edge.ErrNoDevice)
	}
	p, ok := r.dev.(player)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s is a %s, and no client plays it", edge.ErrBadValue, device, r.spec.Driver)
	}
	return r, p, nil
}

// sameJSON reports whether two texts are the same JSON.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
