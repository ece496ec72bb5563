package gpio

import (
	"errors"
	"fmt"
	"os"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio/gpioreg"

	"fieldpost/edge"
)

// line wraps the descriptor of a request, which it owns from here on.
func (c *cdevChip) line(offset, fd int, id string, cfg LineConfig) (*cdevLine, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("request line %s: %w", c.lineName(offset), err), unix.Close(fd))
	}
	return &cdevLine{chip: c, offset: offset, name: c.lineName(offset), id: id, cfg: cfg,
		file: os.NewFile(uintptr(fd), c.lineName(offset))}, nil
}

// park puts a line on the shelf, where its config wants that. A line that can't
// be parked works all the same: it is released when its owner ends. The caller
// holds c.mu.
func (c *cdevChip) park(l *cdevLine) {
	if l.cfg.Park == "" || c.board.opt.Shelf == nil {
		return
	}
	l.parked = c.parkedName(l).String()
	if err := l.control(func(fd uintptr) error { return c.board.opt.Shelf.Put(l.parked, int(fd)) }); err != nil {
		c.board.opt.Log.Warn("the line may not outlive this process", "line", l.name, "err", err)
		return
	}
	l.kept = true
}

// repark gives a line's descriptor to whoever requests the line next in this
// process. The shelf has its own for the next one.
func (c *cdevChip) repark(l *cdevLine) error {
	fd, err := dup(l.file)
	if err = errors.Join(err, l.file.Close()); err != nil {
		return err
	}
	return c.board.repark(&parkedLine{parkedName: c.parkedName(l), text: l.parked, file: os.NewFile(uintptr(fd), l.parked)})
}

// parkedName is what a line is called on the shelf.
func (c *cdevChip) parkedName(l *cdevLine) parkedName {
	return parkedName{output: l.cfg.Output, label: parkedLabel(c.label), offset: l.offset,
		owner: l.cfg.owner(), config: l.cfg.hash(), id: l.id}
}

// adopt goes on with a request that was parked. It gives nil where that is of no
// use for cfg; the line is free then, or will be in a moment. The caller holds c.mu.
func (c *cdevChip) adopt(p *parkedLine, cfg LineConfig) *cdevLine {
	// The edges of an input, and their numbers, mean something to the device that
	// stored them last, and to no other. An output has a level to keep, whoever asks.
	same := cfg.Park != "" && p.owner == cfg.owner()
	if p.output != cfg.Output || !cfg.Output && !same || !c.owns(p) {
		c.board.release(p)
		return nil
	}
	l, err := c.take(p, cfg)
	if err != nil {
		c.board.opt.Log.Warn("a parked line can't be taken over", "line", c.lineName(p.offset), "err", err)
		c.board.release(p)
		return nil
	}
	c.held[l.offset] = l
	return l
}

// owns checks that a descriptor is what its name says.
func (c *cdevChip) owns(p *parkedLine) bool {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return false
	}
	var chip string
	var offset int
	cerr := raw.Control(func(fd uintptr) { chip, offset, err = fdinfo(fd) })
	return cerr == nil && err == nil && chip == c.dev.Load().name && offset == p.offset
}

// take makes a line of a parked descriptor, and brings it to cfg where that
// changed. The kernel keeps the queue and its numbers over a change.
func (c *cdevChip) take(p *parkedLine, cfg LineConfig) (*cdevLine, error) {
	// A descriptor of its own: whether reads of p.file can be waited for was
	// settled before we could make it non-blocking.
	fd, err := dup(p.file)
	if err != nil {
		return nil, err
	}
	l, err := c.line(p.offset, fd, p.id, cfg)
	if err != nil {
		return nil, err
	}
	l.parked, l.kept = p.text, true
	// Of an input the level is of no interest; a request of a chip that went away
	// has none.
	if l.level, err = c.keptLevel(l); err != nil {
		return nil, errors.Join(fmt.Errorf("read its level: %w", err), l.file.Close())
	}
	if p.config != cfg.hash() {
		if err := l.configure(); err != nil {
			return nil, errors.Join(fmt.Errorf("change its config: %w", err), l.file.Close())
		}
	}
	_ = p.file.Close() // l has a descriptor of its own
	c.rename(l)
	return l, nil
}

// keptLevel is the logical level that leaves an output's voltage as it is, also
// where the polarity is another than the request was made with.
func (c *cdevChip) keptLevel(l *cdevLine) (bool, error) {
	level, err := l.read()
	if err != nil {
		return false, err
	}
	info, err := uapi.GetLineInfoV2(c.dev.Load().fd, l.offset)
	if err != nil {
		return false, err
	}
	return level != (info.Flags.IsActiveLow() != l.cfg.ActiveLow), nil
}

// rename brings a line's name on the shelf up to date. systemd keeps the old name
// of a descriptor that it has, so the old one goes first: our own descriptor
// holds the line meanwhile.
func (c *cdevChip) rename(l *cdevLine) {
	if l.cfg.Park != "" && l.parked == c.parkedName(l).String() {
		return
	}
	if err := c.board.opt.Shelf.Remove(l.parked); err != nil {
		c.board.opt.Log.Warn("a line's old name stays in the descriptor store", "line", l.name, "err", err)
		return
	}
	l.parked, l.kept = "", false
	c.park(l)
}

// dup gives another descriptor of a file.
func dup(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var ferr error
	if err := raw.Control(func(old uintptr) { fd, ferr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return -1, err
	}
	return fd, ferr
}

// unpark gives what is on the shelf for a line, once; nil if nothing is.
func (b *KernelBoard) unpark(key lineKey) *parkedLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.parked[key]
	delete(b.parked, key)
	return p
}

// repark keeps a parked line for the next request of this process.
func (b *KernelBoard) repark(p *parkedLine) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := lineKey{p.label, p.offset}
	if b.parked == nil || b.parked[key] != nil { // the board is closed, or a mix-up
		return p.file.Close()
	}
	b.parked[key] = p
	return nil
}

// release lets a parked line go.
func (b *KernelBoard) release(p *parkedLine) {
	var err error
	if b.opt.Shelf != nil {
		err = b.opt.Shelf.Remove(p.text)
	}
	if err = errors.Join(err, p.file.Close()); err != nil {
		b.opt.Log.Warn("a parked line is not released", "name", p.text, "err", err)
		return
	}
	b.opt.Log.Info("a parked line is released: no device wants it as it is", "chip", p.label, "offset", p.offset)
}

// Release lets go of the parked lines that no device has any more. keep are the
// pins of all devices. A line of a chip that can't be opened now is kept: it may
// be one of them.
func (b *KernelBoard) Release(keep []edge.Pin) {
	for _, p := range b.orphans(keep) {
		b.release(p)
	}
}

// orphans takes those out of what is parked.
func (b *KernelBoard) orphans(keep []edge.Pin) (gone []*parkedLine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept, open := map[lineKey]bool{}, map[string]bool{}
	for _, c := range b.chips {
		open[parkedLabel(c.label)] = true
	}
	for _, name := range keep {
		if p, ok := find(gpioreg.ByName, name).(*linePin); ok {
			if c, ok := p.chip.(*cdevChip); ok {
				kept[lineKey{parkedLabel(c.label), p.offset}] = true
			}
		}
	}
	for key, p := range b.parked {
		if open[key.label] && !kept[key] {
			gone = append(gone, p)
			delete(b.parked, key)
		}
	}
	return gone
}
