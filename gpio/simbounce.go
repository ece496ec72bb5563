package gpio

import (
	"math/rand/v2"
	"time"

	"fieldpost/edge"
)

// A contact that closes or opens jumps at most so often.
const maxJumps = 6

// bounce is how a line's contact jumps; the board's mutex guards it.
type bounce struct {
	last time.Duration // how long it jumps at most; 0: it does not
	rnd  *rand.Rand
	turn uint64 // counts the changes from outside: the jumps of an older one are over
}

// Bounce gives a line a contact that bounces for up to d after each change from
// outside, as that of a switch does: it jumps back and forth up to 6 times, at random
// times of the board's seed, and ends at the level that it was driven to. 0 ends that.
// "" is all lines. An unknown line has no contact. What a Part drives never bounces.
func (b *SimBoard) Bounce(pin edge.Pin, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lines {
		if l := &b.lines[i]; pin == "" || l.name == string(pin) {
			l.bounce.last = d
		}
	}
}

// strike drives a line from outside: it changes, and its contact may bounce. The
// caller holds b.mu.
func (b *SimBoard) strike(i int, level *bool) error {
	l := &b.lines[i]
	before := l.level
	l.bounce.turn++ // this change ends the jumps of the one before, which may be at the wrong level
	if err := b.driveLocked(i, level); err != nil {
		return err
	}
	if l.level == before || l.bounce.last <= 0 || level == nil {
		return nil
	}
	if l.bounce.rnd == nil {
		l.bounce.rnd = Stream(b.seed, "bounce "+l.name)
	}
	jumps := 2 * l.bounce.rnd.IntN(maxJumps/2+1)
	b.jump(i, l.bounce.turn, jumps, l.bounce.last, *level)
	return nil
}

// jump lets a contact jump so often within the time that is left. The caller holds b.mu.
func (b *SimBoard) jump(i int, turn uint64, jumps int, left time.Duration, end bool) {
	if jumps == 0 {
		return
	}
	l := &b.lines[i]
	most := int64(left) / int64(jumps)
	wait := time.Duration(1 + l.bounce.rnd.Int64N(max(most, 1)))
	time.AfterFunc(wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if l.bounce.turn != turn {
			return
		}
		level := end != (jumps%2 == 0) // with an even number to go it leaves the end, with an odd one it comes back
		if b.driveLocked(i, &level) == nil {
			b.jump(i, turn, jumps-1, left-wait, end)
		}
	})
}
