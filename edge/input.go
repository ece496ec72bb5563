package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrTooBig: the event would be over MaxEvent as JSON.
var ErrTooBig = fmt.Errorf("the event is over %d bytes", MaxEvent)

// overhead is what an event's JSON takes beside the texts that its writer gives.
const overhead = 400

// maxFrom and maxRing bound the texts that an event carries beside its name.
const (
	maxFrom  = 300
	maxRing  = 64
	maxCause = 64
)

// inputKeys are the keys of a client's event.
const inputKeys = `name, data, ring, kind, cause and origin`

// ParseInput reads a client's event: {"name","data","ring"?,"kind"?,"cause"?,
// "origin"?}. It is strict: JSON in UTF-8, each key known and given once, name and
// data there, and all that Validate wants. Kind is message where it is not
// given; a client may say message or sample only, and with an origin any kind.
// Whether the caller may set an origin is for the caller to check. The event's
// Data may share b's memory. It returns ErrTooBig, or an error that names what is wrong.
func ParseInput(b []byte) (Event, error) {
	if len(b) > MaxEvent {
		// A text this long can still hold a small event, but nobody sends that.
		return Event{}, ErrTooBig
	}
	ev := Event{Kind: Message}
	s := scanner{b: b}
	if err := ev.parse(&s); err != nil {
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	if err := ev.checkInput(); err != nil {
		return Event{}, err
	}
	return ev, nil
}

// parse takes the object off s, and wants nothing after it.
func (e *Event) parse(s *scanner) error {
	s.space()
	if !s.take('{') {
		return s.fail("{")
	}
	var seen keySet
	s.space()
	for more := !s.take('}'); more; {
		key, err := s.str()
		if err != nil {
			return err
		}
		if key, err = s.plainKey(key); err != nil {
			return err
		}
		s.space()
		if !s.take(':') {
			return s.fail("a colon")
		}
		s.space()
		if err := e.parseField(s, key, &seen); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take(','):
			s.space()
		case s.take('}'):
			more = false
		default:
			return s.fail("a comma or }")
		}
	}
	s.space()
	if s.i != len(s.b) {
		return s.fail("the end")
	}
	return nil
}

// keySet is the keys that were given, a bit each.
type keySet uint8

func (k *keySet) add(bit keySet, name []byte) error {
	if *k&bit != 0 {
		return fmt.Errorf("key %q is given twice", name)
	}
	*k |= bit
	return nil
}

// parseField takes the value of one key.
func (e *Event) parseField(s *scanner, key []byte, seen *keySet) (err error) {
	switch string(key) {
	case "name":
		if err = seen.add(1, key); err == nil {
			e.Name, err = s.stringValue(key)
		}
	case "data":
		if err = seen.add(2, key); err == nil {
			var v []byte
			v, err = s.value()
			if s.spaced && err == nil {
				v = compact(v)
			}
			e.Data = v[:len(v):len(v)]
		}
	case "ring":
		if err = seen.add(4, key); err == nil {
			e.Ring, err = s.stringValue(key)
			if err == nil && e.Ring == "" {
				err = errors.New(`"ring" is empty: leave it out for the usual one`)
			}
		}
	case "kind":
		if err = seen.add(8, key); err == nil {
			var k string
			k, err = s.stringValue(key)
			e.Kind = internKind(k)
		}
	case "cause":
		if err = seen.add(16, key); err == nil {
			e.Cause, err = s.stringValue(key)
		}
	case "origin":
		if err = seen.add(32, key); err == nil {
			e.Origin, err = s.origin()
		}
	default:
		return fmt.Errorf("key %q is not known: an event has %s", clip(string(key)), inputKeys)
	}
	return err
}

// stringValue takes a string that is the value of key.
func (s *scanner) stringValue(key []byte) (string, error) {
	if s.i < len(s.b) && s.b[s.i] != '"' {
		return "", fmt.Errorf("%q is not a string", key)
	}
	raw, err := s.str()
	if err != nil {
		return "", err
	}
	return s.text(raw)
}

// plainKey is the text of a key.
func (s *scanner) plainKey(raw []byte) ([]byte, error) {
	if !s.escaped {
		return raw[1 : len(raw)-1], nil
	}
	text, err := s.text(raw)
	return []byte(text), err
}

// text is the text of the string raw, which str has just taken.
func (s *scanner) text(raw []byte) (string, error) {
	if !s.escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	var v string
	err := json.Unmarshal(raw, &v)
	return v, err
}

