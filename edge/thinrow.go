package edge

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"fieldpost/queue"
)

// The bounds of one row, whatever its source holds. A field beyond them is left
// out of the row and counted in it.
const (
	maxThinFields = 512
	maxThinPath   = 200
	maxThinDepth  = 8
	maxThinText   = 4096    // bytes of a last value that is no number
	maxThinRow    = 100_000 // bytes of its data
)

// What a row and a field of it take in memory, and no less than they take stored.
const (
	thinRowSize   = 500
	thinFieldSize = 300
)

// thinFrom is the author of rows.
const thinFrom = "system:thin"

// thinKey says which samples share a row.
type thinKey struct {
	bucket thinBucket
	name   string
	agent  string // that forwarded them; "": this one
}

// thinBucket is a stretch of wall time. Samples of boots whose time is guessed
// don't share one with those of another boot.
type thinBucket struct {
	at   int64 // in units of its length since 1970
	boot uint32
}

// thinRow sums up samples of one name. Its event is stamped as the last of them.
type thinRow struct {
	key         thinKey
	first, last thinTime
	samples     uint64
	unit        []byte // JSON
	value       thinField
	fields      []thinField
	next        int // where the field after the last one most likely is
	left        int // values that are left out
}

type thinField struct {
	name string
	tally
	at uint64 // the sample that it was last in: a key given twice counts once
}

// thinTime is when a sample was taken.
type thinTime struct {
	stamp queue.Stamp
	wall  int64 // microseconds since 1970
}

// span is the time from one to another.
func (t thinTime) span(to thinTime) time.Duration {
	if t.stamp.Boot == to.stamp.Boot {
		return max(0, time.Duration(to.stamp.Mono-t.stamp.Mono))
	}
	return max(0, time.Duration(to.wall-t.wall)*time.Microsecond)
}

// back is the time so much earlier.
func (t thinTime) back(by time.Duration) thinTime {
	t.stamp.Mono -= int64(by)
	t.wall -= by.Microseconds()
	return t
}

func (r *thinRow) seen(first, last thinTime) {
	if r.samples == 0 {
		r.first = first
	}
	r.last = last
	r.samples++
}

// add takes a sample's data. It gives the bytes of memory that it cost.
func (r *thinRow) add(data []byte, at thinTime) (grown int) {
	r.seen(at, at)
	s := scanner{b: data}
	if data[0] == '{' {
		return r.addObject(&s, "", 1)
	}
	return r.addValue("value", data)
}

// addObject takes the fields of an object; one in it has a path with dots.
func (r *thinRow) addObject(s *scanner, path string, depth int) (grown int) {
	s.i++ // the data was valid when it was stored
	for s.space(); s.i < len(s.b) && s.b[s.i] != '}'; s.space() {
		raw, err := s.str()
		if err != nil {
			return grown
		}
		key, err := s.text(raw)
		s.space()
		if err != nil || !s.take(':') {
			return grown
		}
		s.space()
		if s.i < len(s.b) && s.b[s.i] == '{' && depth < maxThinDepth {
			grown += r.addObject(s, path+key+".", depth+1)
		} else {
			value, err := s.value()
			if err != nil {
				return grown
			}
			grown += r.addValue(path+key, value)
		}
		s.space()
		s.take(',')
	}
	s.take('}')
	return grown
}

func (r *thinRow) addValue(path string, value []byte) (grown int) {
	if path == "unit" && value[0] == '"' && len(value) <= maxThinText {
		r.unit = append(r.unit[:0], value...)
		return 0
	}
	f := r.field(path)
	if f == nil || f.at == r.samples {
		return 0
	}
	if f.at == 0 {
		grown = thinFieldSize + len(path)
	}
	f.at = r.samples
	was := len(f.other)
	f.tally.add(value, maxThinText)
	return grown + len(f.other) - was
}

// field gives the tally of a path, made if need be; nil where there are too many.
func (r *thinRow) field(path string) *thinField {
	if path == "value" {
		return &r.value
	}
	for i := range r.fields { // samples of a name have their fields in one order
		at := (r.next + i) % len(r.fields)
		if r.fields[at].name == path {
			r.next = at + 1
			return &r.fields[at]
		}
	}
	if len(r.fields) >= maxThinFields || len(path) > maxThinPath {
		r.left++
		return nil
	}
	r.fields = append(r.fields, thinField{name: strings.Clone(path)})
	return &r.fields[len(r.fields)-1]
}

// rowData is the data of a row, for reading it back.
type rowData struct {
	tallied
	Unit   json.RawMessage    `json:"unit"`
	Span   float64            `json:"span"`
	Agent  string             `json:"agent"`
	Fields map[string]tallied `json:"fields"`
}

// merge takes a row of a finer ring.
func (r *thinRow) merge(d *rowData, at thinTime) (grown int) {
	r.seen(at.back(time.Duration(d.Span*float64(time.Second))), at)
	if len(d.Unit) > 0 && len(d.Unit) <= maxThinText {
		r.unit = append(r.unit[:0], d.Unit...)
	}
	if d.N > 0 {
		r.value.at = r.samples
		r.value.tally.merge(&d.tallied, maxThinText)
		grown += len(r.value.other)
	}
	names := make([]string, 0, len(d.Fields))
	for name := range d.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := r.field(name)
		if f == nil {
			continue
		}
		if f.at == 0 {
			grown += thinFieldSize + len(name)
		}
		f.at = r.samples
		o := d.Fields[name]
		was := len(f.other)
		f.tally.merge(&o, maxThinText)
		grown += len(f.other) - was
	}
	return grown
}

// data is the row's data as JSON.
func (r *thinRow) data() json.RawMessage {
	dst := make([]byte, 0, 160+120*len(r.fields))
	dst = append(dst, '{')
	if r.value.at > 0 {
		dst = append(r.value.appendJSON(dst, true), ',')
	}
	if r.unit != nil {
		dst = append(append(append(dst, `"unit":`...), r.unit...), ',')
	}
	if r.key.agent != "" {
		dst = append(appendString(append(dst, `"agent":`...), r.key.agent), ',')
	}
	left, comma := r.left, false
	if len(r.fields) > 0 {
		dst = append(dst, `"fields":{`...)
		for i := range r.fields {
			if len(dst) > maxThinRow {
				left += len(r.fields) - i
				break
			}
			if comma {
				dst = append(dst, ',')
			}
			comma = true
			dst = append(appendString(dst, r.fields[i].name), ":{"...)
			dst = append(r.fields[i].appendJSON(dst, false), '}')
		}
		dst = append(dst, "},"...)
	}
	if left > 0 {
		dst = append(strconv.AppendInt(append(dst, `"left_out":`...), int64(left), 10), ',')
	}
	return append(appendSeconds(append(dst, `"span":`...), r.first.span(r.last)), '}')
}

// event is the row as it is stored.
func (r *thinRow) event(ring string) Event {
	return Event{Ring: ring, Name: r.key.name, Kind: Sample, From: thinFrom, Data: r.data(), at: r.last.stamp}
}
