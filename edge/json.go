package edge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the event in the one form that every reader gets, with the
// keys in the order of DESIGN.md section 3. It never fails: bytes of a text that
// are no UTF-8 become U+FFFD, and absent Data becomes null.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	if e.Hole != nil {
		return e.appendGap(dst)
	}
	dst = appendID(dst, e.Epoch, e.N)
	dst = append(dst, `","n":`...)
	dst = strconv.AppendUint(dst, e.N, 10)
	dst = append(dst, `,"ring":`...)
	dst = appendString(dst, e.Ring)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	dst = append(dst, `,"agent":`...)
	dst = appendString(dst, e.Agent)
	dst = append(dst, `,"name":`...)
	dst = appendString(dst, e.Name)
	dst = append(dst, `,"kind":`...)
	dst = appendString(dst, string(e.Kind))
	dst = append(dst, `,"time":"`...)
	dst = appendTime(dst, e.Time)
	dst = append(dst, `","clock":`...)
	dst = appendString(dst, string(e.Clock))
	if e.Bound > 0 {
		dst = append(dst, `,"bound":`...)
		dst = appendSeconds(dst, e.Bound)
	}
	dst = append(dst, `,"boot":`...)
	dst = appendString(dst, e.Boot)
	dst = append(dst, `,"mono":`...)
	dst = strconv.AppendInt(dst, e.Mono, 10)
	dst = append(dst, `,"from":`...)
	dst = appendString(dst, e.From)
	if e.Cause != "" {
		dst = append(dst, `,"cause":`...)
		dst = appendString(dst, e.Cause)
	}
	if e.Origin != nil {
		dst = append(dst, `,"origin":`...)
		dst = e.Origin.appendJSON(dst)
	}
	dst = append(dst, `,"data":`...)
	if len(e.Data) == 0 {
		return append(dst, "null}"...)
	}
	return append(append(dst, e.Data...), '}')
}

// appendGap appends what follows {"id":" for a gap that was made on reading.
func (e *Event) appendGap(dst []byte) []byte {
	h := e.Hole
	dst = appendHex32(dst, e.Epoch)
	dst = append(dst, '-')
	ring := appendString(nil, e.Ring)
	dst = append(append(dst, ring[1:len(ring)-1]...), '-')
	dst = strconv.AppendUint(dst, h.From, 10)
	dst = strconv.AppendUint(append(dst, ".."...), h.To, 10)
	dst = append(append(dst, `","ring":`...), ring...)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, h.To, 10)
	dst = append(dst, `,"agent":`...)
	dst = appendString(dst, e.Agent)
	dst = append(dst, `,"name":"gap","kind":"gap","data":{"from":`...)
	dst = strconv.AppendUint(dst, h.From, 10)
	dst = append(dst, `,"to":`...)
	dst = strconv.AppendUint(dst, h.To, 10)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendUint(dst, h.Count, 10)
	dst = append(dst, `,"cause":`...)
	dst = appendString(dst, h.Cause)
	if t := &h.Thinned; t.Ring != "" {
		dst = appendString(append(dst, `,"thinned":{"ring":`...), t.Ring)
		dst = strconv.AppendUint(append(dst, `,"from":`...), t.From, 10)
		dst = strconv.AppendUint(append(dst, `,"to":`...), t.To, 10)
		dst = append(dst, '}')
	}
	return append(dst, "}}"...)
}

func (o *Origin) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"agent":`...)
	dst = appendString(dst, o.Agent)
	dst = append(dst, `,"id":`...)
	dst = appendString(dst, o.ID)
	dst = append(dst, `,"ring":`...)
	dst = appendString(dst, o.Ring)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, o.Seq, 10)
	dst = append(dst, `,"time":"`...)
	dst = appendTime(dst, o.Time)
	return append(dst, `"}`...)
}

// MarshalJSON is AppendJSON.
func (e Event) MarshalJSON() ([]byte, error) {
	return e.AppendJSON(make([]byte, 0, 320+len(e.Data))), nil
}

