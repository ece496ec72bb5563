package gpio

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio/gpioreg"

	"fieldpost/edge"
)

// headerLabels are the chips whose line n is GPIOn of the 40-pin header, with
// the boards they are on (Linux's drivers/pinctrl/bcm/pinctrl-bcm2835.c and
// drivers/pinctrl/pinctrl-rp1.c).
var headerLabels = []string{
	"pinctrl-rp1",     // Pi 5, 500, CM5
	"pinctrl-bcm2711", // Pi 4, 400, CM4
	"pinctrl-bcm2835", // Pi Zero to 3
}

// scanEvery is the least time between two looks for new chips.
const scanEvery = 5 * time.Second

// KernelOptions say where a machine's lines are.
type KernelOptions struct {
	Dev    string     // where gpiochipN are; "" is /dev
	Shelf  Shelf      // where lines outlive the process; nil: they don't
	Parked []*os.File // what was on the shelf when the process started, by its names
	Log    *slog.Logger
}

// KernelBoard is the machine's own GPIO, through the kernel's character devices
// (Linux's Documentation/userspace-api/gpio/chardev.rst, uAPI v2). Chips that are
// missing, or that we may not open, are looked for again when a line of theirs is
// asked for.
type KernelBoard struct {
	opt KernelOptions

	mu      sync.Mutex // guards the rest; taken after a chip's own
	chips   []*cdevChip
	refused []error // why a chip that is there can't be opened
	pins    map[string]*linePin
	parked  map[lineKey]*parkedLine
	scanned time.Time
	twins   map[string]bool // paths of chips whose label another has, told once
}

