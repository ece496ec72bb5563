package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// measure is a number that may be taken several times; the best counts.
type measure struct {
	value float64
	taken bool
	lower bool   // less is better
	worst bool   // the worst counts instead
	text  string // how it reads, where its number alone says too little
}

func less() *measure { return &measure{lower: true} }

func (m *measure) take(v float64) {
	if !m.taken || (v < m.value) == (m.lower != m.worst) {
		m.value = v
	}
	m.taken = true
}

// peer is who stands beside us in a row.
type peer struct {
	name  string
	of    *measure
	reach float64 // ours must be so many times it; 0: it is only shown
}

// row is one measure: ours, and a line for each peer.
type row struct {
	name  string
	ours  *measure
	peers []peer
	show  func(float64) string
	// bound is what ours must be at least or at most, whatever the peers are; 0:
	// nothing. Where the first peer has a ratio too, either will do: a latency is
	// asserted as the larger of the two.
	bound float64
}

// within reports whether ours is as good as a bound.
func (r *row) within(bound float64) bool {
	if r.ours.lower {
		return r.ours.value <= bound
	}
	return r.ours.value >= bound
}

// verdict is what the line of a peer must reach, and whether it did. The first
// line, or the only one where there is no peer, has the row's own bound.
func (r *row) verdict(first bool, p *peer) (reach, verdict string) {
	var bounds []string
	ok := false
	if first && r.bound > 0 {
		bounds = append(bounds, r.show(r.bound))
		ok = r.within(r.bound)
	}
	if p != nil && p.reach > 0 && p.of.taken {
		bounds = append(bounds, fmt.Sprintf("%.4g x", p.reach))
		ok = ok || r.within(p.reach*p.of.value)
	}
	if len(bounds) == 0 {
		return "", ""
	}
	verdict = "reached"
	if !ok {
		verdict = "NOT REACHED"
	}
	return strings.Join(bounds, " or "), verdict
}

// reads is how a measure is shown.
func (r *row) reads(m *measure) string {
	switch {
	case !m.taken:
		return ""
	case m.text != "":
		return m.text
	}
	return r.show(m.value)
}

// lines are the cells of a row: one line for each peer that was measured.
func (r *row) lines() [][]string {
	if !r.ours.taken {
		return nil
	}
	var out [][]string
	for i := range r.peers {
		p := &r.peers[i]
		if !p.of.taken {
			continue
		}
		ratio := ""
		if p.of.value > 0 && p.of.text == "" {
			ratio = fmt.Sprintf("%.2f", r.ours.value/p.of.value)
		}
		reach, verdict := r.verdict(len(out) == 0, p)
		out = append(out, []string{"", "", p.name, r.reads(p.of), ratio, reach, verdict})
	}
	if len(out) == 0 {
		reach, verdict := r.verdict(true, nil)
		out = append(out, []string{"", "", "", "", "", reach, verdict})
	}
	out[0][0], out[0][1] = r.name, r.reads(r.ours)
	return out
}

// table is the rows of a run and the notes below them.
type table struct {
	rows  []*row
	notes []string
}

func (t *table) add(r *row) *row {
	t.rows = append(t.rows, r)
	return r
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// print writes the table: aligned, and as Markdown, so that it can go into README
// as it is.
func (t *table) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	head := []string{"measure", "fieldpost", "peer", "", "ratio", "to reach", ""}
	fmt.Fprintf(w, "| %s |\n", strings.Join(head, "\t| "))
	fmt.Fprintf(w, "|%s\n", strings.Repeat("---\t|", len(head)))
	for _, r := range t.rows {
		for _, cells := range r.lines() {
			fmt.Fprintf(w, "| %s\t|\n", strings.Join(cells, "\t| "))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, n := range t.notes {
		fmt.Fprintf(out, "- %s\n", n)
	}
	return nil
}

// The ways to show a number.
func perSecond(v float64) string { return fmt.Sprintf("%.1fk/s", v/1000) }
func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }
func bytesEach(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.1f kB", v/1000)
	}
	return fmt.Sprintf("%.0f B", v)
}
func milliseconds(v float64) string {
	if v < 0.01 {
		return fmt.Sprintf("%.2f ms", v*1000)
	}
	return fmt.Sprintf("%.0f ms", v*1000)
}
func seconds(v float64) string { return fmt.Sprintf("%.2f s", v) }
func events(v float64) string  { return fmt.Sprintf("%.0f", v) }
