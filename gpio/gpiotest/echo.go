package gpiotest

import (
	"sync"
	"time"

	"fieldpost/edge"
	"fieldpost/gpio"
)

// What an echo of nothing lasts, and a part takes to send its bursts (Elecfreaks,
// "Ultrasonic Ranging Module HC-SR04": 8 periods of 40 kHz).
const (
	EchoOfNothing = 38 * time.Millisecond
	echoBursts    = 250 * time.Microsecond
	echoTrigger   = 10 * time.Microsecond
)

// Echo is an HC-SR04 on two lines of a simulated board. It ignores a trigger of
// less than 10 us.
type Echo struct {
	board *gpio.SimBoard
	echo  edge.Pin

	mu     sync.Mutex
	rose   int64
	widths []time.Duration // the next echoes; the last one stays
	mute   bool
	stuck  bool
	pings  []int64 // when it was triggered
}

// NewEcho wires one; its echo lasts 10 ms.
func NewEcho(board *gpio.SimBoard, trigger, echo edge.Pin) *Echo {
	e := &Echo{board: board, echo: echo, widths: []time.Duration{10 * time.Millisecond}}
	board.Attach(trigger, e.hear)
	return e
}

// Widths sets how long the next echoes last; the last one stays.
func (e *Echo) Widths(ds ...time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.widths = ds
}

// Mute makes it answer nothing at all, as one without power.
func (e *Echo) Mute(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mute = on
}

// Stick makes the next echo last for ever.
func (e *Echo) Stick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stuck = true
}

// Unstick ends that echo, as switching it off does.
func (e *Echo) Unstick() {
	e.mu.Lock()
	e.stuck = false
	e.mu.Unlock()
	_ = e.board.Drive(e.echo, false) // it is an input, or nobody's
}

// Pings are the times of the triggers so far.
func (e *Echo) Pings() []int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]int64(nil), e.pings...)
}

// hear is the trigger.
func (e *Echo) hear(ch gpio.SimChange, _ func(edge.Pin, bool)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ch.Level {
		e.rose = ch.Mono
		return
	}
	if e.mute || e.rose == 0 || ch.Mono-e.rose < int64(echoTrigger) {
		return
	}
	e.rose = 0
	e.pings = append(e.pings, ch.Mono)
	width, stuck := e.widths[0], e.stuck
	if len(e.widths) > 1 {
		e.widths = e.widths[1:]
	}
	time.AfterFunc(echoBursts, func() {
		_ = e.board.Drive(e.echo, true) // nobody listens where it fails
		if !stuck {
			time.AfterFunc(width, func() { _ = e.board.Drive(e.echo, false) })
		}
	})
}