// OpenBoard finds the machine's chips and registers their lines with periph, so
// that gpioreg.ByName finds them: GPIO17 and P1_11 on the 40-pin header, and
// every line of another chip as LABEL/OFFSET and by the name that the kernel has
// for it. It fails only where periph's registry does: a machine with no GPIO, or
// one that we may not use, is one whose lines are absent, and Missing says why.
func OpenBoard(opt KernelOptions) (*KernelBoard, error) {
	if opt.Dev == "" {
		opt.Dev = "/dev"
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	b := &KernelBoard{opt: opt, pins: map[string]*linePin{}, twins: map[string]bool{}}
	var useless []*parkedLine
	b.parked, useless = sortParked(opt.Parked)
	for _, p := range useless {
		b.release(p)
	}
	fresh := b.scan()
	if err := register(fresh); err != nil {
		return nil, fmt.Errorf("register the board's lines: %w", err)
	}
	for _, c := range b.chips {
		opt.Log.Info("GPIO chip", "label", c.label, "path", c.dev.Load().path, "lines", len(c.dev.Load().names))
	}
	return b, nil
}

// Close closes the chips. Lines that are held stay held, parked ones that nobody
// took stay on the shelf.
func (b *KernelBoard) Close() {
	b.mu.Lock()
	chips, parked := b.chips, b.parked
	b.chips, b.parked = nil, nil
	b.mu.Unlock()
	for _, c := range chips {
		c.close()
	}
	for _, p := range parked {
		_ = p.file.Close() // the shelf has its own
	}
}

// scan opens the chips that are not open yet, and gives the pins that are new.
func (b *KernelBoard) scan() (fresh []*linePin) {
	var again []*cdevDevice // of labels that are known
	b.mu.Lock()
	b.scanned = time.Now()
	b.refused = nil
	for _, path := range chipPaths(b.opt.Dev) {
		dev, err := openDevice(path)
		switch {
		case err != nil:
			b.refused = append(b.refused, err)
		case b.chip(dev.label) != nil:
			again = append(again, dev)
		default:
			c := &cdevChip{board: b, label: dev.label, held: map[int]*cdevLine{}}
			c.dev.Store(dev)
			b.chips = append(b.chips, c)
		}
	}
	for _, c := range b.chips {
		for _, p := range c.pins(c == b.header()) {
			if b.pins[p.name] == nil {
				b.pins[p.name] = p
				fresh = append(fresh, p)
			}
		}
	}
	b.mu.Unlock()
	for _, dev := range again {
		b.meet(dev)
	}
	return fresh
}

// meet handles a device whose label a known chip has: it is that chip, or that
// chip plugged in anew, or a twin, whose lines nothing would tell apart for good.
func (b *KernelBoard) meet(dev *cdevDevice) {
	b.mu.Lock()
	known := b.chip(dev.label)
	b.mu.Unlock()
	if known != nil && known.renew(dev) {
		return
	}
	dev.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if known == nil || known.dev.Load().name == dev.name || b.twins[dev.path] {
		return
	}
	b.twins[dev.path] = true
	b.opt.Log.Warn("a second GPIO chip of the same label is left alone", "label", dev.label, "path", dev.path, "first", known.dev.Load().path)
}

// chip finds an open chip. The caller holds b.mu.
func (b *KernelBoard) chip(label string) *cdevChip {
	for _, c := range b.chips {
		if c.label == label {
			return c
		}
	}
	return nil
}

// header is the chip of the 40-pin header: one of a label that we know, else one
// whose lines have the header's names. The caller holds b.mu.
func (b *KernelBoard) header() *cdevChip {
	for _, label := range headerLabels {
		if c := b.chip(label); c != nil {
			return c
		}
	}
	if len(b.refused) > 0 {
		return nil // the header's own may be among those that we can't open yet
	}
	for _, c := range b.chips {
		if names := c.dev.Load().names; slices.Contains(names, lineName(4)) && slices.Contains(names, lineName(17)) {
			return c
		}
	}
	return nil
}

// pins are a chip's lines as periph sees them.
func (c *cdevChip) pins(header bool) (pins []*linePin) {
	names, taken := c.dev.Load().names, map[int]bool{}
	if header {
		for n := range headerLines {
			// By name first; a device tree may have other names for some of them, and
			// on a chip of the header line n is GPIOn whatever it is called.
			offset := slices.Index(names, lineName(n))
			if offset < 0 && n < len(names) && slices.Contains(headerLabels, c.label) {
				offset = n
			}
			if offset >= 0 {
				taken[offset] = true
				pins = append(pins, c.pin(offset, lineName(n)))
			}
		}
	}
	for offset := range names {
		if !taken[offset] {
			pins = append(pins, c.pin(offset, fmt.Sprintf("%s/%d", c.label, offset)))
		}
	}
	return pins
}

// pin is a line under the name that it is registered with, and that of the
// kernel beside it.
func (c *cdevChip) pin(offset int, name string) *linePin {
	p := &linePin{chip: c, offset: offset, name: name}
	if kernel := c.dev.Load().names[offset]; kernel != name {
		p.alias = kernel
	}
	return p
}

// Missing says why a line can't be found, and how to mend it. It looks for new
// chips first: with nil the line is there now.
func (b *KernelBoard) Missing(pin edge.Pin) error {
	if b.rescan(); b.has(pin) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) > 0 {
		return absentError("find line "+string(pin), cure(b.refused[0]))
	}
	if len(b.chips) == 0 {
		return absentError("find line "+string(pin), fmt.Errorf("this machine has no GPIO: there is no %s/gpiochip*; to try things out, run with --simulate", b.opt.Dev))
	}
	var have []string
	for _, c := range b.chips {
		dev := c.dev.Load()
		have = append(have, fmt.Sprintf("%s (%s, %d lines)", dev.path, dev.label, len(dev.names)))
	}
	return absentError("find line "+string(pin), fmt.Errorf("no chip has it; there are %v", have))
}

// Problem says why one of these pins can't be found; nil where all are there.
func (b *KernelBoard) Problem(pins []edge.Pin) error {
	for _, pin := range pins {
		if find(gpioreg.ByName, pin) != nil {
			continue
		}
		if err := b.Missing(pin); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether periph can find a line of this board.
func (b *KernelBoard) has(pin edge.Pin) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pins[string(pin)] != nil
}

// rescan looks for new chips, now and then.
func (b *KernelBoard) rescan() {
	b.mu.Lock()
	early := time.Since(b.scanned) < scanEvery
	b.mu.Unlock()
	if early {
		return
	}
	if err := register(b.scan()); err != nil {
		b.opt.Log.Warn("register the board's lines", "err", err)
	}
}

// cure says how to get a chip that can't be opened.
func cure(err error) error {
	var perr *os.PathError
	if !errors.As(err, &perr) {
		return err
	}
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %s", err, permission(perr.Path))
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: the unit's DevicePolicy does not allow it: it takes DeviceAllow=char-gpiochip rw", err)
	}
	return err
}
