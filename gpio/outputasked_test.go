package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/queue"
)

// command gives a random command, new or again.
func (s *stream) command(o *out) {
	cmd := s.random(o)
	if cmd.ID != "" && s.ids[cmd.ID] != nil && s.chance(3) {
		cmd.Device, cmd.Verb = s.ids[cmd.ID].cmd.Device, s.ids[cmd.ID].cmd.Verb // the same again
		cmd.Value = s.ids[cmd.ID].cmd.Value
		o = s.w.byName[cmd.Device]
	}
	if s.chance(30) {
		cmd.Device = "ghost"
	}
	p := s.w.proc
	s.w.mu.Lock()
	reasons := s.reasons(o, cmd)
	was := o.on
	now, ghost := s.w.clock.Stamp(), cmd.Device == "ghost"
	for _, o := range s.w.outs {
		o.jumped = queue.Stamp{}
	}
	s.w.say("%s %s %s value %s if %s id %q remote %v expires %v: expect %v", cmd.From, cmd.Device, cmd.Verb, cmd.Value, cmd.If, cmd.ID, cmd.Remote, !cmd.Expires.IsZero(), reasons)
	s.w.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res, err := p.source.Command(ctx, cmd)
	synctest.Wait()

	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	moved := o.jumped == now && !ghost
	s.w.say("  done %v value %s repeat %v why %q err %v", res.Done, res.Value, res.Repeat, res.Why, err)
	if p.dead {
		s.remember(cmd, edge.Outcome{}, moved, true)
		o.unsure = o.unsure || moved
		return
	}
	if ghost {
		if res.Done || !errors.Is(err, edge.ErrNoDevice) || res.Why == "" {
			s.w.fault("a device that is not there: %+v, %v", res, err)
		}
		return
	}
	if s.repeats(cmd, res, err, moved, o) {
		return
	}
	s.judge(o, res, err, reasons)
	if !res.Done && moved && len(s.w.rules) == 0 {
		s.w.fault("%s: refused, and the line moved", o.name)
	}
	if res.Done && len(s.w.rules) == 0 && (moved != (string(res.Value) != string(boolText(was))) || moved && o.jump != !was) {
		s.w.fault("%s: it was %v, the command gave %s, and the line moved: %v", o.name, was, res.Value, moved)
	}
	s.answered(o, cmd, res, err, nil)
	s.remember(cmd, res, moved, false)
}

// judge compares an answer with what the rules say.
func (s *stream) judge(o *out, res edge.Outcome, err error, reasons []string) {
	sure := len(reasons) == 0 || reasons[0] != "?"
	switch {
	case !res.Done && (res.Why == "" || err == nil):
		s.w.fault("%s: refused without a reason: %+v, %v", o.name, res, err)
	case res.Done && err != nil:
		s.w.fault("%s: done, with an error: %v", o.name, err)
	case sure && res.Done && len(reasons) > 0:
		s.w.fault("%s: done, in spite of %v", o.name, reasons)
	case sure && !res.Done && len(reasons) == 0:
		s.w.fault("%s: refused for nothing: %s", o.name, res.Why)
	case sure && !res.Done:
		for _, r := range reasons {
			if strings.Contains(res.Why, r) {
				return
			}
		}
		s.w.fault("%s: refused because of %v, and it says %q", o.name, reasons, res.Why)
	}
}

// answered notes what an answer promises.
func (s *stream) answered(o *out, cmd edge.Command, res edge.Outcome, err error, cause *edge.Ticket) {
	bad := errors.Is(err, edge.ErrBadValue) // the caller's mistake; an event tells it where its id was recorded
	o.calls = append(o.calls, call{res.ID, cmd.From, res.Done, bad, cause})
	if res.Event != "" {
		o.tickets = nil // who is answered so may rely on it
	}
}

// accept notes what a command that was done promises.
func (o *out) accept(t *tale) {
	o.want, o.mayBoot, o.pulse = string(t.data.Value) == "true", false, 0
	if o.held && o.want != o.on && o.since != o.w.clock.Stamp() { // a deadline of this instant may follow
		o.w.fault("%s: a command is told as done with %s, and the line is %v", o.name, t.data.Value, o.on)
	}
	var d edge.Duration
	var text string
	if t.data.Verb == "pulse" && json.Unmarshal(t.data.Asked, &text) == nil && d.UnmarshalText([]byte(text)) == nil {
		o.pulse = o.age(o.since) + d.D()
	}
}

// repeats holds the answer to a known id against the first, and reports whether that is
// all there is to it.
func (s *stream) repeats(cmd edge.Command, res edge.Outcome, err error, moved bool, o *out) bool {
	r := s.ids[cmd.ID]
	if r == nil || cmd.ID == "" {
		return false
	}
	if errors.Is(err, edge.ErrBadValue) {
		return false // it can be no command, whatever its id
	}
	other := r.cmd.Device != cmd.Device || r.cmd.Verb != cmd.Verb
	again := cmd.Verb == "toggle" || cmd.Verb == "pulse"
	switch {
	case again && r.moved && !other && (moved || res.Done && !res.Repeat):
		s.w.fault("%s: %s acted twice on id %s", cmd.Device, cmd.Verb, cmd.ID)
	case r.kept && other && !(res.Why != "" && err != nil && !moved):
		s.w.fault("%s: the id %s was another's: %+v, %v", cmd.Device, cmd.ID, res, err)
	case r.kept && !other && (!res.Repeat || res.Done != r.first.Done || string(res.Value) != string(r.first.Value) || moved):
		s.w.fault("%s: id %s again: %+v, first %+v, moved %v", cmd.Device, cmd.ID, res, r.first, moved)
	}
	if !res.Repeat && !((other || r.lost) && !res.Done && strings.Contains(res.Why, "was used for")) {
		return false
	}
	if !r.kept && !r.lost && r.first.ID == "" {
		s.w.fault("%s: id %s never acted, and is told as a repeat", cmd.Device, cmd.ID)
	}
	if res.Repeat && !res.Done && res.Why == "" || moved {
		s.w.fault("%s: a repeat without a reason, or with an effect: %+v", o.name, res)
	}
	return true
}

