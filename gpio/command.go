package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fieldpost/edge"
)

// storeWithin is the longest that a command waits to be stored. An output obeys
// before that, so a full disk delays the answer and not the act.
const storeWithin = 5 * time.Second

// maxAsked is the longest value of a command that its event repeats.
const maxAsked = 1024

// Command does what cmd asks, on the caller's goroutine, and waits until that
// is stored. A given id acts once; its repeat returns what it did. The outcome
// says more than the error, which wraps edge.ErrNoDevice, ErrBadValue,
// ErrRefused or ErrAbsent. Where it acted and could not be stored in time, Why
// says so and the error is nil. Of an external device it waits for the client's
// answer too.
func (s *Source) Command(ctx context.Context, cmd edge.Command) (edge.Outcome, error) {
	given := cmd.ID != ""
	r, err := s.accept(&cmd)
	if err != nil {
		return refusal(cmd, err), err
	}
	if _, plays := r.dev.(player); !given && !plays { // a client names the command by its id
		out, told, err := s.act(r, cmd, nil, nil)
		out, _ = stored(ctx, out, told)
		return out, err
	}
	slot, earlier, err := s.commands.begin(ctx, cmd)
	switch {
	case err != nil:
		return refusal(cmd, err), err
	case earlier != nil:
		return *earlier, nil
	}
	out, told, err := s.once(ctx, r, cmd, slot)
	if slot.passed != nil {
		return slot.passed.wait(ctx)
	}
	out, durable := stored(ctx, out, told)
	slot.end(durable)
	return out, err
}

// onceVerbs do something else the second time.
var onceVerbs = []string{"toggle", "pulse", "send", "tare"}

// once acts for an id that never acted before. What would act differently the
// second time is recorded first.
func (s *Source) once(ctx context.Context, r *runner, cmd edge.Command, slot *commandSlot) (edge.Outcome, *Told, error) {
	_, plays := r.dev.(player) // it records the id with the event that the client acts on
	if !plays && slices.Contains(onceVerbs, cmd.Verb) {
		if err := s.judge(r, cmd); err != nil {
			return s.refuse(r, cmd, nil, slot, err)
		}
		if err := slot.record(ctx, s.opt.Pump); err != nil {
			out := refusal(cmd, err)
			r.out.Emit(commandReport(cmd, out, nil)) // not waited for: the store takes nothing now
			return out, nil, err
		}
	}
	return s.act(r, cmd, nil, slot)
}

// React does what cmd asks and waits for nothing: it is for rules, from inside
// the Pump's reaction to an event. cause is the ticket of that event. The id is
// not remembered, since a rule does not ask twice.
func (s *Source) React(cmd edge.Command, cause *edge.Ticket) (edge.Outcome, error) {
	r, err := s.accept(&cmd)
	if err != nil {
		return refusal(cmd, err), err
	}
	if _, plays := r.dev.(player); plays {
		return s.reactPassed(r, cmd, cause)
	}
	out, _, err := s.act(r, cmd, cause, nil)
	return out, err
}

// accept finds the device and refuses what can never be a command of it. Such a
// command is the caller's mistake and leaves no event.
func (s *Source) accept(cmd *edge.Command) (*runner, error) {
	r, ok := s.now().byName[cmd.Device]
	if !ok {
		return nil, fmt.Errorf("device %q: %w", cmd.Device, edge.ErrNoDevice)
	}
	c, ok := r.dev.(Commander)
	if !ok {
		return nil, fmt.Errorf("%w: %s is a %s and takes no commands", edge.ErrBadValue, cmd.Device, r.spec.Driver)
	}
	if verbs := c.Verbs(); !slices.Contains(verbs, cmd.Verb) {
		return nil, fmt.Errorf("%w: %s takes %s, not %q", edge.ErrBadValue, cmd.Device, strings.Join(verbs, ", "), cmd.Verb)
	}
	if len(cmd.ID) > maxCommandID || strings.ContainsFunc(cmd.ID, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("%w: an id has at most %d bytes and no control characters", edge.ErrBadValue, maxCommandID)
	}
	if !utf8.ValidString(cmd.ID) || !utf8.Valid(cmd.Value) || !utf8.Valid(cmd.If) { // no event could tell it
		return nil, fmt.Errorf("%w: a command is UTF-8", edge.ErrBadValue)
	}
	if cmd.ID == "" {
		cmd.ID = randomID()
	}
	if cmd.From == "" {
		cmd.From = "system:agent"
	}
	return r, nil
}

