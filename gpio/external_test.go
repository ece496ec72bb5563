package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// lampRig is an external lamp that runs in a bubble.
type lampRig struct {
	*bench.Bench
	t    *testing.T
	spec gpio.Spec
	s    *gpio.Source
	stop func() time.Duration
}

func newLamp(t *testing.T, example string) *lampRig {
	r := &lampRig{Bench: bench.NewBench(t), t: t, spec: spec(t, "external", example)}
	r.start()
	r.Pump.Forget() // what it told of itself when it began
	return r
}

func (r *lampRig) start() {
	r.t.Helper()
	r.s = r.Source(r.t, r.spec)
	r.stop = bench.Start(r.t, r.s)
	synctest.Wait()
}

// asked is a command that somebody waits for.
type asked struct {
	done chan struct{}
	out  edge.Outcome
	err  error
	took time.Duration
}

func (r *lampRig) ask(cmd edge.Command) *asked {
	a := &asked{done: make(chan struct{})}
	cmd.Device = "lamp"
	began := time.Now()
	go func() {
		a.out, a.err = r.s.Command(context.Background(), cmd)
		a.took = time.Since(began)
		close(a.done)
	}()
	synctest.Wait()
	return a
}

func (r *lampRig) confirm(id, value, why string) (edge.Outcome, error) {
	c := edge.Confirmation{ID: id, Why: why, From: "client:app"}
	if value != "" {
		c.Value = json.RawMessage(value)
	}
	return r.s.Confirm(context.Background(), c)
}

func (r *lampRig) report(value string) error {
	// The bench's pump gives no numbers: what is told is looked at, not waited for.
	_, err := r.s.Report(context.Background(), "lamp", json.RawMessage(value), "client:app")
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// lines are the kept events, and the numbers of those that caused them.
func (r *lampRig) lines(want ...string) {
	r.t.Helper()
	got := strings.TrimSpace(r.Pump.Lines("lamp"))
	if w := strings.Join(want, "\n"); got != w {
		r.t.Errorf("got\n%s\nwant\n%s", got, w)
	}
}

// caused checks that an event follows from the one before it.
func (r *lampRig) caused(i int) {
	r.t.Helper()
	cause, ok := r.Pump.Cause(i)
	if before := r.Pump.Events("lamp")[i-1]; !ok || string(cause.Data) != string(before.Data) {
		r.t.Errorf("event %d is caused by %s (%v), want %s", i, cause.Data, ok, before.Data)
	}
}

func TestExternalIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLamp(t, "lamp: {external: {answer: 10s}}")
		defer func() { r.stop() }()
		a := r.ask(edge.Command{ID: "c1", Verb: "on", From: "client:panel"})
		r.lines(`command {"id":"c1","verb":"on","done":false,"wanted":true,"within":10}`)
		bench.Pass(9 * time.Second)
		if d, _ := r.s.Device("lamp"); string(d.Value) != "null" || d.State != "unknown" {
			t.Errorf("before it was confirmed: %+v", d)
		}
		out, err := r.confirm("c1", "", "")
		<-a.done
		if err != nil || !out.Done || string(out.Value) != "true" || out.State != "on" || a.err != nil || !a.out.Done || string(a.out.Value) != "true" {
			t.Errorf("confirm: %+v, %v; command: %+v, %v", out, err, a.out, a.err)
		}
		r.lines(`command {"id":"c1","verb":"on","done":false,"wanted":true,"within":10}`,
			`command {"value":true,"state":"on","id":"c1","verb":"on","done":true}`,
			`change {"value":true,"state":"on"}`)
		r.caused(1)
		r.caused(2)
		evs := r.Pump.Events("lamp")
		if evs[0].From != "client:panel" || evs[1].From != "client:app" || evs[2].From != "device:lamp" {
			t.Errorf("from %s, %s, %s", evs[0].From, evs[1].From, evs[2].From)
		}
		if d, _ := r.s.Device("lamp"); string(d.Value) != "true" || d.State != "on" || d.Error != "" {
			t.Errorf("after it: %+v", d)
		}
		// The same again is the same; another value is refused, and so is no such id.
		if out, err := r.confirm("c1", "true", ""); err != nil || !out.Done || !out.Repeat {
			t.Errorf("confirmed twice: %+v, %v", out, err)
		}
		if _, err := r.confirm("c1", "false", ""); !errors.Is(err, edge.ErrRefused) || !strings.Contains(err.Error(), "confirmed with true") {
			t.Errorf("confirmed otherwise: %v", err)
		}
		if _, err := r.confirm("c2", "", ""); !errors.Is(err, edge.ErrNoCommand) {
			t.Errorf("an id that was never given: %v", err)
		}
		if again := r.ask(edge.Command{ID: "c1", Verb: "on"}); !again.out.Done || !again.out.Repeat || len(r.Pump.Events("lamp")) != 3 {
			t.Errorf("the command again: %+v, %v", again.out, again.err)
		}
	})
}

