package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"fieldpost/queue"
)

// The rings that rows go to: a ring's name and one of these.
const (
	minuteRows = "-1m"
	hourRows   = "-1h"
)

// ThinRings are the two rings that a ring ages into when it is thinned: its rows
// of a minute, and those of an hour.
func ThinRings(ring string) (minutes, hours string) { return ring + minuteRows, ring + hourRows }

// thinInto is where a ring's samples go, and how long a row's bucket is. Rows of a
// minute become rows of an hour.
func thinInto(ring string) (into string, every time.Duration) {
	if of, ok := strings.CutSuffix(ring, minuteRows); ok {
		return of + hourRows, time.Hour
	}
	return ring + minuteRows, time.Minute
}

const (
	thinAgain     = time.Minute // a wish that could not be met yet is looked at again
	thinRetry     = time.Second
	thinLastRetry = 30 * time.Second
)

// ThinnerOptions say what to thin: all rings of the store that are to be
// (queue.Limits.Thin). All but Log are needed.
type ThinnerOptions struct {
	Store *queue.Store
	Pump  *Pump
	Clock *Clock
	Log   *slog.Logger // nil: discard
}

// Thinner sums up the oldest samples of rings that are full: min, mean, max, last
// and n of each name and minute, or hour, become one event of the next coarser
// ring. That is durable in the same flush with which the samples become a hole
// that names it. Events that are no samples go as they would from any full ring.
//
//	samples: one of each, each 10 s  ->  samples-1m  ->  samples-1h
type Thinner struct {
	opt ThinnerOptions
}

// NewThinner makes one. It does nothing until Run or Work.
func NewThinner(opt ThinnerOptions) *Thinner {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	return &Thinner{opt}
}

// Run thins whenever a ring asks for it, until ctx is done. What fails is told
// once, and tried again. It returns nil.
func (t *Thinner) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry, failing := thinRetry, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.opt.Store.Wished():
			if failing { // it asks again and again meanwhile
				continue
			}
		case <-timer.C:
		}
		next := thinAgain
		err := t.Work(ctx)
		if ctx.Err() != nil || errors.Is(err, queue.ErrClosed) {
			return nil
		}
		if err == nil {
			retry, failing = thinRetry, false
		} else {
			if !failing {
				t.opt.Log.Warn("rings can't be thinned yet", "err", err)
			}
			failing, next = true, retry
			retry = min(2*retry, thinLastRetry)
		}
		timer.Reset(next)
	}
}

// Work thins all that rings ask for now, and returns when nothing more can be
// done. A ring that fails keeps no other waiting.
func (t *Thinner) Work(ctx context.Context) error {
	for again := true; again; {
		again = false
		var errs []error
		for _, w := range t.opt.Store.Wishes() {
			done, err := t.step(ctx, w)
			if err != nil {
				errs = append(errs, fmt.Errorf("thin ring %s: %w", w.Ring, err))
			}
			again = again || done
		}
		if errs != nil {
			return errors.Join(errs...)
		}
	}
	return nil
}

// step does a wish, or as much of it as goes into one flush. It is false where
// that must wait, for a bucket to end.
func (t *Thinner) step(ctx context.Context, w queue.Wish) (done bool, err error) {
	into, every := thinInto(w.Ring)
	scan := newThinScan(t.opt.Clock, every, strings.HasSuffix(w.Ring, minuteRows), w.From)
	ended, err := t.read(ctx, scan, w, ^uint64(0))
	if err != nil || scan.upTo < w.From {
		return false, err
	}
	at, ok := scan.cut(w.To)
	switch {
	case ok:
	case scan.full() && scan.upTo <= w.To:
		at = scan.upTo
	case !scan.full() && ended && !w.Urgent:
		return false, nil
	default: // its bucket is not over, or too large: some of it goes now
		scan = newThinScan(t.opt.Clock, every, scan.fine, w.From)
		if _, err = t.read(ctx, scan, w, w.To); err != nil || scan.upTo < w.From {
			return false, err
		}
		at = scan.upTo
	}
	gone := scan.thinning(w, into, at)
	_, err = t.opt.Pump.CommitWith(ctx, scan.events(into, at), []queue.Row{gone.Row()})
	return err == nil, err
}

// read fills a scan up to stop, until it is full, has what the wish asks for, or
// the ring ends.
func (t *Thinner) read(ctx context.Context, scan *thinScan, w queue.Wish, stop uint64) (ended bool, err error) {
	for !scan.full() && scan.upTo < stop {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		page, err := t.opt.Store.Read(w.Ring, scan.upTo, queue.Max{Records: thinPage, Bytes: pageBytes})
		if err != nil {
			return false, err
		}
		for i := range page.Items {
			it := &page.Items[i]
			if it.Seq > stop && it.Hole == nil || scan.full() {
				return false, nil
			}
			scan.take(it)
		}
		if page.End {
			return true, nil
		}
		if scan.upTo >= w.To {
			if at, ok := scan.cut(w.To); ok && at >= w.To {
				break
			}
		}
	}
	return false, nil
}
