package agent

import (
	"os"
	"strings"
)

// ID is the agent's id: that of the config, else the host name and the last 4 of the
// board's serial, so that a cloned card stays unique.
func ID(given, serial string) string {
	if given != "" {
		return given
	}
	host, _ := os.Hostname() // a machine without a name is "fieldpost"
	host, _, _ = strings.Cut(host, ".")
	id := nameOf(host)
	if id == "" {
		id = "fieldpost"
	}
	if tail := nameOf(serial); len(tail) >= 4 {
		id += "-" + tail[len(tail)-4:]
	}
	return id
}

// nameOf makes [a-z0-9][a-z0-9_-]* of a text.
func nameOf(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return -1
	}, strings.ToLower(s))
	return strings.TrimLeft(s, "-_")
}
