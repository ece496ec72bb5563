package gpio

import "strconv"

// headerLines is the number of lines on the 40-pin header: GPIO0 to GPIO27.
const headerLines = 28

// headerPins is the 40-pin header, the same on every board since the B+: the
// name at each position, from 1 on.
var headerPins = [41]string{
	1: "3V3", 2: "5V",
	3: "GPIO2", 4: "5V",
	5: "GPIO3", 6: "GND",
	7: "GPIO4", 8: "GPIO14",
	9: "GND", 10: "GPIO15",
	11: "GPIO17", 12: "GPIO18",
	13: "GPIO27", 14: "GND",
	15: "GPIO22", 16: "GPIO23",
	17: "3V3", 18: "GPIO24",
	19: "GPIO10", 20: "GND",
	21: "GPIO9", 22: "GPIO25",
	23: "GPIO11", 24: "GPIO8",
	25: "GND", 26: "GPIO7",
	27: "GPIO0", 28: "GPIO1",
	29: "GPIO5", 30: "GND",
	31: "GPIO6", 32: "GPIO12",
	33: "GPIO13", 34: "GND",
	35: "GPIO19", 36: "GPIO16",
	37: "GPIO26", 38: "GPIO20",
	39: "GND", 40: "GPIO21",
}

// lineName is the name of a header line: GPIO17.
func lineName(bcm int) string { return "GPIO" + strconv.Itoa(bcm) }

// aliases gives the names of a header position that is a line: P1_11 -> GPIO17.
func aliases() map[string]string {
	m := make(map[string]string, headerLines)
	for pos, name := range headerPins {
		if isLine(name) {
			m["P1_"+strconv.Itoa(pos)] = name
		}
	}
	return m
}

// isLine reports whether a header position is a line, not power or ground.
func isLine(name string) bool { return len(name) > 4 && name[:4] == "GPIO" }
