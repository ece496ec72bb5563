package gpio

import (
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio/gpioreg"
	_ "periph.io/x/host/v3/sysfs" // I2C, SPI and 1-wire buses; it needs the slot ioctl-gpio
)

// slotName is the name under which periph's sysfs drivers expect the kernel's
// lines (FACTS.md 9).
const slotName = "ioctl-gpio"

// slot is a driver.Impl: it registers the lines of a board.
type slot struct{ pins []*linePin }

// String is the name of the slot.
func (s slot) String() string { return slotName }

// Prerequisites are none.
func (s slot) Prerequisites() []string { return nil }

// After is nothing.
func (s slot) After() []string { return nil }

// Init registers the pins and their header positions. A board without any is no
// failure: the buses, which need this slot, work without lines.
func (s slot) Init() (bool, error) { return true, publish(s.pins) }

// Simulate makes a simulated board and registers it with periph, so that
// gpioreg.ByName finds its lines. A board that is registered later takes its place.
func Simulate(opt SimOptions) (*SimBoard, error) {
	b := NewSimBoard(opt)
	var pins []*linePin
	for i := range b.lines {
		pins = append(pins, b.pin(i))
	}
	if err := register(pins); err != nil {
		return nil, fmt.Errorf("register the simulated board: %w", err)
	}
	return b, nil
}

// startPeriph starts periph's drivers, which a process can do once.
var startPeriph sync.Once

// register puts pins into periph's registry, in place of those of the same name.
// The first time it starts periph's drivers, with ours among them.
func register(pins []*linePin) error {
	first, err := false, error(nil)
	startPeriph.Do(func() { first, err = true, startWith(slot{pins}) })
	if first || err != nil {
		return err
	}
	return publish(pins)
}

func startWith(s slot) error {
	if err := driverreg.Register(s); err != nil {
		return err
	}
	state, err := driverreg.Init()
	if err != nil {
		return fmt.Errorf("start periph's drivers: %w", err)
	}
	// Only our own slot matters: sysfs-gpio fails or is skipped where its numbers
	// are taken or there is no chip.
	for _, d := range state.Loaded {
		if d.String() == slotName {
			return nil
		}
	}
	for _, f := range append(state.Failed, state.Skipped...) {
		if f.D.String() == slotName {
			return f.Err
		}
	}
	return errors.New("periph's drivers were started before ours")
}

// publish registers pins and the positions of the header that they are at, in
// place of whatever has those names, and then the other names that they have,
// where these are free.
func publish(pins []*linePin) error {
	positions := map[string]string{}
	for position, name := range aliases() {
		positions[name] = position
	}
	for _, p := range pins {
		_ = gpioreg.Unregister(p.name) // an error says that there is none
		if err := gpioreg.Register(p); err != nil {
			return err
		}
		position, ok := positions[p.name]
		if !ok {
			continue
		}
		_ = gpioreg.Unregister(position)
		if err := gpioreg.RegisterAlias(position, p.name); err != nil {
			return err
		}
	}
	for _, p := range pins {
		if p.alias == "" || gpioreg.ByName(p.alias) != nil {
			continue
		}
		if err := gpioreg.RegisterAlias(p.alias, p.name); err != nil {
			return err
		}
	}
	return nil
}
