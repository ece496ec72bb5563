package gpiotest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"fieldpost/edge"
	fgpio "fieldpost/gpio"
)

// Decode reads a driver's example, which is the YAML of one device, into the
// driver's config struct, strictly, and gives the device's name.
type Decode func(example, driver string, into any) (name string, err error)

// Conform checks that a driver keeps the contract. alone says that it needs no
// hardware, and so is never absent.
func Conform(t *testing.T, d fgpio.Driver, alone bool, decode Decode) {
	if d.Name == "" || len(d.Doc) < 40 || !strings.HasSuffix(d.Doc, ".") || d.Example == "" || d.Config == nil || d.New == nil {
		t.Fatalf("driver %q: name, a doc of whole sentences, example, Config and New must be set", d.Name)
	}
	options := d.Config()
	name, err := decode(d.Example, d.Name, options)
	if err != nil {
		t.Fatalf("decode example %q: %v", d.Example, err)
	}
	spec := fgpio.Spec{Name: name, Driver: d.Name, Options: options}
	t.Run("runs and stops", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { runs(t, spec) })
	})
	t.Run("leaves and comes with a reload", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { reloads(t, spec) })
	})
	t.Run("answers commands", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { commands(t, spec) })
	})
	t.Run("refuses the options of another", func(t *testing.T) {
		wrong := spec
		wrong.Options = new(int)
		b := NewBench(t)
		if _, err := fgpio.NewSource(fgpio.SourceOptions{Specs: []fgpio.Spec{wrong}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock}); err == nil {
			t.Error("a *int is taken for its options")
		}
	})
	if !alone {
		t.Run("is absent without its hardware", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { absent(t, spec) })
		})
	}
}

// runs: it is ok on the bench, reports well-formed events, stops in a second
// with its lines let go of, leaves no goroutine (synctest holds that), and runs again.
func runs(t *testing.T, spec fgpio.Spec) {
	b := NewBench(t)
	s := b.Source(t, spec)
	for round := range 2 {
		stop := Start(t, s)
		Pass(time.Minute)
		touch(t, b, s, spec.Name)
		Pass(time.Minute)
		if d, _ := s.Device(spec.Name); d.Status != "ok" || d.Error != "" || len(d.Value) == 0 {
			t.Errorf("round %d: %+v", round, d)
		}
		if took := stop(); took > time.Second {
			t.Errorf("round %d: it took %s to stop", round, took)
		}
	}
	wellFormed(t, b.Pump.Events(""), spec.Name)
}

// wellFormed: there are events, and each is the device's, with a value and a time.
func wellFormed(t *testing.T, evs []edge.Event, device string) {
	t.Helper()
	if len(evs) == 0 {
		t.Error("it reported nothing")
	}
	for _, ev := range evs {
		var data struct{ Value json.RawMessage }
		if err := json.Unmarshal(ev.Data, &data); err != nil || data.Value == nil {
			t.Errorf("data %s: %v", ev.Data, err)
		}
		if ev.Name != device || ev.From != "device:"+device || ev.Mono == 0 {
			t.Errorf("event %+v", ev)
		}
	}
}

// reloads: it leaves while the others run on, lets go of its lines, and comes again.
func reloads(t *testing.T, spec fgpio.Spec) {
	b := NewBench(t)
	s := b.Source(t, spec)
	stop := Start(t, s)
	defer stop()
	Pass(time.Minute)
	d, _ := s.Device(spec.Name)
	swap := func(specs ...fgpio.Spec) {
		t.Helper()
		p, mistakes, busy := s.Plan(specs, nil)
		if p == nil {
			t.Fatal(mistakes, busy)
		}
		if err := p.Swap(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	for round := range 2 {
		swap()
		for _, p := range s.Pins() {
			if p.Owner != "" || p.Device != "" {
				t.Errorf("round %d: %s is held by %s", round, p.Name, p.Owner)
			}
		}
		if _, ok := s.Device(spec.Name); ok {
			t.Error("it is there")
		}
		swap(spec)
		Pass(time.Minute)
		touch(t, b, s, spec.Name)
		if again, _ := s.Device(spec.Name); again.Status != "ok" || again.Error != "" || len(again.Pins) != len(d.Pins) {
			t.Errorf("round %d: %+v", round, again)
		}
	}
}

// touch moves the device's inputs to and fro, once each: some have nothing to
// report before something happens.
func touch(t *testing.T, b *Bench, s *fgpio.Source, device string) {
	t.Helper()
	d, _ := s.Device(device)
	for _, pin := range d.Pins {
		level, err := b.Board.Level(edge.Pin(pin))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []bool{!level, level} {
			if b.Board.Drive(edge.Pin(pin), to) != nil {
				break // an output
			}
			Pass(100 * time.Millisecond)
		}
		_ = b.Board.Undrive(edge.Pin(pin))
	}
}

func commands(t *testing.T, spec fgpio.Spec) {
	b := NewBench(t)
	s := b.Source(t, spec)
	stop := Start(t, s)
	defer stop()
	synctest.Wait()
	answers(t, s, spec.Name, time.Minute)
}

// answers: each verb is answered, another one is the caller's mistake. The bench's pump
// never says that a command is stored: patience is how long each waits for that.
func answers(t *testing.T, s *fgpio.Source, device string, patience time.Duration) {
	t.Helper()
	d, _ := s.Device(device)
	for _, verb := range append(d.Commands, "no-such-verb") {
		for _, value := range []string{"", "true", `"1s"`, `{"a":[]}`} {
			cmd := edge.Command{Device: device, Verb: verb, From: "client:test"}
			if value != "" {
				cmd.Value = json.RawMessage(value)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			out, err := s.Command(ctx, cmd)
			cancel()
			switch {
			case out.Device != device || out.Verb != verb || out.Done != (err == nil):
				t.Errorf("%s %s: %+v, %v", verb, value, out, err)
			case err != nil && !errors.Is(err, edge.ErrBadValue) && !errors.Is(err, edge.ErrRefused):
				t.Errorf("%s %s: %v", verb, value, err)
			case err != nil && out.Why == "":
				t.Errorf("%s %s: refused without a reason", verb, value)
			case verb == "no-such-verb" && !errors.Is(err, edge.ErrBadValue):
				t.Errorf("%s: %v", verb, err)
			}
		}
	}
}

// absent: without hardware it says so, is retried, and does nothing else.
func absent(t *testing.T, spec fgpio.Spec) {
	b := NewBench(t)
	s, err := fgpio.NewSource(fgpio.SourceOptions{Specs: []fgpio.Spec{spec}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock,
		Lookup: func(string) gpio.PinIO { return nil }, Root: t.TempDir(),
		Serial: new(Peers).Serial, Dial: new(Peers).Dial})
	if err != nil {
		t.Fatal(err)
	}
	stop := Start(t, s)
	Pass(10 * time.Minute)
	d, _ := s.Device(spec.Name)
	if d.Status != "absent" || d.Error == "" || d.Restarts < 5 || d.Restarts > 40 {
		t.Errorf("after 10 minutes: %+v", d)
	}
	if evs := b.Pump.Events(""); len(evs) != 0 {
		t.Errorf("it reported %v", evs)
	}
	if took := stop(); took > time.Second {
		t.Errorf("it took %s to stop", took)
	}
}
