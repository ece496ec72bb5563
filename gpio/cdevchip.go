package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// A line that we have just released may be busy for a moment: systemd closes its
// descriptor when it gets to it.
const (
	busyWait  = time.Second
	busyRetry = 10 * time.Millisecond
)

// cdevChip is a GPIO chip of the kernel, known by its label: the number in
// gpiochipN changes from one kernel to the next.
type cdevChip struct {
	board *KernelBoard
	label string
	dev   atomic.Pointer[cdevDevice] // another one after the chip was plugged in anew

	mu   sync.Mutex // keeps ioctls and the closing of their descriptor apart; guards held
	held map[int]*cdevLine
}

var _ Chip = (*cdevChip)(nil)

// lineName is what errors call a line.
func (c *cdevChip) lineName(offset int) string {
	if names := c.dev.Load().names; offset >= 0 && offset < len(names) && names[offset] != "" {
		return names[offset]
	}
	return fmt.Sprintf("%s/%d", c.label, offset)
}

// Info asks the kernel who uses a line. A level it tells only of lines of ours:
// for another there is no way to read it without a request.
func (c *cdevChip) Info(offset int) (LineInfo, error) {
	c.mu.Lock()
	held := c.held[offset]
	li, err := uapi.GetLineInfoV2(c.dev.Load().fd, offset)
	c.mu.Unlock()
	if err != nil {
		return LineInfo{}, absentError("ask "+c.dev.Load().path+" for "+c.lineName(offset), err)
	}
	info := LineInfo{
		Consumer:  uapi.BytesToString(li.Consumer[:]),
		Output:    li.Flags.IsOutput(),
		ActiveLow: li.Flags.IsActiveLow(),
	}
	if info.Consumer == "" && li.Flags.IsUsed() {
		info.Consumer = "kernel"
	}
	if held != nil {
		if level, err := held.Level(); err == nil {
			level = level != info.ActiveLow
			info.Level = &level
		}
	}
	return info, nil
}

// Request takes a line. A request that was parked under the same name is taken
// over: its queue and its numbers go on, an output keeps its level.
func (c *cdevChip) Request(offset int, cfg LineConfig) (Line, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("request line %s: %w", c.lineName(offset), err)
	}
	if debounceMicros(cfg.Debounce) > 1<<32-1 {
		return nil, fmt.Errorf("request line %s: a debounce of %s is over the kernel's 71 minutes: %w", c.lineName(offset), cfg.Debounce, unix.EINVAL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	released := false
	if p := c.board.unpark(lineKey{parkedLabel(c.label), offset}); p != nil {
		if l := c.adopt(p, cfg); l != nil {
			return l, nil
		}
		released = true
	}
	fd, err := c.request(offset, cfg)
	if errors.Is(err, unix.ENODEV) && c.reopen() {
		fd, err = c.request(offset, cfg)
	}
	for end := time.Now().Add(busyWait); released && errors.Is(err, unix.EBUSY) && time.Now().Before(end); {
		pause(context.Background(), busyRetry)
		fd, err = c.request(offset, cfg)
	}
	if err != nil {
		return nil, c.explain(offset, err)
	}
	return c.hold(offset, fd, cfg)
}

// request makes the ioctl. The caller holds c.mu.
func (c *cdevChip) request(offset int, cfg LineConfig) (fd int, err error) {
	req := uapi.LineRequest{Lines: 1, EventBufferSize: uint32(cfg.buffer()), Config: kernelConfig(cfg)}
	req.Offsets[0] = uint32(offset)
	copy(req.Consumer[:len(req.Consumer)-1], consumer(cfg.Consumer))
	if cfg.Output && cfg.Initial == Keep {
		req.Config = uapi.LineConfig{Flags: req.Config.Flags & uapi.LineFlagV2ActiveLow} // no direction: as it is
	}
	if err := uapi.GetLine(c.dev.Load().fd, &req); err != nil {
		return -1, err
	}
	return int(req.Fd), nil
}

// hold makes a line of a fresh request. The caller holds c.mu.
func (c *cdevChip) hold(offset, fd int, cfg LineConfig) (Line, error) {
	l, err := c.line(offset, fd, randomID(), cfg)
	if err != nil {
		return nil, err
	}
	l.level = cfg.Initial == High
	if cfg.Output && cfg.Initial == Keep {
		if l.level, err = l.read(); err == nil {
			err = l.configure()
		}
		if err != nil {
			return nil, errors.Join(l.wrap("request line", err), l.file.Close())
		}
	}
	c.park(l)
	c.held[offset] = l
	return l, nil
}

// explain says who holds a busy line. The caller holds c.mu.
func (c *cdevChip) explain(offset int, err error) error {
	name, dev := c.lineName(offset), c.dev.Load()
	switch {
	case errors.Is(err, unix.EBUSY):
		busy := &BusyError{Line: name}
		if li, ierr := uapi.GetLineInfoV2(dev.fd, offset); ierr == nil {
			busy.Holder = uapi.BytesToString(li.Consumer[:])
		}
		return busy
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return absentError("request line "+name+" of "+dev.path, err)
	}
	return fmt.Errorf("request line %s of %s: %w", name, dev.path, err)
}

// reopen looks for the chip under another number, after it was plugged in anew.
// The caller holds c.mu.
func (c *cdevChip) reopen() bool {
	for _, path := range chipPaths(c.board.opt.Dev) {
		dev, err := openDevice(path)
		if err != nil {
			continue
		}
		if dev.label == c.label {
			c.dev.Swap(dev).close()
			return true
		}
		dev.close() // another chip's
	}
	return false
}

// renew takes a device of the same label in place of one that is gone. It gives
// false, and does not take it, where the old one is still there.
func (c *cdevChip) renew(dev *cdevDevice) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := uapi.GetChipInfo(c.dev.Load().fd); !errors.Is(err, unix.ENODEV) {
		return false
	}
	c.dev.Swap(dev).close()
	return true
}

// close gives the device back. What is asked of the chip from here on fails.
func (c *cdevChip) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	closed := *c.dev.Load()
	closed.fd = ^uintptr(0)
	c.dev.Swap(&closed).close()
}

// dropped forgets a line that is held no longer.
func (c *cdevChip) dropped(l *cdevLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[l.offset] == l {
		delete(c.held, l.offset)
	}
}
