package gpio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// bounced drives a line with a contact that bounces, and gives what it did then.
func bounced(t testing.TB, seed uint64, changes int) (all []gpio.SimChange) {
	synctest.Test(t.(*testing.T), func(t *testing.T) {
		began := time.Now()
		b := gpio.NewSimBoard(gpio.SimOptions{Seed: seed, Mono: func() int64 { return int64(time.Since(began)) }})
		b.Bounce("GPIO17", 5*time.Millisecond)
		for i := range changes {
			for _, pin := range []edge.Pin{"GPIO17", "GPIO22"} {
				if err := b.Drive(pin, i%2 == 0); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond) // synctest: it takes no time
			if level, err := b.Level("GPIO17"); err != nil || level != (i%2 == 0) {
				t.Fatalf("after change %d it is %v, %v", i, level, err)
			}
		}
		if still := b.Trace("GPIO22"); len(still) != changes {
			t.Errorf("a line whose contact is firm changed %d times, not %d", len(still), changes)
		}
		all = b.Trace("GPIO17")
	})
	return all
}

// TestBounce: a contact jumps within its time, ends where it was driven to, and does
// the same for the same seed.
func TestBounce(t *testing.T) {
	one := bounced(t, 7, 50)
	if len(one) < 75 || len(one) > 50*7 {
		t.Errorf("50 changes made %d edges", len(one))
	}
	for _, ch := range one {
		if into := ch.Mono % int64(100*time.Millisecond); into > int64(5*time.Millisecond) {
			t.Errorf("it still jumped %v after the change", time.Duration(into))
		}
	}
	if !slices.Equal(one, bounced(t, 7, 50)) {
		t.Error("the same seed bounced otherwise")
	}
	if slices.Equal(one, bounced(t, 8, 50)) {
		t.Error("another seed bounced the same")
	}
}

// TestBounceEndsWithTheNextChange: a line that is driven while it bounces is at the new
// level in the end.
func TestBounceEndsWithTheNextChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(50) {
			b := gpio.NewSimBoard(gpio.SimOptions{Seed: seed + 1, Bounce: 10 * time.Millisecond})
			for _, level := range []bool{true, false} {
				if err := b.Drive("GPIO17", level); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond) // synctest: it takes no time
			}
			time.Sleep(20 * time.Millisecond) // synctest: it takes no time
			if level, err := b.Level("GPIO17"); err != nil || level {
				t.Errorf("seed %d: level %v, %v", seed+1, level, err)
			}
		}
	})
}

// TestSimFails: a simulated sensor fails, and says what can't be, as often as it is told to.
func TestSimFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		stop := bench.Start(t, b.Source(t, spec(t, "sim", "air: {sim: constant, value: 20, amplitude: 0, dropout: 0.1, spike: 85, spikes: 0.1, every: 1m, accept: {max: 60}}")))
		bench.Pass(24 * time.Hour)
		var good, bad int
		for _, ev := range b.Pump.Events("air") {
			switch {
			case strings.Contains(string(ev.Data), `"value":20`):
				good++
			case strings.Contains(string(ev.Data), `"implausible"`) && strings.Contains(string(ev.Data), `"85"`):
				bad++
			default:
				t.Errorf("event %s", ev.Data)
			}
		}
		stop()
		if good < 900 || good > 1400 || bad < 80 || bad > 200 {
			t.Errorf("%d readings and %d spikes of 1,440", good, bad)
		}
	})
	for _, text := range []string{"air: {sim: sine, dropout: 2}", "air: {sim: sine, spikes: -0.1}"} {
		b := bench.NewBench(t)
		if _, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "sim", text)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup}); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestReplayedCounterTicks: a replayed counter looks when the recorded one did.
func TestReplayedCounterTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		flow := spec(t, "counter", "flow: {counter: GPIO22, every: 10s}")
		began := b.Clock.Mono() + int64(13*time.Second) + 456
		twin := gpio.NewTwin(gpio.TwinOptions{Board: b.Board})
		err := twin.Replay(&gpio.Trace{Head: gpio.TraceHead{Device: "flow", Driver: "counter", Began: began, Mono: began,
			Lines: []gpio.TraceLine{{Pin: "GPIO22", Request: "then-1"}}}})
		if err != nil {
			t.Fatal(err)
		}
		src, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{flow}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup, Twin: twin})
		if err != nil {
			t.Fatal(err)
		}
		stop := bench.Start(t, src)
		bench.Pass(time.Minute)
		evs := b.Pump.Events("flow")
		stop()
		if len(evs) < 5 {
			t.Errorf("%d events in a minute", len(evs))
		}
		for _, ev := range evs {
			if off := (ev.Mono - began) % int64(10*time.Second); off != 0 {
				t.Errorf("it looked %v beside its time", time.Duration(off))
			}
		}
	})
}

