package main

import (
	"fmt"
	"strings"

	"fieldpost/edge/config"
)

// kinds says how a value of a kind is written.
var kinds = []struct{ kind, how string }{
	{"time", "A number with its unit: 30ms, 10s, 5m, 1h, 30d, 2w."},
	{"size", "A number of bytes with its unit: 16kB, 200MB, 1GiB."},
	{"rate", "A size in a time: 100MB/day."},
	{"count", "A number of events: 50000 or 100k events."},
	{"pin", "GPIO17, 17, P1_11 (a position of the header), or LABEL/OFFSET of another chip."},
	{"secret", "file:PATH, env:NAME or cred:NAME (a credential of systemd), or as it is. It is never printed."},
	{"text", "As it is, or in quotes where YAML would read something else."},
	{"list", "[one, two]"},
	{"map", "{key: value}"},
}

// page writes the manual page of the example config and its keys.
func page(example string, keys []config.Reference) string {
	var b strings.Builder
	b.WriteString(`.TH FIELDPOST.YAML 5 "" "Fieldpost" "File Formats"
.SH NAME
fieldpost.yaml \- what the edge agent fieldpost does
.SH SYNOPSIS
.I /etc/fieldpost/fieldpost.yaml
.br
.I /etc/fieldpost/conf.d/*.yaml
.SH DESCRIPTION
`)
	blocks := blocksOf(example)
	writeProse(&b, blocks[0].prose)
	b.WriteString(".SH VALUES\n")
	for _, k := range kinds {
		item(&b, k.kind, k.how)
	}
	words, own := wordsOf(example), docs()
	for _, section := range blocks[1:] {
		fmt.Fprintf(&b, ".SH %s\n", escape(strings.ToUpper(section.name)))
		writeProse(&b, section.prose)
		if section.name != "devices" { // whose drivers each have their own
			writeExample(&b, section.lines)
		}
		plugin := ""
		for _, k := range keys {
			if k.Section != section.name || k.Section == "uplink_defaults" {
				continue
			}
			if k.Plugin != plugin {
				plugin = k.Plugin
				fmt.Fprintf(&b, ".SS %s\n", escape(plugin))
				writeProse(&b, []string{sentence(own[k.Section+" "+plugin])})
				if k.Section == "devices" {
					writeExample(&b, entryOf(section.lines, plugin))
				}
			}
			if k.Key != "" {
				item(&b, k.Key, strings.TrimSpace(sentence(about(k))+" "+sentence(words.of(k))))
			}
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR fieldpost (8)\n")
	return b.String()
}

// about is a key's kind and default.
func about(k config.Reference) string {
	if k.Default != "" {
		return k.Kind + ", default " + k.Default
	}
	return k.Kind
}

// item writes a key, or a word, and what there is to say of it.
func item(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", escape(name), line(text))
}

// writeProse writes paragraphs.
func writeProse(b *strings.Builder, paragraphs []string) {
	for i, p := range paragraphs {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(line(p) + "\n")
	}
}

// writeExample writes lines as they are.
func writeExample(b *strings.Builder, lines []string) {
	b.WriteString(".PP\n.nf\n.RS 2\n")
	for _, l := range lines {
		b.WriteString(line(l) + "\n")
	}
	b.WriteString(".RE\n.fi\n")
}

// sentence begins large and ends with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// line escapes a line of text, which may not begin with a dot, as groff's requests do.
func line(s string) string {
	s = escape(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// escape writes text so that groff gives it back: a hyphen that can be copied, and
// every sign in plain ASCII.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
