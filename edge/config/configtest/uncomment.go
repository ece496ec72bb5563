// Package configtest is for tests of the example config, in packages that may
// import the real plug-ins.
package configtest

import (
	"bytes"
)

// Uncomment turns the examples of a config file into config. A comment for people
// is "# text"; an example is "#key: value" or "#  key: value", the line as it is
// to be written with a # before it.
func Uncomment(b []byte) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	for i, line := range lines {
		rest, ok := bytes.CutPrefix(line, []byte("#"))
		prose := len(rest) > 1 && rest[0] == ' ' && rest[1] != ' '
		if ok && !prose {
			lines[i] = rest
		}
	}
	return bytes.Join(lines, nil)
}
