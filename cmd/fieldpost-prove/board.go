package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// board is the proof of the package on the emulated board: it runs there as root
// under systemd, on a plain Debian, with gpio-sim's chip as the header.
type board struct {
	share string // one.deb and two.deb, and where the summary goes
	out   io.Writer
	chip  *simChip
	began time.Time

	passed, failed int
	broker         *Broker
	sub            *Subscriber
}

// report tells of one check, what was seen with it, and counts it.
func (b *board) report(what string, err error, seen ...string) {
	word := "PASS"
	if err != nil {
		word = "FAIL"
		b.failed++
	} else {
		b.passed++
	}
	fmt.Fprintf(b.out, "%s %s (%.0f s)\n", word, what, time.Since(b.began).Seconds())
	if err != nil {
		seen = append(strings.Split(err.Error(), "\n"), seen...)
	}
	for _, s := range seen[:min(len(seen), 30)] {
		fmt.Fprintf(b.out, "     %s\n", s)
	}
}

// errStop: what follows would make no sense; why is reported.
var errStop = errors.New("stopped at the failure above")

// must reports a check without which the next ones make no sense.
func (b *board) must(what string, err error, seen ...string) error {
	b.report(what, err, seen...)
	if err != nil {
		return errStop
	}
	return nil
}

// faults makes one error of what is wrong; nil where nothing is.
func faults(list []string) error {
	if len(list) == 0 {
		return nil
	}
	return errors.New(strings.Join(list, "\n"))
}

// says checks that a text has all of the words.
func says(text string, words ...string) error {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return fmt.Errorf("it does not say %q:\n%s", w, text)
		}
	}
	return nil
}

func runBoard(ctx context.Context, args []string, out io.Writer) (err error) {
	fs, _ := flags("board", out)
	share := fs.String("share", "/share", "the `folder` with one.deb and two.deb, where summary is written")
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(*share, "summary"))
	if err != nil {
		return fmt.Errorf("make summary: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := &board{share: *share, out: io.MultiWriter(out, f), began: time.Now()}
	defer b.close()
	err = b.phases(ctx)
	fmt.Fprintf(b.out, "board: %d passed, %d failed\n", b.passed, b.failed)
	if err == nil && b.failed > 0 {
		err = fmt.Errorf("%d checks failed", b.failed)
	}
	if err != nil {
		b.tell(ctx)
	} else {
		// The last word: without it the run is not whole.
		fmt.Fprintln(b.out, "board: all passed")
	}
	return err
}

// phases runs all that there is to prove, in order.
func (b *board) phases(ctx context.Context) error {
	chip, err := findChip()
	if err := b.must("gpio-sim's chip is there", err); err != nil {
		return err
	}
	b.chip = chip
	systemd, _ := command(ctx, "systemctl", "--version") // told only
	systemd, _, _ = strings.Cut(systemd, "\n")
	fmt.Fprintf(b.out, "     %s, %s\n", chip.dev, systemd)
	for _, phase := range []func(context.Context) error{b.install, b.configure, b.inside, b.debounce, b.bell, b.lines, b.stop, b.denied, b.purge} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tell adds the unit's own words to a failure.
func (b *board) tell(ctx context.Context) {
	for _, args := range [][]string{
		{"systemctl", "status", "--no-pager", "-l", "-n", "0", boardUnit},
		{"journalctl", "--no-pager", "-q", "-n", "60", "-u", boardUnit},
		{"fieldpost", "devices"},
	} {
		text, _ := command(ctx, args[0], args[1:]...) // a failure is in the text
		fmt.Fprintf(b.out, "# %s\n%s\n", strings.Join(args, " "), text)
	}
}

// close ends what was started.
func (b *board) close() {
	if b.sub != nil {
		_ = b.sub.Close()
	}
	if b.broker != nil {
		_ = b.broker.Kill()
	}
}
