package gpio_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"fieldpost/gpio"
	bench "fieldpost/gpio/gpiotest"
)

// TestReloadEndsARecording: a recording of a device that a reload replaces or takes away
// ends with it, whole, and says why; that of a device that runs on goes on.
func TestReloadEndsARecording(t *testing.T) {
	doorSpec, bell := spec(t, "digital_in", door), spec(t, "digital_in", "bell: {digital_in: GPIO22}")
	onBench(t, []gpio.Spec{doorSpec, bell}, func(t *testing.T, b *bench.Bench, s *gpio.Source) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		traces := map[string]*bytes.Buffer{}
		ended := make(chan string, 3)
		record := func(as, device string) {
			var all bytes.Buffer
			traces[as] = &all
			go func() {
				err := s.Record(ctx, device, func(*gpio.TraceHead) {}, func(line []byte) error { all.Write(line); return nil })
				if err != nil {
					t.Errorf("record %s: %v", as, err)
				}
				ended <- as
			}()
			bench.Pass(100 * time.Millisecond) // it waits for a line that rests
		}
		ends := func(as string) {
			t.Helper()
			select {
			case got := <-ended:
				if got != as {
					t.Fatalf("%s ended, not %s", got, as)
				}
			case <-time.After(time.Minute):
				cancel() // else the bubble never ends
				t.Fatalf("%s did not end", as)
			}
		}
		whole := func(as, why string, edges int) {
			t.Helper()
			tr, err := gpio.ReadTrace(traces[as])
			if err != nil || !tr.Whole || tr.Why != why || len(tr.Steps) != edges+1 {
				t.Errorf("%s: %v, %+v", as, err, tr)
			}
		}
		record("door", "door")
		record("bell", "bell")
		drive(t, b, "GPIO22", true)
		drive(t, b, "GPIO17", false)
		reload(t, s, doorSpec, spec(t, "digital_in", "bell: {digital_in: GPIO24}"))
		ends("bell")
		whole("bell", "a reload put another device in its place", 1)
		record("new bell", "bell") // another may record the new one
		drive(t, b, "GPIO24", true)
		drive(t, b, "GPIO17", true)
		reload(t, s, doorSpec)
		ends("new bell")
		whole("new bell", "a reload took the device away", 1)
		cancel()
		ends("door")
		whole("door", "", 2)
	})
}
