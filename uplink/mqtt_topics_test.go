package uplink

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTopics(t *testing.T) {
	tp, err := newTopics("", "green house/1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ got, want string }{
		{tp.event("alarms", "door"), "fieldpost/green house%2F1/events/alarms/door"},
		{tp.event("events", "kitchen/temp"), "fieldpost/green house%2F1/events/events/kitchen/temp"},
		{tp.event("events", "a+b#c%"), "fieldpost/green house%2F1/events/events/a%2Bb%23c%25"},
		{tp.event("events", "ü\u0085\ufffe\xff"), "fieldpost/green house%2F1/events/events/ü%C2%85%EF%BF%BE%FF"},
		{tp.event("events", strings.Repeat("/", 66)+"x"), "fieldpost/green house%2F1/events/events/" + strings.Repeat("/", 64) + "%2F%2Fx"},
		{tp.batch("samples"), "fieldpost/green house%2F1/batch/samples"},
		{tp.result("x/y"), "fieldpost/green house%2F1/result/x%2Fy"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	for _, topic := range []string{"other/command/x", tp.base + "command/", tp.base + "command/%", tp.base + "command/%zz", tp.base + "state/x"} {
		if name, ok := tp.device(topic); ok {
			t.Errorf("%q was taken as a command to %q", topic, name)
		}
	}
	for _, prefix := range []string{"/a", "a/", "a/#", "$SYS", "a%b", "a\x00"} {
		if _, err := newTopics(prefix, "x"); err == nil {
			t.Errorf("prefix %q was taken", prefix)
		}
	}
}

func FuzzTopicName(f *testing.F) {
	for _, s := range []string{"door", "kitchen/temp", "a+b#c%20", "\x00\xff\u0085\ufdd0", "%%%", "�"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		topic := topicName(name)
		if strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic) {
			t.Fatalf("%q became %q, which MQTT forbids", name, topic)
		}
		if back, ok := untopic(topic); !ok || back != name {
			t.Fatalf("%q came back as %q", name, back)
		}
		if level := topicLevel(name); strings.Contains(level, "/") {
			t.Fatalf("%q became %q, which is more than one level", name, level)
		}
		untopic(name) // whatever a broker sends
	})
}
