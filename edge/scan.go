package edge

import (
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays of an event's data may nest: what any
// common parser of a receiver can take.
const MaxDepth = 512

// plain marks the bytes that stand for themselves in a JSON string, and need no look at
// what follows.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// scanner walks JSON text once, and is as strict as encoding/json: it wants
// UTF-8 too, and no more than MaxDepth levels. It takes no memory.
type scanner struct {
	b       []byte
	i       int
	spaced  bool // white space between the tokens of the last value
	escaped bool // a backslash in the last string
}

func (s *scanner) fail(want string) error {
	if s.i >= len(s.b) {
		return fmt.Errorf("it ends where %s should be", want)
	}
	return fmt.Errorf("byte %d is %q where %s should be", s.i, s.b[s.i:s.i+1], want)
}

// space skips white space.
func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// take takes one byte c.
func (s *scanner) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// str takes a string, quotes included.
func (s *scanner) str() ([]byte, error) {
	start := s.i
	if !s.take('"') {
		return nil, s.fail("a string")
	}
	s.escaped = false
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case plain[c]:
			s.i++
		case c == '"':
			s.i++
			return s.b[start:s.i], nil
		case c == '\\':
			s.escaped = true
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, fmt.Errorf("byte %d is a control character in a string", s.i)
		default:
			r, n := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && n == 1 {
				return nil, fmt.Errorf("byte %d is not UTF-8", s.i)
			}
			s.i += n
		}
	}
	return nil, s.fail("the end of a string")
}

func (s *scanner) escape() error {
	s.i++
	if s.i >= len(s.b) {
		return s.fail("an escape")
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
		for range 4 {
			if s.i >= len(s.b) || !isHex(s.b[s.i]) {
				return s.fail("a hex digit")
			}
			s.i++
		}
		return nil
	}
	return s.fail("an escape")
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *scanner) digits() error {
	if s.i >= len(s.b) || s.b[s.i]-'0' > 9 {
		return s.fail("a digit")
	}
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return nil
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') {
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.take('.') {
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.take('e') || s.take('E') {
		if !s.take('-') {
			s.take('+')
		}
		return s.digits()
	}
	return nil
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.fail("a value")
	}
	s.i += len(w)
	return nil
}

// scalar takes a value that is no object or array.
func (s *scanner) scalar() error {
	if s.i >= len(s.b) {
		return s.fail("a value")
	}
	switch c := s.b[s.i]; {
	case c == '"':
		_, err := s.str()
		return err
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	return s.fail("a value")
}

// gap skips white space inside a value, and remembers it.
func (s *scanner) gap() {
	if s.i < len(s.b) && s.b[s.i] <= ' ' {
		from := s.i
		s.space()
		s.spaced = s.spaced || s.i > from
	}
}

// value takes a value of any kind.
func (s *scanner) value() ([]byte, error) {
	start := s.i
	s.spaced = false
	var objects [MaxDepth/64 + 1]uint64 // a bit a level: it is an object
	depth := 0
	for {
		open := s.i < len(s.b) && (s.b[s.i] == '{' || s.b[s.i] == '[')
		if open {
			if depth++; depth > MaxDepth {
				return nil, fmt.Errorf("it nests deeper than %d levels", MaxDepth)
			}
			object := s.b[s.i] == '{'
			set(&objects, depth, object)
			s.i++
			s.gap()
			if s.i < len(s.b) && s.b[s.i] == closer(object) {
				s.i++
				depth--
			} else {
				if object {
					if err := s.key(); err != nil {
						return nil, err
					}
				}
				continue
			}
		} else if err := s.scalar(); err != nil {
			return nil, err
		}
		more, err := s.after(&objects, &depth)
		if err != nil {
			return nil, err
		}
		if !more {
			return s.b[start:s.i], nil
		}
	}
}

// after takes what follows a value: closing brackets, or a comma and, in an
// object, the next key. It is false where the outermost value is done.
func (s *scanner) after(objects *[MaxDepth/64 + 1]uint64, depth *int) (more bool, err error) {
	for *depth > 0 {
		s.gap()
		object := objects[*depth/64]>>(*depth%64)&1 == 1
		if s.take(closer(object)) {
			*depth--
			continue
		}
		if !s.take(',') {
			return false, s.fail("a comma or the end of the list")
		}
		s.gap()
		if object {
			return true, s.key()
		}
		return true, nil
	}
	return false, nil
}

// key takes a key, its colon and the white space around it.
func (s *scanner) key() error {
	if _, err := s.str(); err != nil {
		return err
	}
	s.gap()
	if !s.take(':') {
		return s.fail("a colon")
	}
	s.gap()
	return nil
}

func set(bits *[MaxDepth/64 + 1]uint64, i int, on bool) {
	if on {
		bits[i/64] |= 1 << (i % 64)
	} else {
		bits[i/64] &^= 1 << (i % 64)
	}
}

func closer(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

// compact is valid JSON without the white space between its tokens: an event is
// one line everywhere.
func compact(b []byte) []byte {
	out := make([]byte, 0, len(b))
	inside := false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case inside && c == '\\':
			out = append(out, c)
			i++
			c = b[i]
		case c == '"':
			inside = !inside
		case !inside && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		out = append(out, c)
	}
	return out
}
