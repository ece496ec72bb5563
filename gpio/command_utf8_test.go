package gpio_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"fieldpost/edge"
	"fieldpost/gpio/gpiotest"
)

// What no event could tell is no command: it would act, and nothing of it would be
// stored.
func TestCommandsAreUTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		s := b.Source(t, spec(t, "external", `lamp: {external: {answer: 1s}}`))
		stop := gpiotest.Start(t, s)
		defer stop()
		synctest.Wait()
		bad := json.RawMessage("\"\xff\"")
		for name, cmd := range map[string]edge.Command{
			"value": {Device: "lamp", Verb: "set", Value: bad},
			"if":    {Device: "lamp", Verb: "on", If: bad},
			"id":    {Device: "lamp", Verb: "on", ID: "\xff"},
		} {
			if _, err := s.Command(t.Context(), cmd); !errors.Is(err, edge.ErrBadValue) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s.Report(t.Context(), "lamp", bad, "client:a"); !errors.Is(err, edge.ErrBadValue) {
			t.Errorf("report: %v", err)
		}
		if d, _ := s.Device("lamp"); string(d.Value) != "null" {
			t.Errorf("it is at %q", d.Value)
		}
	})
}
