package main

import (
	"bufio"
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/agent"
	"fieldpost/gpio"
)

// How often the events are printed, in virtual time.
const simPrints = 10 * time.Minute

// simWorld is what happens around a twin: steps in the order of their times, each
// after all that the one before set off.
type simWorld struct {
	sc    *scenario
	seed  uint64
	board *agent.TwinBoard
	twin  *agent.Twin
	out   *bufio.Writer
	began time.Time // when the scenario is at 0s
	ended func() bool

	queue    simQueue
	commands int
	at       edge.Position // what was printed last
	events   uint64
	line     []byte
}

// simItem is something that happens next.
type simItem struct {
	at    time.Duration
	order int // of two at the same time
	do    func() error
	next  func(at time.Duration) (time.Duration, bool) // when again; nil: never
}

// simQueue is a heap of them.
type simQueue []*simItem

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].order, q[j].order)) < 0
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is container/heap's.
func (q *simQueue) Push(x any) { *q = append(*q, x.(*simItem)) }

// Pop is container/heap's.
func (q *simQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func (w *simWorld) add(it *simItem) {
	it.order = w.queue.Len()
	heap.Push(&w.queue, it)
}

// plan puts all that the scenario has into the queue. mono is the board's at 0s.
func (w *simWorld) plan(mono int64) {
	for i := range w.sc.Steps {
		w.planStep(i, &w.sc.Steps[i])
	}
	for _, tr := range w.sc.traces {
		w.planTrace(tr, mono)
	}
	w.add(&simItem{at: simPrints, do: w.print, next: func(at time.Duration) (time.Duration, bool) { return at + simPrints, true }})
}

// planTrace puts the next edge of a trace into the queue, and after it the one after it.
func (w *simWorld) planTrace(tr *gpio.Trace, mono int64) {
	next := 0
	skip := func() bool {
		for next < len(tr.Steps) && tr.Steps[next].Edge == nil {
			next++
		}
		return next < len(tr.Steps)
	}
	when := func() time.Duration { return max(0, time.Duration(tr.Steps[next].Edge.Mono-mono)) }
	if !skip() {
		return
	}
	w.add(&simItem{at: when(), do: func() error { next++; return w.twin.Feed(tr.Steps[next-1]) },
		next: func(time.Duration) (time.Duration, bool) {
			if !skip() {
				return 0, false
			}
			return when(), true
		}})
}

// planStep puts a step into the queue. What two steps set off at one time, such as the
// debounce of two lines, would end at the same instant, where the runtime shuffles what
// comes first: so each step is a nanosecond after the one above it.
func (w *simWorld) planStep(i int, s *simStep) {
	rnd := gpio.Stream(w.seed, fmt.Sprintf("step %d", i))
	late := func() time.Duration {
		if s.Spread <= 0 {
			return 0
		}
		return time.Duration(rnd.Int64N(int64(s.Spread)))
	}
	done := 0
	begins := time.Duration(s.At) + time.Duration(i)
	it := &simItem{at: begins + late(), do: w.act(s)}
	it.next = func(time.Duration) (time.Duration, bool) {
		done++
		if s.Every == 0 || s.Times > 0 && done >= s.Times {
			return 0, false
		}
		return begins + time.Duration(done)*time.Duration(s.Every) + late(), true
	}
	w.add(it)
}

// act is what a step does.
func (w *simWorld) act(s *simStep) func() error {
	switch {
	case s.Drive != "":
		return func() error { return w.drive(s.Drive, s.To) }
	case s.Pulses != "":
		return func() error { return w.pulses(s) }
	case s.Clock != 0:
		return func() error { return w.setClock(time.Duration(s.Clock)) }
	}
	return func() error { return w.command(s) }
}

// setClock sets the wall clock forward, or back.
func (w *simWorld) setClock(by time.Duration) error {
	if to := w.board.Board().Wall().Add(by); !simYear(to) {
		return fmt.Errorf("set the clock to %s: its year is one of %s", to.UTC().Format(time.RFC3339), simYears)
	}
	w.board.Step(by)
	return nil
}

func (w *simWorld) drive(pin edge.Pin, to string) error {
	switch to {
	case "free":
		return w.twin.Pins.Undrive(pin)
	case "toggle":
		level, err := w.twin.Pins.Level(pin)
		if err != nil {
			return err
		}
		return w.twin.Pins.Drive(pin, !level)
	}
	return w.twin.Pins.Drive(pin, to == "high")
}

// pulses puts the changes of a train of pulses into the queue.
func (w *simWorld) pulses(s *simStep) error {
	if w.queue.Len() >= simQueued {
		return fmt.Errorf("pulses of %s: there are %d trains of pulses already", s.Pulses, simQueued)
	}
	left, level := 2*s.Count, false
	at := time.Since(w.began)
	w.add(&simItem{at: at,
		do: func() error { left--; level = !level; return w.twin.Pins.Drive(s.Pulses, level) },
		next: func(at time.Duration) (time.Duration, bool) {
			return at + time.Duration(s.Period)/2, left > 0
		}})
	return nil
}

// command does a command. A refusal is told by an event like any other.
func (w *simWorld) command(s *simStep) error {
	value, err := json.Marshal(s.Value)
	if err != nil {
		return err
	}
	if s.Value == nil {
		value = nil
	}
	w.commands++
	_, err = w.twin.Command(context.Background(), edge.Command{
		ID: fmt.Sprintf("sim-%d", w.commands), Device: s.Command, Verb: s.Verb, Value: value, From: "system:sim"})
	if errors.Is(err, edge.ErrRefused) || errors.Is(err, edge.ErrAbsent) {
		return nil
	}
	return err
}

// run plays the scenario for so long.
func (w *simWorld) run(last time.Duration) error {
	for w.queue.Len() > 0 && w.queue[0].at <= last {
		if w.ended() {
			return errors.New("sim: interrupted")
		}
		it := w.queue[0]
		time.Sleep(it.at - time.Since(w.began))
		allWait()
		if err := it.do(); err != nil {
			return fmt.Errorf("at %s: %w", it.at, err)
		}
		allWait()
		w.again(it)
	}
	time.Sleep(last - time.Since(w.began))
	allWait()
	return w.print()
}

// again puts what was done back into the queue, or takes it out.
func (w *simWorld) again(it *simItem) {
	i := 0 // something may have been put before it
	for w.queue[i] != it {
		i++
	}
	if it.next != nil {
		if at, ok := it.next(it.at); ok {
			it.at = at
			heap.Fix(&w.queue, i)
			return
		}
	}
	heap.Remove(&w.queue, i)
}

// print writes the events that are stored and not written yet.
func (w *simWorld) print() error {
	for {
		page, err := w.twin.Read(edge.Query{After: w.at, Limit: edge.MaxLimit})
		if err != nil {
			return err
		}
		for i := range page.Events {
			w.line = append(page.Events[i].AppendJSON(w.line[:0]), '\n')
			if _, err := w.out.Write(w.line); err != nil {
				return fmt.Errorf("print the events: %w", err)
			}
			w.events++
		}
		w.at = page.Next
		if page.End {
			return w.out.Flush()
		}
	}
}
