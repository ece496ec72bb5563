package edge

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// numeral is a number of a JSON text, as it was written: what is told again of a
// series must be what was in it.
type numeral struct {
	f    float64
	size uint8
	text [maxNumeral]byte
}

// maxNumeral is enough for any float64 and int64; a longer text is told as the
// float64 that it stands for.
const maxNumeral = 26

// parseNumeral reads a JSON number. One that no float64 can hold is none.
func parseNumeral(b []byte) (n numeral, ok bool) {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return n, false
	}
	n.f = f
	if len(b) > maxNumeral {
		b = appendNumber(n.text[:0], f)
	}
	n.size = uint8(copy(n.text[:], b))
	return n, true
}

func (n *numeral) bytes() []byte { return n.text[:n.size] }

// less compares by value. Whole numbers beyond what a float64 tells apart are
// compared as they are.
func (n *numeral) less(o *numeral) bool {
	const exact = 1 << 53
	if n.f != o.f || math.Abs(n.f) < exact {
		return n.f < o.f
	}
	a, errA := strconv.ParseInt(string(n.bytes()), 10, 64)
	b, errB := strconv.ParseInt(string(o.bytes()), 10, 64)
	return errA == nil && errB == nil && a < b
}

// appendNumber appends a number as JSON, a whole one without an exponent.
func appendNumber(dst []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// tally sums up a series of values: the numbers, and how many were none.
type tally struct {
	n              uint64 // numbers
	min, max, last numeral
	sum, lost      float64 // of the numbers, and what rounding took from it
	huge           bool    // both are scaled down, lest they overflow

	others uint64 // values that are no number
	other  []byte // the last of them; nil where it was too long to keep
}

const (
	hugeFrom  = 1e280
	hugeScale = 0x1p-80
)

// add takes a value of the series, as JSON.
func (t *tally) add(value []byte, keep int) {
	if c := value[0]; c == '-' || c-'0' <= 9 {
		if v, ok := parseNumeral(value); ok {
			t.addNumbers(1, v, v, v, v.f)
			return
		}
	}
	t.others++
	t.other = nil
	if len(value) <= keep {
		t.other = bytes.Clone(value)
	}
}

// addNumbers takes n numbers of which these are known.
func (t *tally) addNumbers(n uint64, min, max, last numeral, mean float64) {
	if t.n == 0 || min.less(&t.min) {
		t.min = min
	}
	if t.n == 0 || t.max.less(&max) {
		t.max = max
	}
	t.last = last
	t.n += n
	if !t.huge && math.Abs(mean) > hugeFrom {
		t.sum, t.lost, t.huge = t.sum*hugeScale, t.lost*hugeScale, true
	}
	if t.huge {
		mean *= hugeScale
	}
	// Neumaier's sum: what each addition rounds away is kept.
	x := mean * float64(n)
	sum := t.sum + x
	if math.Abs(t.sum) >= math.Abs(x) {
		t.lost += t.sum - sum + x
	} else {
		t.lost += x - sum + t.sum
	}
	t.sum = sum
}

// mean is that of the numbers, of which there is one.
func (t *tally) mean() float64 {
	m := (t.sum + t.lost) / float64(t.n)
	if t.huge {
		m /= hugeScale
	}
	return min(max(m, t.min.f), t.max.f)
}

// appendJSON appends what is known, as the inside of an object. lead puts the
// mean under "value" too.
func (t *tally) appendJSON(dst []byte, lead bool) []byte {
	if t.n == 0 {
		if t.other != nil {
			dst = append(append(append(dst, `"last":`...), t.other...), ',')
		}
		return strconv.AppendUint(append(dst, `"n":`...), t.others, 10)
	}
	mean := appendNumber(make([]byte, 0, 32), t.mean())
	if lead {
		dst = append(append(append(dst, `"value":`...), mean...), ',')
	}
	dst = append(append(dst, `"min":`...), t.min.bytes()...)
	dst = append(append(dst, `,"mean":`...), mean...)
	dst = append(append(dst, `,"max":`...), t.max.bytes()...)
	dst = append(append(dst, `,"last":`...), t.last.bytes()...)
	dst = strconv.AppendUint(append(dst, `,"n":`...), t.n, 10)
	if t.others > 0 {
		dst = strconv.AppendUint(append(dst, `,"others":`...), t.others, 10)
	}
	return dst
}

// tallied is what appendJSON wrote.
type tallied struct {
	Min    json.RawMessage `json:"min"`
	Mean   json.RawMessage `json:"mean"`
	Max    json.RawMessage `json:"max"`
	Last   json.RawMessage `json:"last"`
	N      uint64          `json:"n"`
	Others uint64          `json:"others"`
}

// merge takes the series that another tally summed up.
func (t *tally) merge(o *tallied, keep int) {
	lo, ok1 := parseNumeral(o.Min)
	hi, ok2 := parseNumeral(o.Max)
	last, ok3 := parseNumeral(o.Last)
	mean, ok4 := parseNumeral(o.Mean)
	if ok1 && ok2 && ok3 && ok4 && o.N > 0 {
		t.addNumbers(o.N, lo, hi, last, mean.f)
		t.others += o.Others
		return
	}
	t.others += o.N
	t.other = nil
	if len(o.Last) > 0 && len(o.Last) <= keep {
		t.other = bytes.Clone(o.Last)
	}
}
