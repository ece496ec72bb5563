package uplink

import (
	"math/rand/v2"
	"time"
)

// backoff says how long to wait before the next try. Waits follow the length of
// the outage, so that a short one costs little and a fleet does not come back at
// the same instant.
type backoff struct {
	stable time.Time // when the line was last known to be stable
	roll   func(time.Duration) time.Duration
}

func newBackoff(now time.Time) *backoff {
	return &backoff{stable: now, roll: rand.N[time.Duration]}
}

// ended notes that a connection that was up from since on is gone. It ended the
// outage before it where it was up for as long, but for a minute at least and no more
// than 5: a line that is gone for a minute each ten is found again within a second
// each time, and one that breaks as soon as it is up is not tried at that pace for ever.
func (b *backoff) ended(since, now time.Time) {
	if now.Sub(since) >= min(max(since.Sub(b.stable), stableLeast), stableAfter) {
		b.stable = now
	}
}

// next is the wait before the next try: uniform in (0, outage/60), where the end
// is at least a second and at most 5 minutes.
func (b *backoff) next(now time.Time) time.Duration {
	return b.roll(min(max(now.Sub(b.stable)/60, minWait), maxWait)) + 1
}

// slow is the wait after the peer did not let us in.
func (b *backoff) slow() time.Duration { return slowWait + b.roll(maxWait-slowWait) }
