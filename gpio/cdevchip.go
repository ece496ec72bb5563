package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// cdevChip is a GPIO chip of the kernel, known by its label: the number in
// gpiochipN changes from one kernel to the next.
type cdevChip struct {
	board *KernelBoard
	label string
	at    string // its path, for the board, whose mutex guards it

	mu    sync.Mutex // guards the rest, and keeps requests apart
	path  string     // /dev/gpiochipN, as it was opened last
	fd    int
	lines int
	names []string // of the kernel, by offset; "" where it has none
	held  map[int]*cdevLine
}

var _ Chip = (*cdevChip)(nil)

// openChip opens a character device and reads what it says of itself.
func openChip(path string) (*cdevChip, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	c := &cdevChip{at: path, path: path, fd: fd, held: map[int]*cdevLine{}}
	if err := c.learn(); err != nil {
		_ = unix.Close(fd) // nothing was written to it
		return nil, err
	}
	return c, nil
}

// learn reads label and line names.
func (c *cdevChip) learn() error {
	info, err := uapi.GetChipInfo(uintptr(c.fd))
	if err != nil {
		return fmt.Errorf("ask %s what it is: %w", c.path, err)
	}
	c.label, c.lines = uapi.BytesToString(info.Label[:]), int(info.Lines)
	c.names = make([]string, c.lines)
	for i := range c.names {
		line, err := uapi.GetLineInfoV2(uintptr(c.fd), i)
		switch {
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY):
			return fmt.Errorf("ask %s for its lines: the kernel is older than 5.10, which brought the interface that this needs: %w", c.path, err)
		case err != nil:
			return fmt.Errorf("ask %s for line %d: %w", c.path, i, err)
		}
		c.names[i] = uapi.BytesToString(line.Name[:])
	}
	return nil
}

// lineName is what errors call a line.
func (c *cdevChip) lineName(offset int) string {
	if offset >= 0 && offset < len(c.names) && c.names[offset] != "" {
		return c.names[offset]
	}
	return fmt.Sprintf("%s/%d", c.label, offset)
}

// Info asks the kernel who uses a line. A level it tells only of lines of ours:
// for another there is no way to read it without a request.
func (c *cdevChip) Info(offset int) (LineInfo, error) {
	c.mu.Lock()
	held := c.held[offset]
	li, err := uapi.GetLineInfoV2(uintptr(c.fd), offset)
	c.mu.Unlock()
	if err != nil {
		return LineInfo{}, absentError("ask "+c.path+" for "+c.lineName(offset), err)
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

// Request takes a line. A request that an earlier process parked under the same
// name is taken over: its queue and its numbers go on, an output keeps its level.
func (c *cdevChip) Request(offset int, cfg LineConfig) (Line, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("request line %s: %w", c.lineName(offset), err)
	}
	if debounceMicros(cfg.Debounce) > 1<<32-1 {
		return nil, fmt.Errorf("request line %s: a debounce of %s is over the kernel's 71 minutes: %w", c.lineName(offset), cfg.Debounce, unix.EINVAL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.board.unpark(lineKey{parkedLabel(c.label), offset}); p != nil {
		line, err := c.adopt(p, cfg)
		if line != nil || err != nil {
			return line, err
		}
	}
	fd, err := c.request(offset, cfg)
	if errors.Is(err, unix.ENODEV) && c.reopen() {
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
	if err := uapi.GetLine(uintptr(c.fd), &req); err != nil {
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

// line wraps the descriptor of a request, which it owns from here on.
func (c *cdevChip) line(offset, fd int, id string, cfg LineConfig) (*cdevLine, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("request line %s: %w", c.lineName(offset), err), unix.Close(fd))
	}
	return &cdevLine{chip: c, offset: offset, name: c.lineName(offset), id: id, cfg: cfg,
		file: os.NewFile(uintptr(fd), c.lineName(offset)), log: c.board.opt.Log}, nil
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

// explain says who holds a busy line. The caller holds c.mu.
func (c *cdevChip) explain(offset int, err error) error {
	name := c.lineName(offset)
	switch {
	case errors.Is(err, unix.EBUSY):
		busy := &BusyError{Line: name}
		if li, ierr := uapi.GetLineInfoV2(uintptr(c.fd), offset); ierr == nil {
			busy.Holder = uapi.BytesToString(li.Consumer[:])
		}
		return busy
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return absentError("request line "+name+" of "+c.path, err)
	}
	return fmt.Errorf("request line %s of %s: %w", name, c.path, err)
}

// reopen looks for the chip under another number, after it was plugged in anew.
// The caller holds c.mu.
func (c *cdevChip) reopen() bool {
	again := c.board.reopen(c.label)
	if again == nil {
		return false
	}
	_ = unix.Close(c.fd) // of a chip that is gone
	c.fd, c.path, c.lines, c.names = again.fd, again.path, again.lines, again.names
	return true
}

// close gives the device back. What is asked of the chip from here on fails.
func (c *cdevChip) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = unix.Close(c.fd) // nothing was written to it
	c.fd = -1
}

// dropped forgets a line that is held no longer.
func (c *cdevChip) dropped(l *cdevLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[l.offset] == l {
		delete(c.held, l.offset)
	}
}

// consumer cuts a holder's name to the 31 bytes that the kernel takes, between
// characters.
func consumer(s string) string {
	const most = 31
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// fdinfo tells which line a descriptor is a request of, as the kernel says.
func fdinfo(fd uintptr) (chip string, offset int, err error) {
	b, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fmt.Sprint(fd)))
	if err != nil {
		return "", 0, fmt.Errorf("ask for descriptor %d: %w", fd, err)
	}
	offset = -1
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); key {
		case "gpio-chip":
			chip = value
		case "gpio-line":
			if _, err := fmt.Sscan(value, &offset); err != nil {
				return "", 0, fmt.Errorf("ask for descriptor %d: its line is %q", fd, value)
			}
		}
	}
	if chip == "" || offset < 0 {
		return "", 0, fmt.Errorf("ask for descriptor %d: it is no line request", fd)
	}
	return chip, offset, nil
}