// TestExternalVerbs: what each command asks of the client, and what it can't.
func TestExternalVerbs(t *testing.T) {
	for _, c := range []struct {
		is, verb, value, cond string
		wanted                string // "": refused
		err                   error
	}{
		{"true", "toggle", "", "", "false", nil},
		{"false", "toggle", "", "", "true", nil},
		{"40", "toggle", "", "", "", edge.ErrRefused},
		{"null", "toggle", "", "", "", edge.ErrRefused},
		{"null", "off", "", "", "false", nil},
		{"null", "set", " 40.5 ", "", "40.5", nil},
		{"null", "set", `"warm white"`, "", `"warm white"`, nil},
		{"null", "set", "", "", "", edge.ErrBadValue},
		{"null", "set", `{"a":1}`, "", "", edge.ErrBadValue},
		{"null", "set", "[]", "", "", edge.ErrBadValue},
		{"null", "set", "null", "", "", edge.ErrBadValue},
		{"null", "set", "1e999", "", "", edge.ErrBadValue},
		{"null", "set", `"` + strings.Repeat("x", 1023) + `"`, "", "", edge.ErrBadValue},
		{"null", "pulse", `"1s"`, "", "", edge.ErrBadValue},
		{"40", "set", "50", "40.0", "50", nil},
		{"40", "set", "50", "41", "", edge.ErrRefused},
		{"true", "off", "", `"ON"`, "false", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newLamp(t, "lamp: {external: {answer: 10s}}")
			if c.is != "null" {
				if err := r.report(c.is); err != nil {
					t.Fatal(err)
				}
			}
			cmd := edge.Command{ID: "c1", Verb: c.verb, Value: json.RawMessage(c.value), If: json.RawMessage(c.cond)}
			if c.cond == "" {
				cmd.If = nil
			}
			a := r.ask(cmd)
			var data struct {
				Wanted json.RawMessage
				Why    string
			}
			if evs := r.Pump.Events("lamp"); len(evs) > 0 {
				if err := json.Unmarshal(evs[len(evs)-1].Data, &data); err != nil {
					t.Error(err)
				}
			}
			if string(data.Wanted) != c.wanted {
				t.Errorf("%s %s while it is %s: wanted %s, not %s", c.verb, c.value, c.is, data.Wanted, c.wanted)
			}
			r.stop()
			<-a.done
			if c.wanted == "" && !errors.Is(a.err, c.err) {
				t.Errorf("%s %s while it is %s: %v", c.verb, c.value, c.is, a.err)
			}
		})
	}
}

