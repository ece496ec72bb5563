package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds how many problems one Load tells of.
const maxProblems = 100

// Problem is one mistake in the config. What never holds a secret.
type Problem struct {
	File string // as it was opened, or "environment NAME", or "flag name"
	Line int    // from 1; 0 where the whole of File is meant
	Col  int    // from 1; 0 where the whole line is meant
	What string // what is wrong, beginning with the key
	Cure string // what to write instead; "" where What says it
}

// String is file:line:col: what: cure.
func (p Problem) String() string {
	s := place{file: p.File, line: p.Line, col: p.Col}.String() + ": " + p.What
	if p.Cure != "" {
		s += ": " + p.Cure
	}
	return s
}

// Problem makes a problem that only shows once the config is put to use. Its place is
// that of the key, such as "devices", "door", or what is around it; of a key that
// nobody wrote it is the first file.
func (c *Config) Problem(what, cure string, key ...string) Problem {
	var at place
	if c.tree != nil {
		at = c.tree.nearest(key)
	}
	if at.file == "" && len(c.Files) > 0 {
		at.file = c.Files[0]
	}
	if at.file == "" {
		at.file = "the config"
	}
	return Problem{File: at.file, Line: at.line, Col: at.col, What: what, Cure: cure}
}

// Problems is the error of Load: every problem, in the order of the sources and
// then of the lines, at most 100 of them.
type Problems struct {
	List []Problem
	More int // how many were left out

	order map[string]int // file -> when it was read
}

// Error gives one problem a line.
func (p *Problems) Error() string {
	lines := make([]string, 0, len(p.List)+1)
	for _, q := range p.List {
		lines = append(lines, q.String())
	}
	if p.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", p.More))
	}
	return strings.Join(lines, "\n")
}

// source notes that the problems of file come after those of earlier ones.
func (p *Problems) source(file string) {
	if p.order == nil {
		p.order = make(map[string]int)
	}
	if _, ok := p.order[file]; !ok {
		p.order[file] = len(p.order)
	}
}

func (p *Problems) add(at place, what, cure string) {
	if len(p.List) >= maxProblems {
		p.More++
		return
	}
	p.source(at.file)
	p.List = append(p.List, Problem{File: at.file, Line: at.line, Col: at.col, What: what, Cure: cure})
}

// err gives the sorted problems, or nil where there is none.
func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(p.order[a.File], p.order[b.File]),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.What, b.What))
	})
	return p
}

// place is where a node was written.
type place struct {
	file      string
	line, col int
	outside   bool // the environment or a flag, not a file
}

func (p place) String() string {
	switch {
	case p.line == 0:
		return p.file
	case p.col == 0:
		return fmt.Sprintf("%s:%d", p.file, p.line)
	}
	return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.col)
}
