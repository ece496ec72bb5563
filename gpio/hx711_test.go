package gpio_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

const hive = "hive: {hx711: GPIO20, clock: GPIO21, scale: 0.001, offset: 20000}"

// weighing runs a scale in a bubble.
func weighing(t *testing.T, example string, prepare func(b *bench.Bench), test func(t *testing.T, b *bench.Bench, s *gpio.Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		if prepare != nil {
			prepare(b)
		}
		s := b.Source(t, spec(t, "hx711", example))
		stop := bench.Start(t, s)
		bench.Pass(8 * time.Second)
		test(t, b, s)
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
}

func TestHX711Weighs(t *testing.T) {
	const saturated = `sample {"value":null,"unit":"kg","quality":"implausible","why":"saturated: the load cell gives more than the converter takes, or is not connected"}`
	for _, c := range []struct {
		name, options string
		counts        []int32
		want          string
	}{
		{"as it is", "scale: 0.001, offset: 20000", []int32{100_000}, `sample {"value":80,"unit":"kg","count":100000}`},
		{"negative", "unit: counts", []int32{-5}, `sample {"value":-5,"unit":"counts","count":-5}`},
		{"each bit", "", []int32{0x2AAAAA}, `sample {"value":2.796202e+06,"unit":"kg","count":2796202}`},
		{"the other bits", "", []int32{-0x555556}, `sample {"value":-5.592406e+06,"unit":"kg","count":-5592406}`},
		{"the median", "", []int32{7, 0x7FFFFF, 9, 9}, `sample {"value":9,"unit":"kg","count":9}`},
		{"the top", "", []int32{0x7FFFFF}, saturated},
		{"the bottom", "", []int32{-0x800000}, saturated},
		{"just below the top", "", []int32{0x7FFFFE}, `sample {"value":8.388606e+06,"unit":"kg","count":8388606}`},
		{"gain 64, from the first reading on", "gain: 64", []int32{128}, `sample {"value":64,"unit":"kg","count":64}`},
		{"gain 32", "gain: 32, tries: 1", []int32{128}, `sample {"value":32,"unit":"kg","count":32}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			weighing(t, strings.TrimSuffix("hive: {hx711: GPIO20, clock: GPIO21, "+c.options, ", ")+"}",
				func(b *bench.Bench) { b.Scale.Counts(c.counts...) },
				func(t *testing.T, b *bench.Bench, _ *gpio.Source) { expect(t, b, "hive", c.want) })
		})
	}
}

// TestHX711ThrowsAwayWhatWasHeldUp: a long pulse resets the chip, which then has
// another gain; what it says is no reading.
func TestHX711ThrowsAwayWhatWasHeldUp(t *testing.T) {
	weighing(t, "hive: {hx711: GPIO20, clock: GPIO21, gain: 64}", func(b *bench.Bench) {
		b.Scale.Counts(128)
		b.Scale.Stall(4)
	}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		expect(t, b, "hive", `sample {"value":64,"unit":"kg","count":64}`)
		if d, _ := s.Device("hive"); d.Status != "ok" || d.Restarts != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// TestHX711TellsNoOtherGain: where the reading that sets the gain is held up, the chip
// is reset, and the next one has the gain of 128.
func TestHX711TellsNoOtherGain(t *testing.T) {
	weighing(t, "hive: {hx711: GPIO20, clock: GPIO21, gain: 64, tries: 1}", func(b *bench.Bench) {
		b.Scale.Counts(128)
		b.Scale.Stall(1)
	}, func(t *testing.T, b *bench.Bench, _ *gpio.Source) {
		expect(t, b, "hive", `sample {"value":64,"unit":"kg","count":64}`)
	})
}

func TestHX711StopsWhileItBegins(t *testing.T) {
	stopsWell(t, "hx711", hive, func(*bench.Bench) {})
}

func TestHX711Fails(t *testing.T) {
	for _, c := range []struct {
		name         string
		do, undo     func(b *bench.Bench)
		status, want string
	}{
		{"held up each time", func(b *bench.Bench) { b.Scale.Stall(1 << 30) }, func(b *bench.Bench) { b.Scale.Stall(0) }, "failed", "10 times: the process was held up for over 60 us"},
		{"no power", func(b *bench.Bench) { b.Scale.Mute(true) }, func(b *bench.Bench) { b.Scale.Mute(false) }, "absent", "did not go low within 1s"},
		{"data shorted to ground", func(b *bench.Bench) { b.Scale.Short(true) }, func(b *bench.Bench) { b.Scale.Short(false) }, "failed", "the data line is low after the last pulse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			weighing(t, hive, nil, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
				b.Pump.Forget()
				c.do(b)
				bench.Pass(5 * time.Minute)
				if d, _ := s.Device("hive"); d.Status != c.status || !strings.Contains(d.Error, c.want) || d.Restarts < 4 || d.Restarts > 25 {
					t.Errorf("%+v, want %s", d, c.want)
				}
				expect(t, b, "hive")
				c.undo(b)
				bench.Pass(2 * time.Minute)
				if d, _ := s.Device("hive"); d.Status != "ok" || string(d.Value) != "80" {
					t.Errorf("afterwards: %+v", d)
				}
			})
		})
	}
}

// TestHX711WakesOneThatSleeps: a reading that does not come is answered with a
// reset, not with a restart.
func TestHX711WakesOneThatSleeps(t *testing.T) {
	weighing(t, hive, nil, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		resets := b.Scale.Resets()
		if err := b.Board.Undrive("GPIO20"); err != nil { // it is pulled up then
			t.Fatal(err)
		}
		b.Pump.Forget()
		bench.Pass(10 * time.Second)
		expect(t, b, "hive", `sample {"value":80,"unit":"kg","count":100000}`)
		if d, _ := s.Device("hive"); d.Status != "ok" || d.Restarts != 0 || b.Scale.Resets() != resets+1 {
			t.Errorf("%+v after %d resets", d, b.Scale.Resets()-resets)
		}
	})
}

func TestHX711Tares(t *testing.T) {
	tare := func(s *gpio.Source, value, only string) (edge.Outcome, error) {
		cmd := edge.Command{Device: "hive", Verb: "tare", From: "client:test"}
		if value != "" {
			cmd.Value = json.RawMessage(value)
		}
		if only != "" {
			cmd.If = json.RawMessage(only)
		}
		return s.Command(context.Background(), cmd)
	}
	synctest.Test(t, func(t *testing.T) {
		b := bench.NewBench(t)
		s := b.Source(t, spec(t, "hx711", hive))
		if _, err := tare(s, "", ""); !errors.Is(err, edge.ErrAbsent) {
			t.Errorf("before it runs: %v", err)
		}
		stop := bench.Start(t, s)
		synctest.Wait()
		if _, err := tare(s, "", ""); !errors.Is(err, edge.ErrRefused) {
			t.Errorf("before the first reading: %v", err)
		}
		bench.Pass(8 * time.Second)
		if _, err := tare(s, "5", ""); !errors.Is(err, edge.ErrBadValue) {
			t.Errorf("with a value: %v", err)
		}
		if _, err := tare(s, "", "79"); !errors.Is(err, edge.ErrRefused) {
			t.Errorf("if it were 79: %v", err)
		}
		b.Pump.Forget()
		began := time.Now()
		out, err := tare(s, "", "80")
		if err != nil || !out.Done || string(out.Value) != "0" || time.Since(began) > 6*time.Second {
			t.Errorf("%+v, %v, after %s", out, err, time.Since(began))
		}
		evs := b.Pump.Events("hive")
		if len(evs) < 2 || evs[0].Kind != edge.Acted || string(evs[1].Data) != `{"value":0,"unit":"kg","count":100000}` {
			t.Errorf("it told %s", b.Pump.Lines("hive"))
		}
		if cause, ok := b.Pump.Cause(1); !ok || cause.Kind != edge.Acted {
			t.Errorf("the cause is %+v", cause)
		}
		b.Scale.Counts(103_000)
		bench.Pass(20 * time.Second)
		if d, _ := s.Device("hive"); string(d.Value) != "3" {
			t.Errorf("3 kg later: %+v", d)
		}
		stop()
		for example, want := range map[string]string{
			hive: "3", // kept over a restart
			"hive: {hx711: GPIO20, clock: GPIO21, scale: 0.001, offset: 0}": "103", // the config has a new zero
		} {
			s = b.Source(t, spec(t, "hx711", example))
			stop = bench.Start(t, s)
			bench.Pass(8 * time.Second)
			if d, _ := s.Device("hive"); string(d.Value) != want {
				t.Errorf("%s: %+v, want %s", example, d, want)
			}
			stop()
		}
	})
}

// TestHX711TaresNothing: a reading that was none can't be the zero, nor the one before.
func TestHX711TaresNothing(t *testing.T) {
	weighing(t, hive, nil, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		b.Scale.Counts(0x7FFFFF)
		bench.Pass(20 * time.Second)
		_, err := s.Command(context.Background(), edge.Command{Device: "hive", Verb: "tare", From: "client:test"})
		if !errors.Is(err, edge.ErrRefused) {
			t.Errorf("tare while saturated: %v", err)
		}
	})
}
