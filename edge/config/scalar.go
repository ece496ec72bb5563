package config

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"fieldpost/edge"
)

// mistake is what is wrong with a value, and the cure.
type mistake struct{ what, cure string }

// The spellings of numbers.
var (
	plainInt = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	hexInt   = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)
	octalInt = regexp.MustCompile(`^[+-]?0o?[0-7_]+$`)
	plainNum = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
	leadZero = regexp.MustCompile(`^[+-]?0[0-9]`)
)

// readScalar reads a scalar as a bool, a number or text. The value is an int64,
// uint64, float64, bool or string.
func readScalar(n *node, t reflect.Type) (any, *mistake) {
	switch k := t.Kind(); {
	case k == reflect.String:
		return n.text, nil
	case k == reflect.Bool:
		return readBool(n)
	case k >= reflect.Int && k <= reflect.Uint64:
		return readInt(n, t)
	case k == reflect.Float32 || k == reflect.Float64:
		return readFloat(n)
	}
	return nil, &mistake{"config can't read a " + t.String(), ""}
}

// readBool takes true and false alone. YAML once took on, off, yes and no for
// them, so that a user may mean either.
func readBool(n *node) (any, *mistake) {
	low := strings.ToLower(n.text)
	switch {
	case n.tag == "!!bool":
		return low == "true", nil
	case low == "true" || low == "false":
		return nil, &mistake{quote(n.text) + " is text", "write " + low + " without quotes"}
	case low == "on" || low == "yes" || low == "y" || low == "1":
		return nil, &mistake{quote(n.text) + " is neither true nor false", "write true"}
	case low == "off" || low == "no" || low == "n" || low == "0":
		return nil, &mistake{quote(n.text) + " is neither true nor false", "write false"}
	}
	return nil, &mistake{quote(n.text) + " is neither true nor false", "write one of them"}
}

// readInt takes plain decimal and 0x.
func readInt(n *node, t reflect.Type) (any, *mistake) {
	text := n.text
	bad := &mistake{quote(text) + " is not a whole number", "write it like 80 or 0x50"}
	switch {
	case n.quoted && plainInt.MatchString(text):
		return nil, &mistake{quote(text) + " is text", "write " + text + " without quotes"}
	case n.quoted:
		return nil, bad
	case plainInt.MatchString(text) || hexInt.MatchString(text):
		return fitInt(text, t)
	case octalInt.MatchString(text):
		return nil, octal(text)
	}
	if plain := strings.TrimPrefix(strings.ReplaceAll(text, "_", ""), "+"); plainInt.MatchString(plain) {
		bad.cure = "write " + plain
	} else if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1e15 {
		bad.cure = "write " + strconv.FormatInt(int64(f), 10)
	}
	return nil, bad
}

// octal is the mistake of a number with a leading zero, which some read as octal.
func octal(text string) *mistake {
	digits := strings.TrimLeft(strings.ReplaceAll(text, "_", ""), "+-0o")
	if digits == "" {
		return &mistake{quote(text) + " has too many zeros", "write 0"}
	}
	sign := ""
	if text[0] == '-' {
		sign = "-"
	}
	m := &mistake{quote(text) + " could be octal", "write " + sign + digits}
	if v, err := strconv.ParseInt(digits, 8, 64); err == nil && strconv.FormatInt(v, 10) != digits {
		m.cure += ", or " + sign + strconv.FormatInt(v, 10) + " if octal was meant"
	}
	return m
}

// fitInt reads text, which is a plain or hexadecimal number, for type t.
func fitInt(text string, t reflect.Type) (any, *mistake) {
	bits := t.Bits()
	if t.Kind() >= reflect.Uint {
		v, err := strconv.ParseUint(text, 0, bits)
		if err == nil {
			return v, nil
		}
		top := uint64(math.MaxUint64) >> (64 - bits)
		return nil, &mistake{quote(text) + " does not fit", "write 0 to " + strconv.FormatUint(top, 10)}
	}
	v, err := strconv.ParseInt(text, 0, bits)
	if err == nil {
		return v, nil
	}
	top := int64(math.MaxInt64) >> (64 - bits)
	return nil, &mistake{quote(text) + " does not fit", "write " + strconv.FormatInt(-top-1, 10) + " to " + strconv.FormatInt(top, 10)}
}

// readFloat takes decimal numbers, with or without an exponent, and 0x.
func readFloat(n *node) (any, *mistake) {
	text := n.text
	switch {
	case n.quoted && plainNum.MatchString(text):
		return nil, &mistake{quote(text) + " is text", "write " + text + " without quotes"}
	case n.quoted:
	case hexInt.MatchString(text):
		if v, err := strconv.ParseUint(text, 0, 53); err == nil {
			return float64(v), nil
		}
	case octalInt.MatchString(text) && text != "0" && text != "-0":
		return nil, octal(text)
	case plainNum.MatchString(text) && !leadZero.MatchString(text):
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v, nil
		}
	}
	return nil, &mistake{quote(text) + " is not a number", "write it like 0.5, 20 or 1e3"}
}

// wants says what a value of type t looks like.
func wants(t reflect.Type) string {
	switch t {
	case edgeDuration, stdDuration:
		return "it like 30ms, 10s or 1h"
	case secretType:
		return "it, or file:PATH, env:NAME or cred:NAME"
	case pinType:
		return "it like GPIO17"
	case sizeType:
		return "it like 200MB"
	case countType:
		return "it like 100k events"
	case reflect.TypeFor[edge.Rate]():
		return "it like 100MB/day"
	}
	switch k := t.Kind(); {
	case textTarget(t) != nil || k == reflect.String:
		return "one text"
	case k == reflect.Struct || k == reflect.Map:
		return "it as  {key: value}"
	case k == reflect.Slice:
		return "it as  [one, two]"
	case k == reflect.Bool:
		return "true or false"
	}
	return "a number"
}