// TestRecordLosesAndTells: a recorder that is too slow holds nobody up, and is told how
// much it missed; a trace with a hole is not replayed.
func TestRecordLosesAndTells(t *testing.T) {
	const edges = 20_000
	b := bench.NewBench(t)
	door := spec(t, "digital_in", "door: {digital_in: GPIO17}")
	src := b.Source(t, door)
	stop := bench.Start(t, src)
	defer stop()
	until(t, "the door is read", func() bool { d, _ := src.Device("door"); return d.Status == "ok" })
	ctx, cancel := context.WithCancel(t.Context())
	var trace bytes.Buffer
	begun, goOn := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	done := make(chan error, 1)
	go func() {
		done <- src.Record(ctx, "door", func(h *gpio.TraceHead) { h.Agent = "box" }, func(line []byte) error {
			once()
			<-goOn
			_, err := trace.Write(line)
			return err
		})
	}()
	<-begun
	if err := src.Record(ctx, "door", nil, nil); !errors.Is(err, edge.ErrRefused) {
		t.Errorf("a second recorder: %v", err)
	}
	if err := src.Record(ctx, "nobody", nil, nil); !errors.Is(err, edge.ErrNoDevice) {
		t.Errorf("nobody: %v", err)
	}
	seen := func() (n int) { return len(b.Pump.Events("door")) }
	before := seen()
	for i := range edges {
		if err := b.Board.Drive("GPIO17", i%2 == 0); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 { // less than the line's queue holds
			until(t, "the device goes on while the recorder stands", func() bool { return seen()-before > i })
		}
	}
	cancel()
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	tr, err := gpio.ReadTrace(&trace)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, s := range tr.Steps {
		if s.Edge != nil {
			if kept++; s.Edge.LineSeqno != uint32(kept) && tr.Lost == 0 {
				t.Fatalf("edge %d has the number %d", kept, s.Edge.LineSeqno)
			}
		}
	}
	if tr.Lost == 0 || kept+int(tr.Lost) != edges || !tr.Whole || tr.Head.Agent != "box" {
		t.Errorf("%d edges are there and %d are lost, of %d", kept, tr.Lost, edges)
	}
	if err := gpio.NewTwin(gpio.TwinOptions{Board: b.Board}).Replay(tr); err == nil || !strings.Contains(err.Error(), fmt.Sprint(tr.Lost)) {
		t.Errorf("a trace with a hole: %v", err)
	}
}

// TestRecordAfterFailure: a device that failed and waits is recorded, and the next recorder
// is not cut off by the end of the one before.
func TestRecordAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		src := b.Source(t, spec(t, "digital_in", "door: {digital_in: GPIO17}"))
		stop := bench.Start(t, src)
		defer stop()
		bench.Pass(time.Second)
		b.Board.Unplug()
		bench.Pass(time.Millisecond) // it waits for its next try
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var trace bytes.Buffer
		err := src.Record(ctx, "door", func(*gpio.TraceHead) {}, func(line []byte) error { _, err := trace.Write(line); return err })
		tr, rerr := gpio.ReadTrace(&trace)
		if err != nil || rerr != nil || len(tr.Head.Lines) != 0 || !tr.Whole {
			t.Errorf("%v, %v: %+v", err, rerr, tr)
		}
	})
}

// TestRecordBusyLine: a recording of a line that never rests begins with the edge after the
// one that the device had stored, and has every one from there.
func TestRecordBusyLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		src := b.Source(t, spec(t, "digital_in", "door: {digital_in: GPIO17}"))
		stop := bench.Start(t, src)
		defer stop()
		bench.Pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go func() {
			for level := true; ctx.Err() == nil; level = !level {
				_ = b.Board.Drive("GPIO17", level)
				time.Sleep(time.Millisecond) // synctest: it takes no time
			}
		}()
		var trace bytes.Buffer
		err := src.Record(ctx, "door", func(*gpio.TraceHead) {}, func(line []byte) error { _, err := trace.Write(line); return err })
		tr, rerr := gpio.ReadTrace(&trace)
		if err != nil || rerr != nil || tr.Lost > 0 {
			t.Fatal(err, rerr)
		}
		bench.Pass(time.Second)
		var stored struct {
			State struct {
				LineSeqno uint32 `json:"line_seqno"`
			} `json:"state"`
		}
		row := &stored.State
		if err := json.Unmarshal(tr.Head.State, &stored); err != nil || row.LineSeqno < 500 || len(tr.Steps) < 1000 {
			t.Fatalf("%v: %s, %d steps", err, tr.Head.State, len(tr.Steps))
		}
		for i, s := range tr.Steps {
			if s.Edge != nil && s.Edge.LineSeqno != row.LineSeqno+1+uint32(i) {
				t.Fatalf("step %d is edge %d, edge %d was stored", i, s.Edge.LineSeqno, row.LineSeqno)
			}
		}
	})
}