// TestExternalIsNotConfirmed: in time, by a client that can't, by one that may not.
func TestExternalIsNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLamp(t, "lamp: {external: {answer: 2500ms, client: app}}")
		defer func() { r.stop() }()
		a := r.ask(edge.Command{ID: "late", Verb: "on"})
		if _, err := r.s.Confirm(t.Context(), edge.Confirmation{ID: "late", From: "client:other"}); !errors.Is(err, edge.ErrRefused) {
			t.Errorf("another client: %v", err)
		}
		if _, err := r.s.Report(t.Context(), "lamp", json.RawMessage("true"), "client:other"); !errors.Is(err, edge.ErrRefused) {
			t.Errorf("another client's report: %v", err)
		}
		<-a.done
		synctest.Wait()
		// The bench's pump numbers nothing, so the answer waits 5 s more for it.
		if !errors.Is(a.err, edge.ErrRefused) || a.out.Done || a.out.Why != "refused: not confirmed within 2.5s" || a.took != 7500*time.Millisecond {
			t.Errorf("%+v, %v after %s", a.out, a.err, a.took)
		}
		if d, _ := r.s.Device("lamp"); !strings.Contains(d.Error, "on was not confirmed within 2.5s") || d.Status != "ok" {
			t.Errorf("the device: %+v", d)
		}
		if _, err := r.confirm("late", "", ""); !errors.Is(err, edge.ErrRefused) || !strings.Contains(err.Error(), "not confirmed within 2.5s") {
			t.Errorf("confirmed after it: %v", err)
		}
		b := r.ask(edge.Command{ID: "cant", Verb: "off"})
		if out, err := r.confirm("cant", "", "the bulb is broken"); err != nil || out.Done || out.Why != "refused: its client says: the bulb is broken" {
			t.Errorf("a client that can't: %+v, %v", out, err)
		}
		<-b.done
		if !errors.Is(b.err, edge.ErrRefused) || b.out.Done {
			t.Errorf("its command: %+v, %v", b.out, b.err)
		}
		r.lines(`command {"id":"late","verb":"on","done":false,"wanted":true,"within":2.5}`,
			`command {"id":"late","verb":"on","done":false,"why":"refused: not confirmed within 2.5s"}`,
			`command {"id":"cant","verb":"off","done":false,"wanted":false,"within":2.5}`,
			`command {"id":"cant","verb":"off","done":false,"why":"refused: its client says: the bulb is broken"}`)
		r.caused(1)
		r.caused(3)
		if d, _ := r.s.Device("lamp"); d.Error != "" {
			t.Errorf("its client is back: %+v", d)
		}
	})
}

// TestExternalReload: what waits for the client of a device that a reload changes is over
// at once, once, with its reason; a label alone changes nothing.
func TestExternalReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLamp(t, "lamp: {external: {answer: 10s}}")
		defer func() { r.stop() }()
		r.Pump.Forget()
		a := r.ask(edge.Command{ID: "waits", Verb: "on"})
		same, other := spec(t, "external", "lamp: {external: {answer: 10s}}"), spec(t, "external", "lamp: {external: {answer: 5s}}")
		same.Label, other.Label = "The lamp", "The lamp"
		reload(t, r.s, same)
		select {
		case <-a.done:
			t.Fatalf("a label ended it: %+v", a.out)
		default:
		}
		reload(t, r.s, other)
		<-a.done
		if a.out.Done || !strings.Contains(a.out.Why, "a reload stopped the device") {
			t.Errorf("%+v, %v", a.out, a.err)
		}
		if _, err := r.confirm("waits", "", ""); !errors.Is(err, edge.ErrRefused) || !strings.Contains(err.Error(), "it is over") {
			t.Errorf("confirmed after it: %v", err)
		}
		r.lines(`command {"id":"waits","verb":"on","done":false,"wanted":true,"within":10}`,
			`command {"id":"waits","verb":"on","done":false,"why":"refused: not confirmed before the agent stopped, or a reload stopped the device"}`)
	})
}

