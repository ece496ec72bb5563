package main

import (
	"encoding/json"
	"fmt"
	"testing"
)

func event(id, ring string, seq, client, k int) string {
	return fmt.Sprintf(`{"id":%q,"ring":%q,"seq":%d,"kind":"message","data":{"client":%d,"k":%d}}`, id, ring, seq, client, k)
}

func TestLedger(t *testing.T) {
	acked := func(l *Ledger) {
		l.Acknowledged("e-1", mark{0, 1})
		l.Acknowledged("e-2", mark{0, 2})
	}
	for _, c := range []struct {
		name     string
		messages []string
		want     Tally
	}{
		{"all", []string{event("e-1", "a", 1, 0, 1), event("e-2", "a", 2, 0, 2)}, Tally{Acknowledged: 2, Received: 2}},
		{"an array", []string{"[" + event("e-1", "a", 1, 0, 1) + "," + event("e-2", "a", 2, 0, 2) + "]"}, Tally{Acknowledged: 2, Received: 2}},
		{"one lost", []string{event("e-2", "a", 2, 0, 2)}, Tally{Acknowledged: 2, Received: 1, Lost: 1}},
		{"one twice", []string{event("e-1", "a", 1, 0, 1), event("e-2", "a", 2, 0, 2), event("e-1", "a", 1, 0, 1)},
			Tally{Acknowledged: 2, Received: 2, Duplicated: 1}},
		{"stored twice", []string{event("e-1", "a", 1, 0, 1), event("e-2", "a", 2, 0, 2), event("e-3", "a", 3, 0, 2)},
			Tally{Acknowledged: 2, Received: 3, Twice: 1}},
		{"another content", []string{event("e-1", "a", 1, 0, 1), event("e-2", "a", 2, 0, 7)},
			Tally{Acknowledged: 2, Received: 2, Changed: 1}},
		{"out of order", []string{event("e-2", "a", 2, 0, 2), event("e-1", "a", 1, 0, 1)},
			Tally{Acknowledged: 2, Received: 2, Disordered: 1}},
		{"rings have orders of their own", []string{event("e-2", "a", 2, 0, 2), event("e-1", "b", 1, 0, 1)}, Tally{Acknowledged: 2, Received: 2}},
		{"a gap", []string{`{"id":"e-a-1..2","ring":"a","seq":2,"kind":"gap","data":{"from":1,"to":2}}`},
			Tally{Acknowledged: 2, Lost: 2, Gaps: 1}},
		{"never acknowledged, and that is fine", []string{event("e-1", "a", 1, 0, 1), event("e-2", "a", 2, 0, 2), event("e-9", "a", 9, 0, 9)},
			Tally{Acknowledged: 2, Received: 3}},
	} {
		for _, ackFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/ack first %v", c.name, ackFirst), func(t *testing.T) {
				l := newLedger()
				if ackFirst {
					acked(l)
				}
				for _, m := range c.messages {
					if err := l.Received([]byte(m)); err != nil {
						t.Fatal(err)
					}
				}
				if !ackFirst {
					acked(l)
				}
				if got := l.Tally(); got != c.want {
					t.Errorf("got  %v\nwant %v", got, c.want)
				}
				sound := c.want.Lost+c.want.Changed+c.want.Twice+c.want.Disordered+c.want.Gaps == 0
				if broken := l.Tally().Broken(); (broken == nil) != sound {
					t.Errorf("broken: %v, want sound %v", broken, sound)
				}
			})
		}
	}
	l := newLedger()
	if err := l.Received([]byte(`{"id":`)); err == nil {
		t.Error("half a message was taken")
	}
	if l.Tally().Broken() == nil {
		t.Error("a run that acknowledged nothing proves nothing, and passed")
	}
}

func TestCorpusIsTheWorkThatTheDesignNames(t *testing.T) {
	c, err := loadCorpus()
	if err != nil {
		t.Fatal(err)
	}
	different := map[string]bool{}
	for _, line := range c.lines {
		different[string(line)] = true
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
	}
	if len(different) < corpusLines*99/100 {
		t.Errorf("%d different events, want %d", len(different), corpusLines)
	}
	if mean := float64(len(c.Body(0, corpusLines)))/corpusLines - 1; mean < 199 || mean > 201 {
		t.Errorf("%.1f bytes an event, want 200", mean)
	}
	if got := string(c.Body(len(c.lines)-1, 2)); got != string(c.Line(len(c.lines)-1))+"\n"+string(c.Line(0))+"\n" {
		t.Errorf("the corpus does not go round: %s", got)
	}
}
