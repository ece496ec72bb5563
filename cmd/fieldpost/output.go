package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// format is the value of -o.
type format string

const (
	asText format = "text"
	asJSON format = "json"
)

// Set takes a word of the command line.
func (f *format) Set(s string) error {
	switch format(s) {
	case asText, asJSON:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("it is text or json")
}

func (f *format) String() string { return string(*f) }

// Type is the word that the help shows for the value.
func (f *format) Type() string { return "text|json" }

// outputFlag adds -o to a verb.
func outputFlag(cmd *cobra.Command) *format {
	f := asText
	cmd.Flags().VarP(&f, "output", "o", "what to print")
	return &f
}

// printJSON prints any value, indented.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printRaw prints JSON that came from the agent, indented, without changing it.
func printRaw(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// table prints rows under a head, in columns as wide as needed.
type table struct {
	w *tabwriter.Writer
}

// newTable starts a table with its head.
func newTable(w io.Writer, head ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	t.row(head...)
	return t
}

// row adds one row. An empty cell shows as a dash, so that columns can be cut.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		} else {
			cells[i] = printable(c)
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// flush prints what was collected.
func (t *table) flush() error { return t.w.Flush() }

// printable keeps a text from moving the cursor or the columns.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// bytesText shows a number of bytes with three digits at most, in SI units.
func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for units := "kMGTPE"; v >= 999.5 && unit < len(units); unit++ {
		v /= 1000
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, "kMGTPE"[unit-1])
	}
	return fmt.Sprintf("%.0f %cB", v, "kMGTPE"[unit-1])
}

// ago shows how long something lasts, in its largest unit or two.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// localTime shows a moment in the zone of whoever reads it.
func localTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
