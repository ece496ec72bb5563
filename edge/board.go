package edge

import (
	"context"
	"time"
)

// Board is the machine as Fieldpost sees it: the one seam for boot id, serial
// and clocks. All its functions are safe for concurrent use.
type Board struct {
	BootID string // the kernel's boot id
	Serial string // the board's, or one made from the machine id
	Model  string // "Raspberry Pi 5 Model B Rev 1.0", "" where it is not known

	Mono func() int64     // nanoseconds on CLOCK_MONOTONIC, the clock of kernel stamps
	Wall func() time.Time // CLOCK_REALTIME

	// Slept is how long this boot has been suspended, which Mono does not count.
	// nil: the board never is.
	Slept func() time.Duration

	// Adjtimex says whether the kernel holds its clock for synchronised, and the
	// largest error that it assumes.
	Adjtimex func() (synced bool, bound time.Duration, err error)

	// Steps gives a token, at most one waiting, each time that the wall clock is
	// set. The channel is closed when ctx is done.
	Steps func(ctx context.Context) <-chan struct{}
}
