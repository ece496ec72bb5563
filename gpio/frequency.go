package gpio

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Frequency is a number of periods a second that carries its unit: "50Hz", "25kHz",
// "1MHz".
type Frequency float64

// MarshalText gives the text that UnmarshalText reads.
func (f Frequency) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String is the number with its unit.
func (f Frequency) String() string {
	v, unit := float64(f), "Hz"
	switch {
	case v >= 1e6:
		v, unit = v/1e6, "MHz"
	case v >= 1e3:
		v, unit = v/1e3, "kHz"
	}
	return strconv.FormatFloat(v, 'g', -1, 64) + unit
}

// UnmarshalText reads a frequency. The error names the value and the cure.
func (f *Frequency) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	for _, u := range []struct {
		name string
		is   float64
	}{{"MHz", 1e6}, {"kHz", 1e3}, {"Hz", 1}} {
		if s, ok := strings.CutSuffix(text, u.name); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && v >= 0 && !math.IsInf(v, 0) {
				*f = Frequency(v * u.is)
				return nil
			}
			break
		}
	}
	return fmt.Errorf("frequency %q: write it like 50Hz, 25kHz or 1MHz", text)
}
