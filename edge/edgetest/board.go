package edgetest

import (
	"context"
	"sync"
	"time"

	"fieldpost/edge"
)

// Board is a board whose boot, clocks and sync a test sets. Mono follows
// time.Now, so that testing/synctest drives it, until SetMono.
type Board struct {
	boot, serial string

	mu     sync.Mutex
	start  time.Time     // when Mono was 0
	offset time.Duration // wall = time.Now + offset
	synced bool
	bound  time.Duration
	err    error
	steps  map[chan struct{}]bool
}

// NewBoard is a board that booted as boot one second ago, with a right wall
// clock that nothing has synchronised.
func NewBoard(boot string) *Board {
	return &Board{boot: boot, serial: "test", start: time.Now().Add(-time.Second), steps: map[chan struct{}]bool{}}
}

// Board is the board as edge sees it.
func (b *Board) Board() edge.Board {
	return edge.Board{BootID: b.boot, Serial: b.serial, Model: "test board", Mono: b.mono, Wall: b.wall, Adjtimex: b.adjtimex, Steps: b.watch}
}

// SetSerial makes it another board. Call it before Board.
func (b *Board) SetSerial(s string) { b.serial = s }

// SetMono sets CLOCK_MONOTONIC; it goes on from there.
func (b *Board) SetMono(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start = time.Now().Add(-d)
}

// SetWall steps the wall clock to t, which tells those who watch for steps.
func (b *Board) SetWall(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset = time.Until(t)
	for c := range b.steps {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// SetSync sets what adjtimex says.
func (b *Board) SetSync(synced bool, bound time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.synced, b.bound, b.err = synced, bound, nil
}

// FailSync makes adjtimex fail.
func (b *Board) FailSync(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *Board) mono() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(time.Since(b.start))
}

func (b *Board) wall() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.offset)
}

func (b *Board) adjtimex() (bool, time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.synced, b.bound, b.err
}

// watch ends with ctx; until then it holds one goroutine.
func (b *Board) watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	b.steps[c] = true
	b.mu.Unlock()
	go func() {
		<-ctx.Done()
		b.mu.Lock()
		delete(b.steps, c)
		close(c)
		b.mu.Unlock()
	}()
	return c
}
