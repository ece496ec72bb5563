package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"fieldpost/edge/card"
)

// printSelftest prints the verdict first, then why, then the numbers.
func printSelftest(w io.Writer, rep *selftest) error {
	fmt.Fprintf(w, "This storage %s:\n", rep.Verdict.Answer)
	printFindings(w, rep.Verdict.Findings)
	if len(rep.Verdict.Threats) > 0 {
		fmt.Fprintln(w, "But what it keeps is in danger:")
		printFindings(w, rep.Verdict.Threats)
	}
	fmt.Fprintln(w)
	t := newTable(w, "FOLDER", rep.Dir)
	t.row("FILE SYSTEM", fmt.Sprintf("%s on %s, %s", rep.Place.FS, rep.Place.Mount, strings.Join(rep.Place.Options, ",")))
	for _, d := range rep.Place.Devices {
		t.row("DEVICE", deviceText(d))
	}
	m := rep.Measures
	for _, s := range []struct {
		name string
		t    *card.Timing
	}{{"FLUSH 4 kB", m.Flush4k}, {"  beside writes", m.Busy}, {"  64 kB", m.Flush64k}, {"  256 kB", m.Flush256k}, {"WRITE 4 kB", m.Direct}, {"NEW FILE", m.NewFile}} {
		t.row(s.name, timingText(s.t))
	}
	t.row("LONG WRITE", bytesText(int64(m.Sequential))+"/s")
	t.row("READ BACK", m.ReadBack)
	if rep.Events != nil {
		costRows(t, rep)
	} else {
		t.row("AN EVENT", "no device counts what is written")
	}
	if err := t.flush(); err != nil {
		return err
	}
	return printNotes(w, rep)
}

func printFindings(w io.Writer, found []card.Finding) {
	for _, f := range found {
		fmt.Fprintf(w, "  - %s\n", printable(f.Text))
		if f.Cure != "" {
			fmt.Fprintf(w, "    cure: %s\n", printable(f.Cure))
		}
	}
}

func deviceText(d *card.Device) string {
	text := fmt.Sprintf("%s, %s, %s", d.Name, d.Kind, bytesText(d.Size))
	if d.Model != "" {
		text += ", " + d.Model
	}
	if v := d.About["manfid"]; v != "" {
		text += ", maker " + v
	}
	if v := d.About["date"]; v != "" {
		text += ", made " + v
	}
	if v := d.About["life_time"]; v != "" {
		text += ", life used " + v
	}
	if d.WriteCache != "" {
		text += ", " + d.WriteCache
	}
	return text
}

func timingText(t *card.Timing) string {
	if t == nil || t.Count == 0 {
		return "can't be measured here"
	}
	return fmt.Sprintf("half within %s, 99 %% within %s, all within %s, %.0f a second", msText(t.P50), msText(t.P99), msText(t.Max), t.PerSecond())
}

func msText(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1000
	if ms < 10 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func costRows(t *table, rep *selftest) {
	e := rep.Events
	t.row("AN EVENT", fmt.Sprintf("%s in a flush of its own, %s among many; a move %s", bytesText(int64(e.Flush)), bytesText(int64(e.Bulk)), bytesText(int64(e.Move))))
	for _, r := range e.Rates {
		text := fmt.Sprintf("%s each, %s a day, %s", bytesText(int64(r.PerEvent)), bytesText(int64(r.PerDay)), yearsText(r.Years))
		if rep.Budget > 0 {
			text += fmt.Sprintf(", %.0f %% of store.wear", 100*r.PerDay/rep.Budget)
		}
		t.row("  one each "+ago(time.Duration(r.Every*float64(time.Second))), text)
	}
}

func yearsText(years float64) string {
	switch {
	case years <= 0:
		return "no wear to see"
	case years >= 100:
		return "over 100 years"
	}
	return fmt.Sprintf("%.1f years", years)
}

// printNotes says what the numbers rest on.
func printNotes(w io.Writer, rep *selftest) error {
	e := rep.Events
	if e == nil {
		return nil
	}
	fmt.Fprintf(w, "\nFlash is what %s took, with the file system's own log. The years are those of a card of 32 GB\n"+
		"that takes %s in all: 1,000 rewrites, three of four for its own housekeeping, is assumed.\n", e.Device, bytesText(enduranceBytes))
	if e.Second == nil {
		fmt.Fprintln(w, "One event a second is worked out from its parts here; the whole test on a quiet card measures it.")
	}
	if e.Noisy {
		fmt.Fprintf(w, "Others wrote %s/s meanwhile: that was taken off, and leaves the numbers rough.\n", bytesText(int64(e.Others)))
	}
	_, err := fmt.Fprintln(w, "A ring's sync lets events share a flush; see store.rings in the example config.")
	return err
}
