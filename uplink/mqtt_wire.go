package uplink

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"fieldpost/edge/dial"
)

// Bounds of a wire.
const (
	wirePending  = 4 << 20     // bytes that may wait to be written; the window holds far less
	wirePiece    = 16 << 10    // bytes written at once
	wireRest     = 16 << 10    // bytes of a buffer that is kept while nothing is written
	wireFarewell = time.Second // for what is left when it is closed
)

// wire is the connection under the MQTT client. It gathers small writes: the
// client writes one packet at a time, and one system call for a hundred of them
// is what makes draining fast. A write never blocks, so nothing in the client
// ever does; what may be in flight is bounded by the forwarder's window.
type wire struct {
	net.Conn
	in *bufio.Reader

	mu      sync.Mutex
	more    *sync.Cond
	buf     []byte // to be written
	spare   []byte
	used    bool // something was written since rest
	writing int  // bytes taken out of buf that the kernel has not taken yet
	closing bool
	err     error
	done    chan struct{} // closed when flush has ended

	// Times are since born: a wall clock that is set must not end a connection.
	born  time.Time
	heard atomic.Int64 // when bytes were last read
	asked atomic.Int64 // when a ping was last written
}

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c, in: bufio.NewReaderSize(c, 8<<10), done: make(chan struct{}), born: time.Now()}
	w.more = sync.NewCond(&w.mu)
	go w.flush()
	return w
}

// Read reads through a buffer: an acknowledgement is four bytes, which the
// client reads in three pieces.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if n > 0 && w.in.Buffered() == 0 {
		w.heard.Store(int64(time.Since(w.born)))
	}
	if errors.Is(err, net.ErrClosed) {
		err = w.ended(err)
	}
	return n, err
}

// ended is why the connection is closed. A write that failed closes it, and the
// client would take a plain net.ErrClosed for its own goodbye and tell nobody.
func (w *wire) ended(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil && !w.closing {
		return w.err
	}
	return err
}

// Write takes p and returns at once. Its error is that of an earlier write.
func (w *wire) Write(p []byte) (int, error) {
	if len(p) == 2 && p[0] == 0xC0 {
		w.asked.Store(int64(time.Since(w.born)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return 0, w.err
	case w.closing:
		return 0, net.ErrClosed
	case len(w.buf)+w.writing+len(p) > wirePending:
		return 0, fmt.Errorf("write to broker: %d bytes wait already", len(w.buf)+w.writing)
	}
	w.used = true
	w.buf = append(w.buf, p...)
	w.more.Signal()
	return len(p), nil
}

// flush writes what was gathered until the wire is closed or fails.
func (w *wire) flush() {
	defer close(w.done)
	defer w.Conn.Close()
	for {
		w.mu.Lock()
		for len(w.buf) == 0 && !w.closing && w.err == nil {
			w.more.Wait()
		}
		out := w.buf
		if w.err != nil || len(out) == 0 {
			w.mu.Unlock()
			return
		}
		w.buf, w.spare, w.writing = w.spare[:0], nil, len(out)
		w.mu.Unlock()
		err := w.put(out)
		w.mu.Lock()
		if err != nil {
			w.err = err
		}
		w.spare, w.writing = out[:0], 0
		w.mu.Unlock()
	}
}

// rest gives large buffers back, where nothing was written since the last call:
// under load they come again at once, and to grow them anew each time would cost
// as much as the packets.
func (w *wire) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.used {
		if cap(w.buf) > wireRest && len(w.buf) == 0 {
			w.buf = nil
		}
		if cap(w.spare) > wireRest {
			w.spare = nil
		}
	}
	w.used = false
}

func (w *wire) put(out []byte) error {
	for len(out) > 0 {
		n, err := w.Conn.Write(out[:min(len(out), wirePiece)])
		out = out[n:]
		w.mu.Lock()
		w.writing = len(out)
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close lets what was written go out for up to a second. It does not wait.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closing {
		w.closing = true
		_ = w.Conn.SetWriteDeadline(time.Now().Add(wireFarewell))
		w.more.Signal()
	}
	return nil
}

// abort closes at once and drops what waits.
func (w *wire) abort() {
	w.mu.Lock()
	if w.err == nil {
		w.err = net.ErrClosed
	}
	w.closing = true
	w.more.Signal()
	w.mu.Unlock()
	_ = w.Conn.Close()
}

// SetDeadline bounds reads only: writes don't block.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes don't block.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// Unsent is how many bytes the peer's kernel has not taken yet.
func (w *wire) Unsent() (int, error) {
	w.mu.Lock()
	n := len(w.buf) + w.writing
	w.mu.Unlock()
	c, ok := dial.Of(w.Conn)
	if !ok {
		return n, nil
	}
	in, err := c.Unsent()
	return n + in, err
}

// deaf reports since when a ping has gone unanswered, with nothing else heard.
func (w *wire) deaf(now time.Time) time.Duration {
	asked, heard := w.asked.Load(), w.heard.Load()
	if asked <= heard {
		return 0
	}
	return now.Sub(w.born.Add(time.Duration(asked)))
}

var errDeaf = errors.New("the broker does not answer pings")