// judge refuses what a safe start, the time or the device's config forbids.
func (s *Source) judge(r *runner, cmd edge.Command) error {
	if why := s.Safe(); why != "" {
		return fmt.Errorf("%w: %s", edge.ErrRefused, why)
	}
	if cmd.Remote && !r.dev.(Commander).Remote() {
		return fmt.Errorf("%w: %s takes no commands from upstream; its config would say remote: true", edge.ErrRefused, cmd.Device)
	}
	if cmd.Expires.IsZero() {
		return nil
	}
	now, _, _ := s.opt.Clock.Time(s.opt.Clock.Stamp())
	if state, _ := s.opt.Clock.State(); state != edge.Synced {
		return fmt.Errorf("%w: it expires at %s and this board's clock is not synchronised", edge.ErrRefused, cmd.Expires.UTC().Format(time.RFC3339))
	}
	if now.After(cmd.Expires) {
		return fmt.Errorf("%w: it expired at %s", edge.ErrRefused, cmd.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// act judges, acts and tells what came of it. slot is set where the id has to be
// remembered.
func (s *Source) act(r *runner, cmd edge.Command, cause *edge.Ticket, slot *commandSlot) (edge.Outcome, *Told, error) {
	if err := s.judge(r, cmd); err != nil {
		return s.refuse(r, cmd, cause, slot, err)
	}
	var out edge.Outcome
	a := Action{ID: cmd.ID, Verb: cmd.Verb, Value: cmd.Value, If: cmd.If}
	if !cmd.Expires.IsZero() {
		now, _, _ := s.opt.Clock.Time(s.opt.Clock.Stamp())
		a.Within = cmd.Expires.Sub(now)
	}
	var p *passed
	if _, plays := r.dev.(player); plays {
		p = &passed{cmd: cmd, slot: slot, settled: make(chan struct{}), answered: make(chan struct{})}
		a.Later = p.settle
	}
	a.Tell = func(res Result) Report {
		if p != nil && res.Wanted != nil {
			out = waiting(cmd)
			s.desk.take(p)
			return passedReport(cmd, res, cause, slot)
		}
		out = edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb, Done: true, Value: res.Value, State: res.State}
		rep := commandReport(cmd, out, cause)
		if slot != nil {
			rep.rows = slot.finish(out)
		}
		return rep
	}
	res, err := r.do(a)
	r.out.Flush()
	if err != nil {
		return s.refuse(r, cmd, cause, slot, err)
	}
	return out, res.Told, nil
}

// refuse tells that a command did nothing, and why. A mistake of the caller's
// leaves no event. An id that was recorded stays used.
func (s *Source) refuse(r *runner, cmd edge.Command, cause *edge.Ticket, slot *commandSlot, err error) (edge.Outcome, *Told, error) {
	out := refusal(cmd, err)
	recorded := slot != nil && slot.recorded()
	if errors.Is(err, edge.ErrBadValue) && !recorded {
		return out, nil, err
	}
	rep := commandReport(cmd, out, cause)
	if recorded {
		rep.rows = slot.finish(out)
	}
	return out, r.out.Emit(rep), err
}

// refusal is the outcome of a command that did nothing.
func refusal(cmd edge.Command, err error) edge.Outcome {
	return edge.Outcome{ID: cmd.ID, Device: cmd.Device, Verb: cmd.Verb, Why: err.Error()}
}

// commandReport is the event that tells a command and what came of it.
func commandReport(cmd edge.Command, out edge.Outcome, cause *edge.Ticket) Report {
	more := []Field{{"id", quote(cmd.ID)}, {"verb", quote(cmd.Verb)}, {"done", boolean(out.Done)}}
	if len(cmd.Value) <= maxAsked && json.Valid(cmd.Value) {
		more = append(more, Field{"asked", cmd.Value})
	}
	if out.Why != "" {
		more = append(more, Field{"why", quote(out.Why)})
	}
	return Report{Kind: edge.Acted, Value: out.Value, State: out.State, More: more, from: cmd.From, causeID: cmd.Cause, cause: cause}
}

// stored waits until the event of a command is stored, and fills in its id. It
// reports whether it is.
func stored(ctx context.Context, out edge.Outcome, told *Told) (edge.Outcome, bool) {
	if told == nil {
		return out, false
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	ev, err := told.wait(ctx)
	if err == nil {
		out.Event = ev.ID()
		return out, true
	}
	if out.Done {
		out.Why = "it acted, and that is not stored yet: " + err.Error()
	}
	return out, false
}
