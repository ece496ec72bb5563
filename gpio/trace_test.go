package gpio_test

import (
	"bytes"
	"strings"
	"testing"

	"fieldpost/gpio"
)

// TestTraceCutOff: a trace whose last line is torn is read up to it; one that is damaged
// elsewhere is refused with the line.
func TestTraceCutOff(t *testing.T) {
	const head = `{"fieldpost":"trace","version":1,"device":"a","driver":"sim","mono":7}` + "\n"
	const edge = `{"edge":{"pin":"GPIO17","mono":8}}` + "\n"
	tr, err := gpio.ReadTrace(strings.NewReader(head + edge + edge[:9]))
	if err != nil || len(tr.Steps) != 1 || tr.Whole {
		t.Errorf("%+v, %v", tr, err)
	}
	for text, word := range map[string]string{
		head + edge[:9] + "\n" + edge: "line 2",
		head[:20]:                     "line 1",
		head + edge + `{"edge":{"mono":-1}}` + "\n":                       "line 3: its time",
		head + "\n\n" + `{"reading":{"mono":9000000000000000000}}` + "\n": "line 4: its time",
		strings.Replace(head, "7", "9000000000000000000", 1):              "line 1: mono",
		head + strings.Repeat("x", 300<<10):                               "line 2",
	} {
		if _, err := gpio.ReadTrace(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.100q: %v, want %s", text, err, word)
		}
	}
}

// FuzzTrace: no file makes ReadTrace panic.
func FuzzTrace(f *testing.F) {
	f.Add([]byte(`{"fieldpost":"trace","version":1,"device":"a","driver":"sim"}` + "\n" + `{"edge":{"pin":"GPIO17"}}` + "\n" + `{"lost":2}` + "\n" + `{"end":5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tr, err := gpio.ReadTrace(bytes.NewReader(b)); err == nil && tr.Head.Device == "" {
			t.Error("a trace of nothing")
		}
	})
}
