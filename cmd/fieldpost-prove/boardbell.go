package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	// bellLong is the bell's long, far enough from its begin that an agent can be
	// killed in between on a slow machine.
	bellLong = 3 * time.Second
	// bellLate is how late the kernel's stamp may be after a pull was written: the
	// debounce, and a stall.
	bellLate = time.Second
)

// bellEvent is what the agent stored of the button.
type bellEvent struct {
	Kind string
	Mono int64
	Data struct {
		Value string
		Held  float64 // seconds
		Count uint64
		Cause string
	}
}

func (e bellEvent) String() string {
	return fmt.Sprintf("%s %s held %.3f s, at mono %d, %d lost %s", e.Kind, e.Data.Value, e.Data.Held, e.Mono, e.Data.Count, e.Data.Cause)
}

// pressed is when the button was pressed and let go of, each around the write.
type pressed struct{ down, downAfter, up, upAfter int64 }

// heldFor holds the button down, which connects its line to ground, while f runs.
func (b *board) heldFor(f func() error) (p pressed, err error) {
	p.down = mono()
	err = b.chip.pull(bellLine, false)
	p.downAfter = mono()
	if err == nil {
		err = f()
	}
	p.up = mono()
	err = errors.Join(err, b.chip.pull(bellLine, true))
	p.upAfter = mono()
	return p, err
}

// bell presses the button: for a moment, and then from before a kill -9 until
// after the next agent has told that it is a long.
func (b *board) bell(ctx context.Context) error {
	short, err := b.heldFor(func() error { return pause(ctx, 200*time.Millisecond) })
	var events []bellEvent
	if err == nil {
		events, err = b.bellTold(ctx, 1)
	}
	b.report("a press of the bell is one press", errors.Join(err, faults(judgeShort(events, short))), words(events)...)
	told := len(events)
	long, err := b.heldFor(func() error {
		// A third of long: by then the begin of the press is stored.
		if err := errors.Join(pause(ctx, bellLong/3), killAgent(ctx)); err != nil {
			return err
		}
		_, err := b.bellTold(ctx, told+1)
		return err
	})
	if err == nil {
		events, err = b.bellTold(ctx, told+2)
	}
	events = events[min(told, len(events)):]
	b.report("a press that a kill -9 falls into is one long, and its release", errors.Join(err, faults(judgeLong(events, long))), words(events)...)
	return nil
}

// bellIsStill sees that nothing was told of the bell while nobody pressed it.
func (b *board) bellIsStill(ctx context.Context) error {
	events, err := storedOf[bellEvent](ctx, "bell")
	if err == nil && len(events) != 3 {
		err = fmt.Errorf("it told %d things, not 3:\n%s", len(events), strings.Join(words(events), "\n"))
	}
	return err
}

// bellTold waits until the bell has told so many things in all, and a moment more
// for what should not come.
func (b *board) bellTold(ctx context.Context, count int) (events []bellEvent, err error) {
	wait, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("the bell has not told %d things after 20 s", count))
	defer cancel()
	err = poll(wait, 100*time.Millisecond, func() (bool, error) {
		events, err = storedOf[bellEvent](ctx, "bell")
		return len(events) >= count, err
	})
	if err == nil {
		err = pause(ctx, time.Second)
	}
	if err == nil {
		events, err = storedOf[bellEvent](ctx, "bell")
	}
	return events, err
}

func words(events []bellEvent) (seen []string) {
	for _, e := range events {
		seen = append(seen, e.String())
	}
	return seen
}

// stampOf sees that a stamp is of a moment, or late by no more than bellLate.
func stampOf(what string, mono, before, after int64) (faults []string) {
	if mono < before || mono > after+int64(bellLate) {
		faults = append(faults, fmt.Sprintf("%s is stamped %v after it", what, time.Duration(mono-before)))
	}
	return faults
}

// heldIs sees that held is the time between two stamps.
func heldIs(e bellEvent, ns int64) (faults []string) {
	if want := float64(ns) / 1e9; math.Abs(e.Data.Held-want) > 0.002 {
		faults = append(faults, fmt.Sprintf("%s was held %.3f s, by the stamps %.3f s", e.Data.Value, e.Data.Held, want))
	}
	return faults
}

// tells sees that events are changes to these values.
func tells(events []bellEvent, values ...string) (faults []string) {
	var got []string
	for _, e := range events {
		if e.Kind == "change" {
			got = append(got, e.Data.Value)
		} else {
			got = append(got, e.Kind)
		}
	}
	if g, w := strings.Join(got, " "), strings.Join(values, " "); g != w {
		faults = append(faults, fmt.Sprintf("it told %q, not %q", g, w))
	}
	return faults
}

// judgeShort compares one press with what was told.
func judgeShort(events []bellEvent, p pressed) (faults []string) {
	if faults := tells(events, "press"); faults != nil {
		return faults
	}
	e := events[0]
	faults = stampOf("the press", e.Mono, p.up, p.upAfter)
	// Both edges may be late, so how long it was is known by that much.
	if least, most := time.Duration(p.up-p.downAfter)-bellLate, time.Duration(p.upAfter-p.down)+bellLate; e.Data.Held < least.Seconds() || e.Data.Held > most.Seconds() || e.Data.Held <= 0 {
		faults = append(faults, fmt.Sprintf("it was held %.3f s, not %v", e.Data.Held, time.Duration(p.up-p.down)))
	}
	return faults
}

// judgeLong compares a press that was held with what was told. The long is
// stamped when it was one, whoever ran then.
func judgeLong(events []bellEvent, p pressed) (faults []string) {
	if faults := tells(events, "long", "release"); faults != nil {
		return faults
	}
	long, release := events[0], events[1]
	began := long.Mono - int64(bellLong)
	faults = append(stampOf("the long's begin", began, p.down, p.downAfter), stampOf("the release", release.Mono, p.up, p.upAfter)...)
	return append(faults, heldIs(release, release.Mono-began)...)
}
