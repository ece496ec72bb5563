package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"fieldpost/edge"
)

// eventPrinter prints events as JSON, one a line, or as text.
type eventPrinter struct {
	w    io.Writer
	json bool
}

// event prints one event.
func (p *eventPrinter) event(raw json.RawMessage) error {
	if p.json {
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		b.WriteByte('\n')
		_, err := p.w.Write(b.Bytes())
		return err
	}
	var ev edge.Event
	if err := json.Unmarshal(raw, &ev); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	_, err := fmt.Fprintln(p.w, eventText(&ev))
	return err
}

// eventText is an event in one line for people. A tilde marks a time that is
// only a guess.
func eventText(ev *edge.Event) string {
	if ev.Kind == edge.Gap {
		var h edge.Hole
		if err := json.Unmarshal(ev.Data, &h); err == nil {
			text := fmt.Sprintf("-- gap in %s: %d to %d (%d) %s", printable(ev.Ring), h.From, h.To, h.Count, printable(h.Cause))
			if t := h.Thinned; t.Ring != "" {
				text += fmt.Sprintf(", see %s %d to %d", printable(t.Ring), t.From, t.To)
			}
			return text
		}
	}
	guess := " "
	if ev.Clock == edge.Unsynced {
		guess = "~"
	}
	return fmt.Sprintf("%s%s %s/%d  %-8s %s  %s", localTime(ev.Time), guess, printable(ev.Ring), ev.Seq, ev.Kind, printable(ev.Name), printable(dataText(ev.Data)))
}

// dataText shows an event's data: what a device reports in its own words, the
// rest as JSON.
func dataText(data json.RawMessage) string {
	var d struct {
		Value json.RawMessage `json:"value"`
		State string          `json:"state"`
		Unit  string          `json:"unit"`
	}
	if json.Unmarshal(data, &d) != nil || len(d.Value) == 0 {
		return string(data)
	}
	text := string(d.Value)
	if d.Unit != "" {
		text += " " + d.Unit
	}
	if d.State != "" {
		text += " (" + d.State + ")"
	}
	return text
}
