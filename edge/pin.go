package edge

import (
	"fmt"
	"strconv"
	"strings"
)

// Pin names a GPIO line the way periph's registry does: GPIO17. UnmarshalText
// also takes the bare BCM number (17) and a position of the 40-pin header
// (P1_11). Another name, as an expander gives its pins, is kept as it is.
type Pin string

// maxBCM is the highest BCM number of any board.
const maxBCM = 53

// header is the 40-pin header by position; a number is a BCM line.
var header = [41]string{
	1: "3V3", 2: "5V", 3: "2", 4: "5V", 5: "3", 6: "GND", 7: "4", 8: "14", 9: "GND", 10: "15",
	11: "17", 12: "18", 13: "27", 14: "GND", 15: "22", 16: "23", 17: "3V3", 18: "24", 19: "10", 20: "GND",
	21: "9", 22: "25", 23: "11", 24: "8", 25: "GND", 26: "7", 27: "0", 28: "1", 29: "5", 30: "GND",
	31: "6", 32: "12", 33: "13", 34: "GND", 35: "19", 36: "16", 37: "26", 38: "20", 39: "GND", 40: "21",
}

// MarshalText gives the name.
func (p Pin) MarshalText() ([]byte, error) { return []byte(p), nil }

// String is the name.
func (p Pin) String() string { return string(p) }

// Number is the pin's BCM number; false where it is no GPIOnn.
func (p Pin) Number() (int, bool) {
	s, ok := strings.CutPrefix(string(p), "GPIO")
	n, err := strconv.Atoi(s)
	return n, ok && err == nil
}

// UnmarshalText reads a pin. The error says what was meant.
func (p *Pin) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if text == "" {
		return fmt.Errorf("pin is empty: name one like GPIO17 or P1_11")
	}
	up := strings.ToUpper(text)
	if n, ok := digits(strings.TrimPrefix(strings.TrimPrefix(up, "GPIO"), "BCM")); ok {
		if n > maxBCM {
			return fmt.Errorf("pin %q: the highest line is GPIO%d", text, maxBCM)
		}
		*p = Pin("GPIO" + strconv.Itoa(n))
		return nil
	}
	for _, prefix := range []string{"P1_", "J8_", "PIN", "BOARD", "P1-"} {
		if n, ok := digits(strings.TrimLeft(strings.TrimPrefix(up, prefix), " _-")); ok && strings.HasPrefix(up, prefix) {
			return p.fromHeader(text, prefix, n)
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c <= ' ' || c >= 0x7f || c == '"' {
			return fmt.Errorf("pin %q: a pin's name is like GPIO17 or P1_11", text)
		}
	}
	*p = Pin(text)
	return nil
}

// fromHeader sets the line at position n of the header.
func (p *Pin) fromHeader(text, prefix string, n int) error {
	if n < 1 || n >= len(header) {
		return fmt.Errorf("pin %q: the header has positions P1_1 to P1_40", text)
	}
	bcm := header[n]
	if _, ok := digits(bcm); !ok {
		return fmt.Errorf("pin %q: position %d of the header is %s, no line", text, n, bcm)
	}
	if prefix != "P1_" && prefix != "J8_" {
		return fmt.Errorf("pin %q: for position %d of the header write P1_%d or GPIO%s", text, n, n, bcm)
	}
	*p = Pin("GPIO" + bcm)
	return nil
}

// digits reads a short run of digits and nothing else.
func digits(s string) (int, bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
