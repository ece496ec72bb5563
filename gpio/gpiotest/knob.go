package gpiotest

import (
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// Knob is a rotary encoder on two lines of a simulated board. Both contacts are
// open at first, as they are at a click. SimBoard's dial loses its edges.
type Knob struct {
	Bounce int           // each contact goes to and fro so often before it stays
	Pace   time.Duration // from one edge to the next

	board *gpio.SimBoard
	pins  [2]edge.Pin
	at    int
}

// NewKnob makes one, and lets its contacts go.
func NewKnob(t testing.TB, board *gpio.SimBoard, a, b edge.Pin) *Knob {
	t.Helper()
	k := &Knob{Pace: 2 * time.Millisecond, board: board, pins: [2]edge.Pin{a, b}}
	k.drive(t, 0, true)
	k.drive(t, 1, true)
	return k
}

// Turn turns it by so many edges, clockwise where there are more than 0. It
// takes Pace for each.
func (k *Knob) Turn(t testing.TB, edges int) {
	t.Helper()
	way := 1
	if edges < 0 {
		way, edges = -1, -edges
	}
	// Clockwise: 11, 01, 00, 10, of A and B.
	levels := [4][2]bool{{true, true}, {false, true}, {false, false}, {true, false}}
	for range edges {
		from := levels[k.at&3]
		k.at += way
		to := levels[k.at&3]
		line := 0
		if from[1] != to[1] {
			line = 1
		}
		for range k.Bounce {
			k.drive(t, line, to[line])
			<-time.After(k.Pace / 50)
			k.drive(t, line, from[line])
			<-time.After(k.Pace / 50)
		}
		k.drive(t, line, to[line])
		<-time.After(k.Pace)
	}
}

func (k *Knob) drive(t testing.TB, line int, level bool) {
	t.Helper()
	if err := k.board.Drive(k.pins[line], level); err != nil {
		t.Fatal(err)
	}
}