// wireEvent is the JSON of an event, for reading it back.
type wireEvent struct {
	ID     string          `json:"id"`
	N      uint64          `json:"n"`
	Ring   string          `json:"ring"`
	Seq    uint64          `json:"seq"`
	Agent  string          `json:"agent"`
	Name   string          `json:"name"`
	Kind   Kind            `json:"kind"`
	Time   time.Time       `json:"time"`
	Clock  ClockState      `json:"clock"`
	Bound  json.Number     `json:"bound"`
	Boot   string          `json:"boot"`
	Mono   int64           `json:"mono"`
	From   string          `json:"from"`
	Cause  string          `json:"cause"`
	Origin *Origin         `json:"origin"`
	Data   json.RawMessage `json:"data"`
}

// UnmarshalJSON reads what AppendJSON wrote. Unknown fields are ignored.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w wireEvent
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	*e = Event{
		N: w.N, Ring: w.Ring, Seq: w.Seq, Agent: w.Agent, Name: w.Name, Kind: w.Kind, Time: w.Time, Clock: w.Clock,
		Boot: w.Boot, Mono: w.Mono, From: w.From, Cause: w.Cause, Origin: w.Origin, Data: w.Data,
	}
	if w.Kind == Gap && w.N == 0 {
		return e.readGap(w.ID)
	}
	epoch, n, ok := parseID(w.ID)
	if !ok || n != w.N {
		return fmt.Errorf("read event: id %q does not fit n %d", clip(w.ID), w.N)
	}
	e.Epoch = epoch
	if w.Bound != "" {
		seconds, err := w.Bound.Float64()
		if err != nil || seconds < 0 || seconds > 9e9 {
			return fmt.Errorf("read event %s: bound %s is no number of seconds", w.ID, clip(string(w.Bound)))
		}
		e.Bound = time.Duration(seconds*1e9 + 0.5)
	}
	return nil
}

// readGap fills a gap's hole from its data.
func (e *Event) readGap(id string) error {
	var h Hole
	if err := json.Unmarshal(e.Data, &h); err != nil {
		return fmt.Errorf("read gap %q: %w", clip(id), err)
	}
	if len(id) < 8 {
		return fmt.Errorf("read gap: id %q has no epoch", id)
	}
	epoch, ok := hex32(id[:8])
	if !ok || h.From == 0 || h.From > h.To || h.To != e.Seq {
		return fmt.Errorf("read gap %q: it does not fit its data", clip(id))
	}
	e.Epoch, e.Name, e.Hole = epoch, "gap", &h
	return nil
}

// appendSeconds appends a duration as decimal seconds, exact and short.
func appendSeconds(dst []byte, d time.Duration) []byte {
	dst = strconv.AppendInt(dst, int64(d/time.Second), 10)
	frac := int64(d % time.Second)
	if frac == 0 {
		return dst
	}
	var b [10]byte
	b[0] = '.'
	for i := 9; i > 0; i-- {
		b[i] = byte('0' + frac%10)
		frac /= 10
	}
	n := 10
	for b[n-1] == '0' {
		n--
	}
	return append(dst, b[:n]...)
}

// appendTime appends RFC 3339 in UTC: six digits of fraction, nine where the
// time has them. time.AppendFormat costs three times as much.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, d := t.Date()
	if year < 0 || year > 9999 {
		year = min(max(year, 0), 9999) // a clock that far off is no reason to break a reader's parser
	}
	hour, minute, sec := t.Clock()
	dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	dst = append(append2(dst, int(month)), '-')
	dst = append(append2(dst, d), 'T')
	dst = append(append2(dst, hour), ':')
	dst = append(append2(dst, minute), ':')
	dst = append(append2(dst, sec), '.')
	ns := t.Nanosecond()
	us := ns / 1000
	dst = append2(append2(append2(dst, us/10000), us/100%100), us%100)
	if rest := ns % 1000; rest != 0 {
		dst = append(append2(dst, rest/10), byte('0'+rest%10))
	}
	return append(dst, 'Z')
}

func append2(dst []byte, v int) []byte { return append(dst, byte('0'+v/10), byte('0'+v%10)) }

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = appendEscape(append(dst, s[from:i]...), c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[from:i]...), "\uFFFD"...)
			from = i + 1
		}
		i += size
	}
	return append(append(dst, s[from:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
