package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
)

// corpusFile holds 320 telemetry-like events of 200 bytes on average, one a line.
//
//go:embed testdata/corpus.ndjson
var corpusFile []byte

// Corpus is the work that every contender of the bench does: the same events in
// the same order, over and over.
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
	return c, nil
}

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
