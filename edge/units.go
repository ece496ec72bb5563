package edge

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time that carries its unit: "30ms", "10s", "10m", "1h",
// "1h30m", "30d", "2w". Only 0 may go without.
type Duration time.Duration

// Size is a number of bytes that carries its unit: "200MB" (SI) or "1GiB"
// (binary). Only 0 may go without.
type Size int64

// Count is a number of events: "50", "100k events", "1M events".
type Count uint64

// Rate is a number of bytes in a span of time: "100MB/day", "50MB/month".
type Rate struct {
	Bytes int64
	Per   time.Duration
}

type unitName struct {
	name string
	is   float64
}

const day = 24 * time.Hour

// The units, longest name first where one begins with another.
var (
	durationUnits = []unitName{
		{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9},
		{"d", float64(day)}, {"w", 7 * float64(day)},
	}
	sizeUnits = []unitName{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
	countUnits = []unitName{{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"", 1}}
	rateSpans  = []struct {
		name string
		is   time.Duration
	}{{"second", time.Second}, {"s", time.Second}, {"minute", time.Minute}, {"min", time.Minute}, {"hour", time.Hour}, {"h", time.Hour},
		{"day", day}, {"d", day}, {"week", 7 * day}, {"w", 7 * day}, {"month", 30 * day}}
)

// number splits s into its leading decimal number and the rest.
func number(s string) (v float64, rest string, ok bool) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
		i++
	}
	v, err := strconv.ParseFloat(s[:i], 64)
	return v, s[i:], err == nil
}

// unitOf looks up a unit by its exact name.
func unitOf(units []unitName, name string) (float64, bool) {
	for _, u := range units {
		if u.name == name {
			return u.is, true
		}
	}
	return 0, false
}

// D is d as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String gives the text that UnmarshalText reads back.
func (d Duration) String() string {
	t := time.Duration(d)
	if t > 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration. The error names the value and the cure.
func (d *Duration) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if text == "0" {
		*d = 0
		return nil
	}
	bad := func(why string) error {
		return fmt.Errorf("duration %q %s: write it like 30ms, 10s, 10m, 1h, 30d or 2w", text, why)
	}
	if text == "" {
		return bad("is empty")
	}
	if text[0] == '-' {
		return bad("is negative")
	}
	total, rest := 0.0, text
	for rest != "" {
		v, after, ok := number(rest)
		if !ok {
			return bad("is not a number with a unit")
		}
		end := strings.IndexAny(after, "0123456789.")
		if end < 0 {
			end = len(after)
		}
		name := strings.TrimSpace(after[:end])
		if name == "" {
			return bad("has no unit")
		}
		is, ok := unitOf(durationUnits, name)
		if !ok {
			return bad("has an unknown unit")
		}
		total += v * is
		rest = strings.TrimSpace(after[end:])
	}
	if total >= math.MaxInt64 {
		return bad("is too long")
	}
	*d = Duration(math.Round(total))
	return nil
}

// String gives the text that UnmarshalText reads back: the largest unit that
// divides it, SI before binary.
func (z Size) String() string {
	if z <= 0 {
		return strconv.FormatInt(int64(z), 10)
	}
	for _, name := range []string{"TB", "GB", "MB", "TiB", "GiB", "MiB", "kB", "KiB"} {
		is, _ := unitOf(sizeUnits, name)
		if n := int64(is); int64(z)%n == 0 {
			return strconv.FormatInt(int64(z)/n, 10) + name
		}
	}
	return strconv.FormatInt(int64(z), 10) + "B"
}

// MarshalText is String.
func (z Size) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// UnmarshalText reads a size. The error names the value and the cure.
func (z *Size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	n, why := parseSize(text)
	if why != "" {
		return fmt.Errorf("size %q %s: write it like 16kB, 200MB or 1GiB", text, why)
	}
	*z = Size(n)
	return nil
}

// parseSize gives the bytes, or why the text is no size.
func parseSize(text string) (n int64, why string) {
	if text == "0" {
		return 0, ""
	}
	v, name, ok := number(text)
	name = strings.TrimSpace(name)
	switch {
	case text == "":
		return 0, "is empty"
	case text[0] == '-':
		return 0, "is negative"
	case !ok:
		return 0, "is not a number with a unit"
	case name == "":
		return 0, "has no unit"
	}
	is, ok := unitOf(sizeUnits, name)
	if !ok {
		return 0, "has an unknown unit"
	}
	if v*is >= math.MaxInt64 {
		return 0, "is too large"
	}
	return int64(math.Round(v * is)), ""
}

// String gives the text that UnmarshalText reads back.
func (c Count) String() string {
	switch {
	case c >= 1e6 && c%1e6 == 0:
		return strconv.FormatUint(uint64(c/1e6), 10) + "M events"
	case c >= 1e3 && c%1e3 == 0:
		return strconv.FormatUint(uint64(c/1e3), 10) + "k events"
	}
	return strconv.FormatUint(uint64(c), 10) + " events"
}

// MarshalText is String.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a count. The error names the value and the cure.
func (c *Count) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	bad := func(why string) error {
		return fmt.Errorf("count %q %s: write it like 50, 100k events or 1M events", text, why)
	}
	s := strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(text, "events"), "event"))
	v, name, ok := number(s)
	if !ok {
		return bad("is not a number")
	}
	is, ok := unitOf(countUnits, strings.TrimSpace(name))
	if !ok {
		return bad("has an unknown unit")
	}
	if v *= is; v >= math.MaxInt64 || v != math.Trunc(v) {
		return bad("is not a whole number")
	}
	*c = Count(v)
	return nil
}

// PerDay is the rate in bytes a day; 0 of the zero Rate.
func (r Rate) PerDay() int64 {
	if r.Per <= 0 {
		return 0
	}
	return int64(float64(r.Bytes) * float64(day) / float64(r.Per))
}

// String gives the text that UnmarshalText reads back; the zero Rate is "".
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	for _, s := range rateSpans {
		if s.is == r.Per {
			return Size(r.Bytes).String() + "/" + s.name
		}
	}
	return Size(r.Bytes).String() + "/" + Duration(r.Per).String()
}

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a rate. The error names the value and the cure.
func (r *Rate) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	bad := func(why string) error {
		return fmt.Errorf("rate %q %s: write it like 100MB/day or 50MB/month", text, why)
	}
	amount, span, ok := strings.Cut(text, "/")
	if !ok {
		return bad("has no span of time")
	}
	n, why := parseSize(strings.TrimSpace(amount))
	if why != "" {
		return bad(why)
	}
	span = strings.TrimSpace(span)
	for _, s := range rateSpans {
		if s.name == span {
			*r = Rate{Bytes: n, Per: s.is}
			return nil
		}
	}
	var d Duration
	if err := d.UnmarshalText([]byte(span)); err != nil || d == 0 {
		return bad("has an unknown span of time")
	}
	*r = Rate{Bytes: n, Per: d.D()}
	return nil
}
