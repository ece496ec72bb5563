package card

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Timing is how long one step took, many times over.
type Timing struct {
	Count         int
	P50, P99, Max time.Duration
	Total         time.Duration
}

// PerSecond is how many there were in a second.
func (t Timing) PerSecond() float64 {
	if t.Total <= 0 {
		return 0
	}
	return float64(t.Count) / t.Total.Seconds()
}

// MarshalJSON gives milliseconds.
func (t Timing) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return json.Marshal(struct {
		Count     int     `json:"count"`
		P50       float64 `json:"p50_ms"`
		P99       float64 `json:"p99_ms"`
		Max       float64 `json:"max_ms"`
		PerSecond float64 `json:"per_second"`
	}{t.Count, ms(t.P50), ms(t.P99), ms(t.Max), t.PerSecond()})
}

// timingOf sorts what was measured.
func timingOf(took []time.Duration) Timing {
	if len(took) == 0 {
		return Timing{}
	}
	t := Timing{Count: len(took)}
	for _, d := range took {
		t.Total += d
	}
	slices.Sort(took)
	t.P50, t.P99, t.Max = took[len(took)/2], took[(len(took)*99)/100], took[len(took)-1]
	return t
}

// repeat times a step at most so many times and for about so long. It stops at
// the first error, and when ctx is done.
func repeat(ctx context.Context, times int, within time.Duration, step func(i int) error) (Timing, error) {
	took := make([]time.Duration, 0, times)
	begun := time.Now()
	for i := range times {
		if err := ctx.Err(); err != nil {
			return Timing{}, context.Cause(ctx)
		}
		now := time.Now()
		if now.Sub(begun) > within {
			break
		}
		if err := step(i); err != nil {
			return Timing{}, err
		}
		took = append(took, time.Since(now))
	}
	return timingOf(took), nil
}
