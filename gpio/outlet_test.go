package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
	"fieldpost/queue"
)

// TestOrderIsThatOfTheActs: whoever commands at once, the changes are told in the
// order in which the line moved, each once.
func TestOrderIsThatOfTheActs(t *testing.T) {
	b := bench.NewBench(t)
	s := b.Source(t, spec(t, "digital_out", "pump: {digital_out: GPIO27}"))
	stop := bench.Start(t, s)
	defer stop()
	poll(t, "pump", func() bool { d, _ := s.Device("pump"); return d.Status == "ok" })
	b.Pump.Forget()
	before := len(b.Board.Trace("GPIO27"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := s.React(edge.Command{Device: "pump", Verb: "toggle"}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	poll(t, "400 changes", func() bool { return len(b.Pump.Events("pump")) == 800 })
	trace, i := b.Board.Trace("GPIO27")[before:], 0
	for _, ev := range b.Pump.Events("pump") {
		if ev.Kind != edge.Change {
			continue
		}
		if want := fmt.Sprintf(`"value":%v`, trace[i].Level); string(ev.Data[1:len(want)+1]) != want {
			t.Fatalf("change %d is %s, the line went %v", i, ev.Data, trace[i].Level)
		}
		i++
	}
	if i != 400 {
		t.Errorf("%d changes", i)
	}
}

func TestStatusKnowsSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		stop := bench.Start(t, b.Source(t, spec(t, "digital_in", door)))
		bench.Pass(time.Second)
		at := time.Now()
		drive(t, b, "GPIO17", false)
		bench.Pass(time.Hour)
		stop()
		s := b.Source(t, spec(t, "digital_in", door))
		stop = bench.Start(t, s)
		defer stop()
		bench.Pass(time.Hour)
		if d, _ := s.Device("door"); d.Since == nil || !d.Since.Equal(at) || d.State != "closed" {
			t.Errorf("status %+v, want since %s", d, at)
		}
	})
}

// TestDamagedRows: what can't be read counts as nothing stored.
func TestDamagedRows(t *testing.T) {
	for _, row := range []string{"", "x", "null", "{}", `{"state":7}`, `{"state":{"value":"yes","total":-1}}`, `{"at":3,"state":{}}`} {
		synctest.Test(t, func(t *testing.T) {
			b := bench.NewBench(t)
			var rows []queue.Row
			for _, key := range []string{"digital_in/door", "digital_out/pump", "counter/flow"} {
				rows = append(rows, queue.Row{Table: "outputs", Key: key, Value: []byte(row)})
			}
			rows = append(rows, queue.Row{Table: "commands", Key: "c1", Value: []byte(row)})
			if err := b.Pump.Commit(context.Background(), rows...); err != nil {
				t.Fatal(err)
			}
			s := b.Source(t, spec(t, "digital_in", door), spec(t, "digital_out", "pump: {digital_out: GPIO27, boot: last}"), spec(t, "counter", "flow: {counter: GPIO22}"))
			stop := bench.Start(t, s)
			defer stop()
			bench.Pass(time.Second)
			for _, d := range s.Devices() {
				if d.Status != "ok" || len(d.Value) == 0 {
					t.Errorf("row %q: %+v", row, d)
				}
			}
			level(t, b, false)
		})
	}
}

// FuzzCommand: whatever a client sends, the line moves only where the outcome
// says so.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{"true", `"on"`, `"90s"`, "1", "null", "{}", "[1", `"1e9d"`, ""} {
		f.Add("set", s, "")
		f.Add("pulse", s, "false")
	}
	b := bench.NewBench(f)
	s := b.Source(f, spec(f, "digital_out", "pump: {digital_out: GPIO27, max_on: 1h}"))
	stop := bench.Start(f, s)
	f.Cleanup(func() { stop() })
	poll(f, "pump", func() bool { d, _ := s.Device("pump"); return d.Status == "ok" })
	f.Fuzz(func(t *testing.T, verb, value, cond string) {
		cmd := edge.Command{Device: "pump", Verb: verb, Value: json.RawMessage(value)}
		if cond != "" {
			cmd.If = json.RawMessage(cond)
		}
		before, _ := b.Board.Level("GPIO27")
		out, err := s.React(cmd, nil)
		after, _ := b.Board.Level("GPIO27")
		switch {
		case out.Done != (err == nil):
			t.Errorf("%+v, %v", out, err)
		case err != nil && after != before:
			t.Errorf("refused, and the line moved: %+v", out)
		case err != nil && !errors.Is(err, edge.ErrBadValue) && !errors.Is(err, edge.ErrRefused):
			t.Errorf("%v", err)
		case err == nil && string(out.Value) != fmt.Sprint(after):
			t.Errorf("%+v, the line is %v", out, after)
		}
		for _, ev := range b.Pump.Events("pump") {
			if !json.Valid(ev.Data) {
				t.Errorf("data %s", ev.Data)
			}
		}
		b.Pump.Forget()
	})
}

// FuzzOptions: the words of the config come back as they were read.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"up", "off", "none", "hold", "last", "both", "sine", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var pull, pull2 gpio.Pull
		if pull.UnmarshalText([]byte(s)) == nil {
			text, _ := pull.MarshalText()
			if err := pull2.UnmarshalText(text); err != nil || pull != pull2 {
				t.Errorf("pull %q became %q: %v", s, text, err)
			}
		}
		var edges, edges2 gpio.Edges
		if edges.UnmarshalText([]byte(s)) == nil {
			text, _ := edges.MarshalText()
			if err := edges2.UnmarshalText(text); err != nil || edges != edges2 {
				t.Errorf("edge %q became %q: %v", s, text, err)
			}
		}
	})
}