// remember notes an id.
func (s *stream) remember(cmd edge.Command, res edge.Outcome, moved, lost bool) {
	if cmd.ID == "" {
		return
	}
	r := s.ids[cmd.ID]
	if r == nil {
		r = &record{cmd: cmd}
		s.ids[cmd.ID] = r
	}
	if r.first.ID == "" && !r.lost {
		r.cmd = cmd
	}
	r.moved = r.moved || moved
	r.lost = r.lost || lost || strings.Contains(res.Why, "record")
	if res.Done {
		r.first, r.kept, r.cmd = res, true, cmd
	}
	if once := cmd.Verb == "toggle" || cmd.Verb == "pulse"; once && !res.Done {
		r.lost = true // it may have been recorded before it was refused
	}
}

// reasons are why a command must be refused; "?": perhaps it is.
func (s *stream) reasons(o *out, cmd edge.Command) (all []string) {
	add := func(refused bool, why string) {
		if refused {
			all = append(all, why)
		}
	}
	now, _, _ := s.w.clock.Time(s.w.clock.Stamp())
	add(s.w.safe(), "it crashed")
	add(cmd.Remote && !o.cfg.Remote, "takes no commands from upstream")
	add(!cmd.Expires.IsZero() && !s.ok, "not synchronised")
	add(!cmd.Expires.IsZero() && s.ok && now.After(cmd.Expires), "it expired")
	add(!o.held, "not held")
	add(o.held && cmd.If != nil && string(cmd.If) != string(boolText(o.on)), ", not ")
	level, ok := true, true
	switch cmd.Verb {
	case "off":
		level = false
	case "toggle":
		level = !o.on
	case "set":
		level, ok = map[string]bool{"true": true, `"ON"`: true, "1": true}[string(cmd.Value)], !strings.Contains(string(cmd.Value), "purple")
		add(!ok, "it takes")
	case "pulse":
		var d edge.Duration
		var text string
		ok = json.Unmarshal(cmd.Value, &text) == nil && d.UnmarshalText([]byte(text)) == nil && d > 0
		add(!ok, "pulse takes")
		add(ok && o.cfg.MaxOn > 0 && d > o.cfg.MaxOn, "over max_on")
	case "explode":
		add(true, "it takes")
		add(true, "takes on, off")
	}
	if set := o.cfg.Offline.Set == "on"; o.cfg.Offline.After > 0 && level != set {
		add(o.surelyOffline(), "no uplink")
		if !o.surelyOffline() && o.maybeOffline() {
			return append([]string{"?"}, all...)
		}
	}
	if level && !o.on {
		switch bar := o.bar(); bar {
		case "?":
			return append([]string{"?"}, all...)
		case "uplink", "":
		default:
			add(true, bar)
		}
	}
	add(o.fails > 0, unix.EIO.Error())
	if s.w.full && cmd.ID != "" && (cmd.Verb == "toggle" || cmd.Verb == "pulse") {
		add(true, "record")
	}
	return all
}

// random makes a command.
func (s *stream) random(o *out) edge.Command {
	cmd := edge.Command{Device: o.name, From: one(s, "client:app", "uplink:cloud", "rule:night")}
	cmd.Verb = one(s, "on", "on", "off", "toggle", "pulse", "set")
	if s.chance(25) {
		cmd.Verb = "explode"
	}
	switch cmd.Verb {
	case "pulse":
		cmd.Value = json.RawMessage(one(s, `"2s"`, `"45s"`, `"5m"`, `"20m"`))
		if s.chance(8) {
			cmd.Value = json.RawMessage(one(s, `"-1s"`, `90`, `"soon"`, `{`, ``))
		}
	case "set":
		cmd.Value = json.RawMessage(one(s, "true", "false", `"ON"`, `"off"`, "1", "0"))
		if s.chance(8) {
			cmd.Value = json.RawMessage(one(s, `"purple"`, `{"purple":1}`, `[purple`))
		}
	}
	if s.chance(2) {
		cmd.ID = fmt.Sprint("id", s.IntN(12))
	}
	if s.chance(5) {
		cmd.If = json.RawMessage(one(s, "true", "false"))
	}
	if s.chance(5) {
		now, _, _ := s.w.clock.Time(s.w.clock.Stamp())
		cmd.Expires = now.Add(time.Duration(one(s, -3600, -1, 0, 1, 3600)) * time.Second)
	}
	cmd.Remote = strings.HasPrefix(cmd.From, "uplink:")
	return cmd
}
