package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// corpusFile holds 320 telemetry-like events of 200 bytes on average, one a line.
//
//go:embed testdata/corpus.ndjson
var corpusFile []byte

// corpusLines is how many different events the corpus has: far more than any
// compression remembers, so that no contender gains by the same event again.
const corpusLines = 1 << 14

// Corpus is the work that every contender of the bench does: the same events in
// the same order, over and over. Those beyond the file's are its lines again with
// other readings.
type Corpus struct {
	lines [][]byte // without the line end
	names []string
}

func loadCorpus() (*Corpus, error) {
	c := &Corpus{lines: bytes.Split(bytes.TrimSpace(corpusFile), []byte("\n"))}
	for i, line := range c.lines {
		var ev struct{ Name string }
		if err := json.Unmarshal(line, &ev); err != nil || ev.Name == "" {
			return nil, fmt.Errorf("read corpus: line %d is not an event: %v", i+1, err)
		}
		c.names = append(c.names, ev.Name)
	}
	written := len(c.lines)
	digits := rand.New(rand.NewPCG(1, 2))
	for i := 0; len(c.lines) < corpusLines; i++ {
		from := i % written
		c.lines = append(c.lines, otherReadings(c.lines[from], digits))
		c.names = append(c.names, c.names[from])
	}
	return c, nil
}

// otherReadings is a line with other digits behind its value's decimal point and
// in what follows "reading", up to what is text again. A number's first digit
// stays, so that it stays a number.
func otherReadings(line []byte, digits *rand.Rand) []byte {
	out := bytes.Clone(line)
	for _, part := range []struct{ from, to string }{{`"value":`, `,"unit"`}, {`"reading":`, `,"note"`}} {
		at := bytes.Index(out, []byte(part.from))
		if at < 0 {
			continue
		}
		at += len(part.from)
		end := bytes.Index(out[at:], []byte(part.to))
		if end < 0 {
			end = len(out) - at
		}
		for i := at + 1; i < at+end; i++ {
			if isDigit(out[i]) && (isDigit(out[i-1]) || out[i-1] == '.') {
				out[i] = byte('0' + digits.IntN(10))
			}
		}
	}
	return out
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// Line is the i-th event, counted from 0 and going round.
func (c *Corpus) Line(i int) []byte { return c.lines[i%len(c.lines)] }

// Name is the name of the i-th event.
func (c *Corpus) Name(i int) string { return c.names[i%len(c.names)] }

// Body is count events as NDJSON, from the i-th on.
func (c *Corpus) Body(i, count int) []byte {
	var b []byte
	for k := range count {
		b = append(b, c.Line(i+k)...)
		b = append(b, '\n')
	}
	return b
}

// mean is the size of an event in bytes, on average.
func (c *Corpus) mean() int {
	sum := 0
	for _, l := range c.lines {
		sum += len(l)
	}
	return sum / len(c.lines)
}