// TestRecordAgainAtOnce: while the last lines of a recording are written another one may
// begin, and goes on when the first has ended.
func TestRecordAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		src := b.Source(t, spec(t, "digital_in", "door: {digital_in: GPIO17}"))
		stop := bench.Start(t, src)
		defer stop()
		bench.Pass(time.Second)
		first, endFirst := context.WithCancel(t.Context())
		second, endSecond := context.WithCancel(t.Context())
		lines, edges := 0, 0
		goOn, done := make(chan struct{}), make(chan error, 2)
		go func() {
			done <- src.Record(first, "door", func(*gpio.TraceHead) {}, func([]byte) error {
				if lines++; lines == 2 {
					<-goOn
				}
				return nil
			})
		}()
		bench.Pass(time.Second)
		endFirst()
		synctest.Wait() // it writes its last line
		go func() {
			done <- src.Record(second, "door", func(*gpio.TraceHead) {}, func(line []byte) error {
				if bytes.HasPrefix(line, []byte(`{"edge"`)) {
					edges++
				}
				return nil
			})
		}()
		bench.Pass(time.Second)
		close(goOn)
		synctest.Wait()
		if err := b.Board.Drive("GPIO17", true); err != nil {
			t.Fatal(err)
		}
		bench.Pass(time.Second)
		endSecond()
		if err := errors.Join(<-done, <-done); err != nil || edges != 1 || lines != 2 {
			t.Errorf("%v: %d edges for the second, %d lines for the first", err, edges, lines)
		}
	})
}

// TestReplayGoesOnFromNoValue: what was told before the recording, that there is no value,
// is not told again by the twin.
func TestReplayGoesOnFromNoValue(t *testing.T) {
	const text = "air: {sim: constant, value: 99, amplitude: 0, accept: {max: 60}, every: 1s}"
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		src := b.Source(t, spec(t, "sim", text))
		stop := bench.Start(t, src)
		bench.Pass(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var trace bytes.Buffer
		err := src.Record(ctx, "air", func(*gpio.TraceHead) {}, func(line []byte) error { _, err := trace.Write(line); return err })
		stop()
		tr, rerr := gpio.ReadTrace(&trace)
		if err != nil || rerr != nil || len(tr.Steps) < 5 || len(b.Pump.Events("air")) != 1 {
			t.Fatalf("%v, %v: %+v, %d events", err, rerr, tr, len(b.Pump.Events("air")))
		}
		b = bench.NewBench(t)
		twin := gpio.NewTwin(gpio.TwinOptions{Board: b.Board})
		if err := twin.Replay(tr); err != nil {
			t.Fatal(err)
		}
		src, err = gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "sim", text)}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock, Lookup: b.Board.Lookup, Twin: twin})
		if err != nil {
			t.Fatal(err)
		}
		stop = bench.Start(t, src)
		bench.Pass(time.Minute)
		stop()
		if evs := b.Pump.Events("air"); len(evs) != 0 {
			t.Errorf("the twin told %s", evs[0].Data)
		}
	})
}

// TestReplayOfAnotherRequest: edges of a line that the device did not hold when the
// recording began can't be replayed as they were.
func TestReplayOfAnotherRequest(t *testing.T) {
	b := bench.NewBench(t)
	tr := &gpio.Trace{Head: gpio.TraceHead{Device: "door", Driver: "digital_in", Lines: []gpio.TraceLine{{Pin: "GPIO17", Request: "a-1"}}},
		Steps: []gpio.TraceStep{{Edge: &gpio.TraceEdge{Pin: "GPIO17", Request: "a-1"}}, {Edge: &gpio.TraceEdge{Pin: "GPIO17", Request: "a-2"}}}}
	if err := gpio.NewTwin(gpio.TwinOptions{Board: b.Board}).Replay(tr); err == nil || !strings.Contains(err.Error(), `"a-2"`) {
		t.Error(err)
	}
	tr.Steps = tr.Steps[:1]
	if err := gpio.NewTwin(gpio.TwinOptions{Board: b.Board}).Replay(tr); err != nil {
		t.Error(err)
	}
}

// until asks until it is so.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