func (s *scanner) origin() (*Origin, error) {
	raw, err := s.value()
	if err != nil {
		return nil, err
	}
	o := new(Origin)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(o); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o.Time = o.Time.UTC()
	if o.Agent == "" || o.ID == "" {
		return nil, errors.New(`origin needs "agent" and "id"`)
	}
	return o, nil
}

// internKind saves a copy for each event.
func internKind(k string) Kind {
	for _, v := range kindCodes {
		if string(v) == k {
			return v
		}
	}
	return Kind(k)
}

// checkInput is Validate, and what a client may not do beside.
func (e *Event) checkInput() error {
	if e.Data == nil {
		return errors.New(`read event: "data" is missing: it may be any JSON`)
	}
	switch {
	case e.Origin != nil:
	case e.Kind != Message && e.Kind != Sample:
		return fmt.Errorf("read event: kind %q: a client may publish message and sample", clip(string(e.Kind)))
	case Guarded(e.Ring):
		return fmt.Errorf("read event: ring %q is the agent's own", e.Ring)
	}
	if e.Cause != "" {
		if _, _, ok := parseID(e.Cause); !ok {
			return fmt.Errorf("read event: cause %q is not the id of an event", clip(e.Cause))
		}
	}
	return e.checkTexts()
}

// Validate checks an event that is to be stored: its name, kind, ring and texts,
// that its data is JSON in UTF-8 and one line, and that it is not over MaxEvent
// (ErrTooBig).
func (e *Event) Validate() error {
	if err := e.checkTexts(); err != nil {
		return err
	}
	s := scanner{b: e.Data}
	if _, err := s.value(); err != nil {
		return fmt.Errorf("check event %q: data: %w", e.Name, err)
	}
	if s.i != len(e.Data) {
		return fmt.Errorf("check event %q: data: %w", e.Name, s.fail("the end"))
	}
	if s.spaced {
		e.Data = compact(e.Data)
	}
	return nil
}

// checkTexts is Validate without the data's grammar.
func (e *Event) checkTexts() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.Hole != nil {
		return fmt.Errorf("check event %q: a gap made on reading is not stored", e.Name)
	}
	if kindCode(e.Kind) == 0 {
		return fmt.Errorf("check event %q: kind %q is not known", e.Name, clip(string(e.Kind)))
	}
	if e.Ring != "" {
		if err := CheckRing(e.Ring); err != nil {
			return err
		}
	}
	if len(e.From) > maxFrom || !utf8.ValidString(e.From) {
		return fmt.Errorf("check event %q: from %q is too long or no UTF-8", e.Name, clip(e.From))
	}
	if len(e.Cause) > maxCause || !utf8.ValidString(e.Cause) {
		return fmt.Errorf("check event %q: cause %q is too long or no UTF-8", e.Name, clip(e.Cause))
	}
	size := overhead + 2*len(e.Name) + 2*len(e.From) + len(e.Cause) + len(e.Data)
	if o := e.Origin; o != nil {
		size += 100 + 2*(len(o.Agent)+len(o.ID)+len(o.Ring))
	}
	if size > MaxEvent {
		return ErrTooBig
	}
	return nil
}

// CheckName checks an event's name: 1 to 256 bytes of UTF-8 without control characters.
func CheckName(name string) error {
	if name == "" {
		return errors.New("check event: it has no name")
	}
	if len(name) > MaxName {
		return fmt.Errorf("check event: name %q is over %d bytes", clip(name), MaxName)
	}
	ascii := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("check event: name %q has a control character", clip(name))
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return nil
	}
	for _, r := range name {
		if r >= 0x80 && r < 0xa0 {
			return fmt.Errorf("check event: name %q has a control character", clip(name))
		}
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("check event: name %q is no UTF-8", clip(name))
	}
	return nil
}

// CheckRing checks a ring's name: a letter or digit, then those, "-" and "_"; 64
// at most.
func CheckRing(ring string) error {
	ok := ring != "" && len(ring) <= maxRing && ring[0] != '-' && ring[0] != '_'
	for i := 0; ok && i < len(ring); i++ {
		c := ring[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	if !ok {
		return fmt.Errorf("ring %q: a ring's name is lower-case letters, digits, - and _, %d at most", clip(ring), maxRing)
	}
	return nil
}
