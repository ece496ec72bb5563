package uplink

import (
	"strings"
	"testing"
	"time"
)

func TestParseCommand(t *testing.T) {
	expires := time.Date(2026, 11, 21, 1, 32, 15, 0, time.UTC)
	for _, tt := range []struct{ text, verb, id, value, cond, bad string }{
		{text: "ON", verb: "on"},
		{text: " off\n", verb: "off"},
		{text: `"TOGGLE"`, verb: "toggle"},
		{text: `{"command":"pulse","value":"90s","id":"a1","if":false,"expires":"2026-11-21T01:32:15Z"}`, verb: "pulse", id: "a1", value: `"90s"`, cond: "false"},
		{text: "", bad: "write ON"},
		{text: "maybe", bad: "write ON"},
		{text: "1", bad: "write ON"},
		{text: `["on"]`, bad: "write ON"},
		{text: `{}`, bad: `no "command"`},
		{text: `{"command":"on","id":"a","when":1}`, id: "a", bad: "when"},
		{text: `{"command":"on"} {}`, bad: "more behind"},
		{text: `{"command":"on"}}`, bad: "more behind"},
		{text: `{"command":"on","id":"` + strings.Repeat("x", 300) + `"}`, bad: "id is over"},
		{text: "{" + strings.Repeat(" ", maxCommand), bad: "bytes"},
	} {
		c, err := parseCommand([]byte(tt.text))
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%.60s: got %v, want %q", tt.text, err, tt.bad)
			}
			if tt.id != "" && c.ID != tt.id {
				t.Errorf("%.60s: its id was not given", tt.text)
			}
			continue
		}
		if err != nil || c.Verb != tt.verb || c.ID != tt.id || string(c.Value) != tt.value || string(c.If) != tt.cond {
			t.Errorf("%.60s: got %+v, %v", tt.text, c, err)
		}
		if tt.id != "" && !c.Expires.Equal(expires) {
			t.Errorf("%.60s: expires %v", tt.text, c.Expires)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"ON", `"off"`, `{"command":"set","value":{"a":[1]},"id":"x"}`, `{"id":1}`, "{", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommand(b)
		if err == nil && c.Verb == "" {
			t.Fatalf("%q is a command without a verb", b)
		}
		if len(c.ID) > 256 {
			t.Fatalf("%q gave an id of %d bytes", b, len(c.ID))
		}
	})
}
