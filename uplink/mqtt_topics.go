package uplink

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// topics are the topics of one agent, all below <prefix>/<agent>/. Names of
// events keep their slashes, so that kitchen/temp is two levels and a receiver
// can subscribe to events/+/kitchen/#. What MQTT forbids in a topic is
// percent-encoded, and so is the percent sign itself: a receiver that decodes
// %XX after splitting has the name back.
//
//	events/{ring}/{name}   one event           state/{name}    retained, a device's current event
//	batch/{ring}           a JSON array        status          retained, online or offline, and the will
//	command/{name}         to us               about           retained, what this agent is
//	result/{id}            what a command did  canary/{id}     a probe's own
type topics struct{ base string }

const defaultPrefix = "fieldpost"

func newTopics(prefix, agent string) (topics, error) {
	if prefix == "" {
		prefix = defaultPrefix
	}
	if strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "$") || topicName(prefix) != prefix {
		return topics{}, fmt.Errorf("prefix %q can't begin a topic: no slash at either end, no $ in front, none of + # %%", prefix)
	}
	return topics{prefix + "/" + topicLevel(agent) + "/"}, nil
}

func (t topics) event(ring, name string) string {
	return t.base + "events/" + topicLevel(ring) + "/" + topicName(name)
}
func (t topics) batch(ring string) string { return t.base + "batch/" + topicLevel(ring) }
func (t topics) state(name string) string { return t.base + "state/" + topicName(name) }
func (t topics) status() string           { return t.base + "status" }
func (t topics) about() string            { return t.base + "about" }
func (t topics) commands() string         { return t.base + "command/#" }
func (t topics) result(id string) string  { return t.base + "result/" + topicLevel(id) }
func (t topics) canary(id string) string  { return t.base + "canary/" + topicLevel(id) }

// device gives the name in a command's topic. It is false where the topic is
// none of ours or is badly encoded.
func (t topics) device(topic string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, t.base+"command/")
	if !ok || rest == "" {
		return "", false
	}
	return untopic(rest)
}

// nameSlashes is how many slashes of a name stay. Brokers close the connection
// over a topic of more levels than they like: EMQX over 128, mosquitto over 200.
const nameSlashes = 64

// topicName encodes what MQTT forbids in a topic, and keeps slashes but those of
// a name with too many.
func topicName(s string) string { return encodeTopic(s, nameSlashes) }

// topicLevel encodes slashes too, for what has to be one level.
func topicLevel(s string) string { return encodeTopic(s, 0) }

// encodeTopic keeps the first few slashes.
func encodeTopic(s string, slashes int) string {
	clean := strings.Count(s, "/") <= slashes
	for i, r := range s {
		if !topicRune(r) || r == utf8.RuneError && isBad(s[i:]) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == '/' {
			slashes--
		}
		if topicRune(r) && !(r == utf8.RuneError && n == 1) && (r != '/' || slashes >= 0) {
			b.WriteString(s[i : i+n])
		} else {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += n
	}
	return b.String()
}

// isBad reports whether s begins with a byte that is no UTF-8.
func isBad(s string) bool {
	_, n := utf8.DecodeRuneInString(s)
	return n == 1
}

// topicRune reports whether a rune may stand in a topic as it is. Control
// characters and noncharacters are legal in some names, and brokers close the
// connection over them.
func topicRune(r rune) bool {
	switch {
	case r == '+', r == '#', r == '%':
		return false
	case r < 0x20, r == 0x7f:
		return false
	case r < utf8.RuneSelf:
		return true
	}
	return !unicode.IsControl(r) && !(r >= 0xfdd0 && r <= 0xfdef) && r&0xfffe != 0xfffe
}

// untopic takes %XX back. It is false where a percent sign begins anything else.
func untopic(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	return string(out), true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
