package edgetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Options are the options of a small store in dir, on the given board.
func Options(dir string, b *Board) queue.Options {
	board := b.Board()
	return queue.Options{Dir: dir, Boot: board.BootID, Serial: board.Serial, Headroom: -1, Codec: edge.BlockCodec{}}
}

// OpenStore opens a store, and closes it when the test ends.
func OpenStore(t testing.TB, opt queue.Options) *queue.Store {
	t.Helper()
	s, err := queue.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// NewClock is a clock of the board, attached to the store.
func NewClock(t testing.TB, b *Board, s *queue.Store) *edge.Clock {
	t.Helper()
	c := edge.NewClock(b.Board())
	if err := c.Attach(s); err != nil {
		t.Fatal(err)
	}
	return c
}

// RunPump runs a pump, and stops it when the test ends. Stop stops it earlier.
func RunPump(t testing.TB, opt edge.PumpOptions) (p *edge.Pump, stop func()) {
	t.Helper()
	p = edge.NewPump(opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run pump: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the pump did not stop")
		}
	})
	t.Cleanup(stop)
	return p, stop
}

// Rig is everything between a writer and a reader of events, in a temporary
// folder.
type Rig struct {
	Board *Board
	Store *queue.Store
	Clock *edge.Clock
	Pump  *edge.Pump
	Log   *edge.Log
	Stop  func() // stops the pump and closes the store
}

// NewRig opens a store in a temporary folder on a new board, for the agent
// "test", and runs a pump on it until the test ends.
func NewRig(t testing.TB) *Rig {
	t.Helper()
	return OpenRig(t, t.TempDir(), NewBoard("boot-1"))
}

// OpenRig does the same in a folder and on a board of the test's choice: the same
// folder again is a restart, and another board's boot a new boot.
func OpenRig(t testing.TB, dir string, b *Board) *Rig {
	t.Helper()
	r := &Rig{Board: b, Store: OpenStore(t, Options(dir, b))}
	r.Clock = NewClock(t, b, r.Store)
	r.Log = edge.NewLog(r.Store, r.Clock, "test")
	var stop func()
	r.Pump, stop = RunPump(t, edge.PumpOptions{Agent: "test", Store: r.Store, Clock: r.Clock})
	r.Stop = func() {
		stop()
		r.Store.Close()
	}
	return r
}