// TestExternalRestart: what waits is told as not confirmed, after a stop and after a
// kill; the value stays.
func TestExternalRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLamp(t, "lamp: {external: {answer: 10s}}")
		if err := r.report("40"); err != nil {
			t.Fatal(err)
		}
		r.Pump.Forget()
		a := r.ask(edge.Command{ID: "stopped", Verb: "on"})
		if took := r.stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
		<-a.done
		if a.out.Done || !strings.Contains(a.out.Why, "before the agent stopped") {
			t.Errorf("%+v, %v", a.out, a.err)
		}
		r.start()
		b := r.ask(edge.Command{ID: "killed", Verb: "off"})
		r.Pump.Deaf(true)
		r.stop()
		<-b.done
		r.Pump.Deaf(false)
		r.start()
		defer func() { r.stop() }()
		r.lines(`command {"id":"stopped","verb":"on","done":false,"wanted":true,"within":10}`,
			`command {"id":"stopped","verb":"on","done":false,"why":"refused: not confirmed before the agent stopped, or a reload stopped the device"}`,
			`command {"id":"killed","verb":"off","done":false,"wanted":false,"within":10}`,
			`command {"id":"killed","verb":"off","done":false,"why":"refused: not confirmed before the agent was cut off"}`)
		if _, err := r.confirm("killed", "", ""); !errors.Is(err, edge.ErrRefused) || !strings.Contains(err.Error(), "is over") {
			t.Errorf("confirmed after it: %v", err)
		}
		if again := r.ask(edge.Command{ID: "killed", Verb: "off"}); again.out.Done || !again.out.Repeat {
			t.Errorf("asked again: %+v", again.out)
		}
		if d, _ := r.s.Device("lamp"); string(d.Value) != "40" || d.Status != "ok" {
			t.Errorf("after it: %+v", d)
		}
	})
}

// TestExternalReports: what the client says by itself is told, each time.
func TestExternalReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLamp(t, "lamp: {external: {answer: 10s}, states: {on: bright, off: dark}}")
		for _, value := range []string{"true", "true", "12.5", `"warm"`} {
			if err := r.report(value); err != nil {
				t.Errorf("%s: %v", value, err)
			}
		}
		for _, value := range []string{"", "null", "{}", "[1]", "x"} {
			if err := r.report(value); !errors.Is(err, edge.ErrBadValue) {
				t.Errorf("%q: %v", value, err)
			}
		}
		r.lines(`change {"value":true,"state":"bright","by":"client:app"}`, `change {"value":true,"state":"bright","by":"client:app"}`,
			`change {"value":12.5,"by":"client:app"}`, `change {"value":"warm","by":"client:app"}`)
		r.stop()
		if err := r.report("1"); !errors.Is(err, edge.ErrAbsent) {
			t.Errorf("while it does not run: %v", err)
		}
		if _, err := r.s.Report(t.Context(), "nobody", nil, ""); !errors.Is(err, edge.ErrNoDevice) {
			t.Errorf("no device: %v", err)
		}
	})
}

// TestExternalIsBounded: only so many commands wait, and a caller that leaves ends
// none of them.
func TestExternalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLamp(t, "lamp: {external: {answer: 10s}}")
		defer func() { r.stop() }()
		var all []*asked
		for i := range 16 {
			all = append(all, r.ask(edge.Command{ID: fmt.Sprint("c", i), Verb: "on"}))
		}
		full := r.ask(edge.Command{ID: "full", Verb: "on"})
		bench.Pass(5 * time.Second) // the bench's pump stores its refusal never
		if !errors.Is(full.err, edge.ErrRefused) || !strings.Contains(full.out.Why, "16 commands wait") {
			t.Errorf("one more: %+v, %v", full.out, full.err)
		}
		if _, err := r.confirm("c7", "", ""); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if out, err := r.s.Command(ctx, edge.Command{ID: "left", Device: "lamp", Verb: "off"}); !errors.Is(err, context.Canceled) || out.Done {
			t.Errorf("a caller that left: %+v, %v", out, err)
		}
		if out, err := r.confirm("left", "", ""); err != nil || !out.Done {
			t.Errorf("its command: %+v, %v", out, err)
		}
		if out, err := r.s.React(edge.Command{Device: "lamp", Verb: "on", From: "rule:night"}, nil); err != nil || out.Done || out.ID == "" {
			t.Errorf("a rule does not wait: %+v, %v", out, err)
		} else if out, err := r.confirm(out.ID, "", ""); err != nil || !out.Done {
			t.Errorf("a rule's command: %+v, %v", out, err)
		}
		for _, a := range all {
			<-a.done
		}
	})
}

func TestExternalOptions(t *testing.T) {
	for _, bad := range []string{"lamp: {external: {answer: 0s}}", "lamp: {external: {answer: 21s}}"} {
		b := bench.NewBench(t)
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "external", bad)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err == nil || !strings.Contains(err.Error(), "answer is") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
