package gpio

import (
	"encoding/json"
	"strconv"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Report is what a device has to tell.
type Report struct {
	Kind    edge.Kind       // "" means edge.Change
	Mono    int64           // when it happened, on CLOCK_MONOTONIC; 0 means now
	Value   json.RawMessage // nil where there is none
	State   string
	Unit    string
	Quality string
	Count   uint64  // of a loss: how many
	More    []Field // further members of data
	Store   any     // the device's durable state from here on, as JSON; nil: as it was
	Cause   *Told   // the report that led to it

	from    string // of a command: who; "" is the device itself
	causeID string // of a command: the event that led to it
	cause   *edge.Ticket
	rows    []queue.Row
}

// Field is a further member of an event's data.
type Field struct {
	Key   string
	Value json.RawMessage
}

// data makes the event's data.
func (r *Report) data() json.RawMessage {
	b := append(make([]byte, 0, 96), '{')
	add := func(key string, value []byte) {
		if len(value) == 0 {
			return
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, key...)
		b = append(b, `":`...)
		b = append(b, value...)
	}
	text := func(key, value string) {
		if value != "" {
			add(key, quote(value))
		}
	}
	if r.Kind == edge.Loss {
		add("count", strconv.AppendUint(nil, r.Count, 10))
	}
	add("value", r.Value)
	text("state", r.State)
	text("unit", r.Unit)
	text("quality", r.Quality)
	for _, f := range r.More {
		add(f.Key, f.Value)
	}
	return append(b, '}')
}

// quote is a string as JSON.
func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string never fails
	return b
}

// boolean is a level as JSON.
func boolean(v bool) json.RawMessage {
	if v {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

// number is a finite reading as JSON.
func number(v float64) json.RawMessage {
	return strconv.AppendFloat(nil, v, 'g', -1, 64)
}

// tidy takes the noise of binary fractions off a number.
func tidy(v float64) float64 {
	t, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	if err != nil {
		return v // no number is that large
	}
	return t
}

// integer is a count as JSON.
func integer(v uint64) json.RawMessage { return strconv.AppendUint(nil, v, 10) }
