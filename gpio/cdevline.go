package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// The kernel's struct gpio_v2_line_event, and how many of them one read takes.
// Few: what was read and is not stored yet goes with the process.
const (
	eventSize = 48
	readAhead = 16
)

// cdevLine is a line request of the kernel's character device (Linux's
// include/uapi/linux/gpio.h, v2).
type cdevLine struct {
	chip   *cdevChip
	offset int
	name   string
	id     string
	cfg    LineConfig
	file   *os.File // non-blocking; its descriptor is the request

	mu     sync.Mutex // guards the four below
	level  bool       // of an output: as it was set
	closed bool
	parked string // its name on the shelf; "" where it was never put there
	kept   bool   // the shelf has confirmed it

	// NextEdge's own:
	events []byte // what was read and is not given yet
	buf    [readAhead * eventSize]byte
}

var _ Line = (*cdevLine)(nil)

// ID names the request.
func (l *cdevLine) ID() string { return l.id }

// Kernel is true.
func (l *cdevLine) Kernel() bool { return true }

// wrap gives an errno its line, and says where the line is gone.
func (l *cdevLine) wrap(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return absentError(verb+" "+l.name, err)
	}
	return fmt.Errorf("%s %s: %w", verb, l.name, err)
}

// ended gives what went wrong with a line that is closed its errno: the poller's
// own error for it can't be told from others.
func (l *cdevLine) ended(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.closed {
		return unix.EBADF
	}
	return err
}

// control runs fn with the descriptor, which stays open meanwhile.
func (l *cdevLine) control(fn func(fd uintptr) error) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = fn(fd) }); err != nil {
		return err
	}
	return ferr
}

// NextEdge waits for an edge.
func (l *cdevLine) NextEdge(ctx context.Context) (Edge, error) {
	for {
		if e, ok := l.next(); ok {
			return e, nil
		}
		err := l.control(l.fill)
		if errors.Is(err, unix.EAGAIN) {
			if err := ctx.Err(); err != nil {
				return Edge{}, err
			}
			err = l.wait(ctx)
		}
		if err != nil {
			return Edge{}, l.wrap("wait for an edge of", l.ended(err))
		}
	}
}

// fill reads what is queued; unix.EAGAIN where nothing is.
func (l *cdevLine) fill(fd uintptr) error {
	n, err := unix.Read(int(fd), l.buf[:])
	switch {
	case err != nil:
		return err
	case n < eventSize || n%eventSize != 0:
		return fmt.Errorf("read %d bytes, which is no event: %w", n, unix.EIO)
	}
	l.events = l.buf[:n]
	return nil
}

// wait waits until something was read or ctx is done.
func (l *cdevLine) wait(ctx context.Context) error {
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = l.file.SetReadDeadline(time.Unix(1, 0)) // it fails only where the file is closed
	})
	defer func() {
		if !stop() {
			<-over // or its deadline would end the next wait
		}
	}()
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = raw.Read(func(fd uintptr) bool {
		ferr = l.fill(fd)
		return !errors.Is(ferr, unix.EAGAIN)
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return err
	}
	return ferr
}

// next gives an edge that was read already.
func (l *cdevLine) next() (Edge, bool) {
	if len(l.events) == 0 {
		return Edge{}, false
	}
	b := l.events[:eventSize]
	l.events = l.events[eventSize:]
	return Edge{
		Mono:      int64(binary.NativeEndian.Uint64(b)),
		Rising:    uapi.LineEventID(binary.NativeEndian.Uint32(b[8:])) == uapi.LineEventRisingEdge,
		Seqno:     binary.NativeEndian.Uint32(b[16:]),
		LineSeqno: binary.NativeEndian.Uint32(b[20:]),
	}, true
}

// Level is the logical level, after debounce; of an output the one it was set to.
func (l *cdevLine) Level() (bool, error) {
	level, err := l.read()
	if err != nil {
		return false, l.wrap("read", l.ended(err))
	}
	if l.cfg.Output {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.level, nil
	}
	return level, nil
}

// read asks the kernel for the level.
func (l *cdevLine) read() (bool, error) {
	v := uapi.LineValues{Mask: 1}
	err := l.control(func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &v) })
	return v.Bits&1 != 0, err
}

// Set sets an output.
func (l *cdevLine) Set(level bool) (int64, error) {
	if !l.cfg.Output {
		return 0, l.wrap("set", unix.EPERM)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, l.wrap("set", unix.EBADF)
	}
	v := uapi.LineValues{Mask: 1}
	if level {
		v.Bits = 1
	}
	if err := l.control(func(fd uintptr) error { return uapi.SetLineValuesV2(fd, v) }); err != nil {
		return 0, l.wrap("set", err)
	}
	l.level = level
	return kernelMono(), nil
}

// Close releases the line, also from the shelf.
func (l *cdevLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.parked != "" {
		if err = l.chip.board.opt.Shelf.Remove(l.parked); !l.kept {
			err = nil // nothing may be there to remove
		}
	}
	l.chip.dropped(l)
	return l.wrap("release", errors.Join(err, l.file.Close()))
}

// Park lets go of the line and leaves it on the shelf, for the next process or
// for this one: whoever requests it by the same name goes on with it. A line
// whose chip is gone is closed.
func (l *cdevLine) Park() error {
	_, err := l.read()
	l.mu.Lock()
	kept := err == nil && l.kept && !l.closed
	if kept {
		l.closed = true
	} else if !l.closed && l.cfg.Park != "" && l.cfg.Output {
		l.chip.board.opt.Log.Warn("the output's line is released: only systemd's descriptor store could hold it", "line", l.name)
	}
	l.mu.Unlock()
	if !kept {
		return l.Close()
	}
	l.chip.dropped(l)
	return l.wrap("park", l.chip.repark(l))
}

// configure applies the config and the level to a request that is there. An
// output's level always goes along: without it the kernel drives low.
func (l *cdevLine) configure() error {
	cfg := l.cfg
	cfg.Initial = Low
	if l.level {
		cfg.Initial = High
	}
	kc := kernelConfig(cfg)
	return l.control(func(fd uintptr) error { return uapi.SetLineConfigV2(fd, &kc) })
}
