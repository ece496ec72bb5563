package main

import (
	"regexp"
	"strings"

	"fieldpost/edge/config"
	"fieldpost/edge/config/configtest"
)

// block is a section of the example: what is said of it, and the lines that show it.
type block struct {
	name  string
	prose []string // paragraphs
	lines []string
}

// topKey is a key in the first column.
var topKey = regexp.MustCompile(`^([a-z_]+):`)

// blocksOf takes the example apart. The first block is what is said of the whole. Prose
// after a section's lines is that section's.
func blocksOf(example string) []block {
	blocks := []block{{}}
	var prose []string
	flush := func() {
		blocks[len(blocks)-1].prose = append(blocks[len(blocks)-1].prose, prose...)
		prose = nil
	}
	begun := true // the next line of prose begins a paragraph
	for _, raw := range strings.Split(example, "\n") {
		text := strings.TrimSuffix(string(configtest.Uncomment([]byte(raw+"\n"))), "\n")
		switch {
		case raw == "":
			flush()
			begun = true
		case raw == "#":
			begun = true
		case strings.HasPrefix(text, "# "):
			if begun {
				prose = append(prose, "")
				begun = false
			}
			last := &prose[len(prose)-1]
			*last = strings.TrimSpace(*last + " " + text[2:])
		default:
			if m := topKey.FindStringSubmatch(text); m != nil {
				blocks = append(blocks, block{name: m[1]})
			}
			flush()
			now := &blocks[len(blocks)-1]
			now.lines = append(now.lines, text)
			begun = true
		}
	}
	flush()
	return blocks
}

// shown is a line of the example that has a key: its depth, the key, and the comment.
var shown = regexp.MustCompile(`^( *)([a-z0-9_]+):(?:.*?\s# (.*))?.*$`)

// entryOf finds the lines of the device that shows a driver.
func entryOf(lines []string, driver string) []string {
	var entry []string
	found := false
	for _, l := range append(lines[1:len(lines):len(lines)], "  end:") {
		m := shown.FindStringSubmatch(l)
		if m != nil && len(m[1]) == 2 {
			if found {
				return entry
			}
			entry = nil
		}
		entry = append(entry, strings.TrimPrefix(l, "  "))
		found = found || m != nil && len(m[1]) == 4 && m[2] == driver
	}
	return nil
}

// words are the comments of the example's lines.
type words map[string]string

// wordsOf finds what the example says of a key, first of all in its section, and for
// a driver in its own entry. The key is the last part of its path.
func wordsOf(example string) words {
	w := words{}
	for _, b := range blocksOf(example)[1:] {
		driver := ""
		for i, l := range b.lines {
			m := shown.FindStringSubmatch(l)
			if m == nil {
				continue
			}
			if len(m[1]) == 2 && i+1 < len(b.lines) {
				if next := shown.FindStringSubmatch(b.lines[i+1]); next != nil {
					driver = next[2]
				}
			}
			text := strings.TrimSpace(m[3])
			for _, at := range []string{b.name + " " + driver + " " + m[2], b.name + "  " + m[2], "  " + m[2]} {
				if _, ok := w[at]; !ok && text != "" {
					w[at] = text
				}
			}
		}
	}
	return w
}

// of is what there is to say of a key: of its own entry, of its section, or of
// the common ones.
func (w words) of(k config.Reference) string {
	last := k.Key[strings.LastIndexByte(k.Key, '.')+1:]
	if text, ok := w[k.Section+" "+k.Plugin+" "+last]; ok {
		return text
	}
	if k.Key == k.Plugin {
		return "This key names the " + map[string]string{"devices": "driver", "uplinks": "sender"}[k.Section]
	}
	return common[k.Key]
}

// common is what is said of keys that many have alike, where an entry's own comment
// does not.
var common = map[string]string{
	"label":            "What people call it",
	"room":             "Where it is, to find it by",
	"tags":             "Words to find it by",
	"at.lat":           "Where it stands, in degrees",
	"at.lon":           "Where it stands, in degrees",
	"ring":             "Where its events are kept, instead of events and samples",
	"pull":             "up, down, off or none (as it is)",
	"debounce":         "A level counts once it was stable for this long",
	"active_low":       "On means a low voltage",
	"states.on":        "What on is called",
	"states.off":       "What off is called",
	"remote":           "Commands from upstream are allowed",
	"every":            "How often it is read, or told",
	"unit":             "Stands beside the value",
	"scale":            "What the reading is multiplied by",
	"report.delta":     "A change is told once it is at least this",
	"report.heartbeat": "And at least this often, changed or not",
	"accept.min":       "A reading below is told without a value: it is not believed",
	"accept.max":       "A reading above is told without a value: it is not believed",
	"bus":              "The I2C bus that it is on",
	"timeout":          "How long an answer may take",
	"tls.ca":           "PEM of who signs the peer's certificate; without it: the system's authorities",
	"tls.cert":         "PEM of the own certificate, and",
	"tls.key":          "PEM of its key",
	"tls.server_name":  "Where the peer's certificate has another name",
	"tls.insecure":     "Take any certificate. Never on the open network",
}
