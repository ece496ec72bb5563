package localapi

import "sync"

// window bounds what is in flight, by weight.
type window struct {
	mu     sync.Mutex
	room   *sync.Cond
	most   int
	used   int
	closed bool
}

// newWindow makes a window for a number of small events.
func newWindow(events int) *window {
	w := &window{most: events * windowEvent}
	w.room = sync.NewCond(&w.mu)
	return w
}

// take blocks until there is room for n, and reports whether there is: not after
// close. What weighs more than a whole window has it alone.
func (w *window) take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && w.used > 0 && w.used+n > w.most {
		w.room.Wait()
	}
	w.used += n
	return !w.closed
}

func (w *window) give(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used -= n
	w.room.Signal()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.room.Broadcast()
}

// idle reports whether nothing is taken.
func (w *window) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.used == 0
}
