package gpiotest

import (
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
	"fieldpost/queue"
)

// KernelClock is the machine's own clock in its first boot, synchronised: its Mono is
// what the kernel stamps edges with.
type KernelClock struct{}

// Mono is CLOCK_MONOTONIC.
func (KernelClock) Mono() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // a clock that is always there
	return ts.Nano()
}

// Stamp is now.
func (c KernelClock) Stamp() queue.Stamp { return queue.Stamp{Boot: 1, Mono: c.Mono()} }

// State is synced.
func (KernelClock) State() (edge.ClockState, time.Duration) { return edge.Synced, 0 }

// Time is the wall time of a stamp.
func (c KernelClock) Time(st queue.Stamp) (time.Time, edge.ClockState, time.Duration) {
	return time.Now().Add(-c.Age(st)).UTC(), edge.Synced, 0
}

// Age is how long ago a stamp was.
func (c KernelClock) Age(st queue.Stamp) time.Duration { return time.Duration(c.Mono() - st.Mono) }
