package edge

import (
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in the log to read on from: an n, or with a ring named its
// seq, in an epoch. Epoch 0 means the newest. The zero Position is before all.
type Position struct {
	Epoch uint32
	N     uint64
}

// ParsePosition reads "<8 hex>.<n>" or a plain number, which is of the newest epoch.
func ParsePosition(s string) (Position, error) {
	bad := func() (Position, error) {
		return Position{}, fmt.Errorf("position %q is not <epoch>.<number> or a number: take it from \"next\" or from an event's id and n", clip(s))
	}
	epoch, n, ok := strings.Cut(s, ".")
	if !ok {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return bad()
		}
		return Position{N: v}, nil
	}
	e, ok1 := hex32(epoch)
	v, err := strconv.ParseUint(n, 10, 64)
	if !ok1 || err != nil {
		return bad()
	}
	return Position{Epoch: e, N: v}, nil
}

// String gives the text that ParsePosition reads.
func (p Position) String() string {
	if p.Epoch == 0 {
		return strconv.FormatUint(p.N, 10)
	}
	return string(strconv.AppendUint(append(appendHex32(make([]byte, 0, 29), p.Epoch), '.'), p.N, 10))
}

// MarshalText is String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePosition.
func (p *Position) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePosition(string(b))
	return err
}

// EventID is the id of the event n of an epoch: "7f3a9c21-20817".
func EventID(epoch uint32, n uint64) string {
	return string(appendID(make([]byte, 0, 29), epoch, n))
}

// ParseID takes apart what EventID made.
func ParseID(s string) (epoch uint32, n uint64, err error) {
	if epoch, n, ok := parseID(s); ok {
		return epoch, n, nil
	}
	return 0, 0, fmt.Errorf("id %q is not <8 hex>-<number>", clip(s))
}

func parseID(s string) (epoch uint32, n uint64, ok bool) {
	if len(s) < 10 || s[8] != '-' {
		return 0, 0, false
	}
	epoch, ok = hex32(s[:8])
	if !ok || s[9] == '0' && len(s) > 10 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(s[9:], 10, 64)
	return epoch, n, err == nil && s[9] != '+'
}

// ID is the event's id, "" while it has no number. A gap's is
// "<epoch>-<ring>-<from>..<to>".
func (e *Event) ID() string {
	if e.N == 0 && e.Hole == nil {
		return ""
	}
	return string(e.appendID(nil))
}

func (e *Event) appendID(dst []byte) []byte {
	if e.Hole == nil {
		return appendID(dst, e.Epoch, e.N)
	}
	dst = append(appendHex32(dst, e.Epoch), '-')
	dst = append(append(dst, e.Ring...), '-')
	dst = strconv.AppendUint(dst, e.Hole.From, 10)
	return strconv.AppendUint(append(dst, ".."...), e.Hole.To, 10)
}

// Position is where a reader of all rings goes on after this event. A gap has
// none of its own: it is read again with what follows it.
func (e *Event) Position() Position { return Position{e.Epoch, e.N} }

// SeqPosition is where a reader of the event's ring goes on after it.
func (e *Event) SeqPosition() Position { return Position{e.Epoch, e.Seq} }

func appendID(dst []byte, epoch uint32, n uint64) []byte {
	return strconv.AppendUint(append(appendHex32(dst, epoch), '-'), n, 10)
}

const hexDigits = "0123456789abcdef"

func appendHex32(dst []byte, v uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// hex32 reads exactly 8 lower-case hex digits.
func hex32(s string) (v uint32, ok bool) {
	if len(s) != 8 {
		return 0, false
	}
	for i := 0; i < 8; i++ {
		d := strings.IndexByte(hexDigits, s[i])
		if d < 0 {
			return 0, false
		}
		v = v<<4 | uint32(d)
	}
	return v, true
}

// clip shortens a text from outside for an error.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
