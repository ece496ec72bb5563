package gpio

import (
	"fmt"

	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio/gpioreg"
	_ "periph.io/x/host/v3/sysfs" // I2C, SPI and 1-wire buses; it needs the slot ioctl-gpio
)

// slotName is the name under which periph's sysfs drivers expect the kernel's
// lines (FACTS.md 9).
const slotName = "ioctl-gpio"

// slot is a driver.Impl: it registers the header lines of a chip.
type slot struct{ pins []*headerPin }

// String is the name of the slot.
func (s slot) String() string { return slotName }

// Prerequisites are none.
func (s slot) Prerequisites() []string { return nil }

// After is nothing.
func (s slot) After() []string { return nil }

// Init registers the pins and their header positions.
func (s slot) Init() (bool, error) {
	for _, p := range s.pins {
		if err := gpioreg.Register(p); err != nil {
			return true, err
		}
	}
	for alias, name := range aliases() {
		if err := gpioreg.RegisterAlias(alias, name); err != nil {
			return true, err
		}
	}
	return true, nil
}

// Simulate makes a simulated board and registers it with periph, so that
// gpioreg.ByName finds its lines. Called again, the new board takes the place of
// the old one in the registry. It fails where a real board was registered.
func Simulate() (*SimBoard, error) {
	b := NewSimBoard(SimOptions{})
	s := slot{}
	for i := range b.lines {
		s.pins = append(s.pins, b.pin(i))
	}
	if replaceable() {
		return b, s.replace()
	}
	if err := driverreg.Register(s); err != nil {
		return nil, fmt.Errorf("register the simulated board: %w", err)
	}
	state, err := driverreg.Init()
	if err != nil {
		return nil, fmt.Errorf("start periph's drivers: %w", err)
	}
	// Only our own slot matters: sysfs-gpio fails or is skipped where its numbers
	// are taken or there is no chip.
	for _, d := range state.Loaded {
		if d.String() == slotName {
			return b, nil
		}
	}
	for _, f := range append(state.Failed, state.Skipped...) {
		if f.D.String() == slotName {
			return nil, fmt.Errorf("register the simulated board: %w", f.Err)
		}
	}
	return nil, fmt.Errorf("register the simulated board: periph's drivers were started before it")
}

// replaceable reports whether the registry holds a simulated board already.
func replaceable() bool {
	p, ok := gpioreg.ByName(lineName(0)).(*headerPin)
	if !ok {
		return false
	}
	_, ok = p.chip.(*SimBoard)
	return ok
}

// replace registers the pins in place of those with the same names.
func (s slot) replace() error {
	for _, p := range s.pins {
		if err := gpioreg.Unregister(p.name); err != nil {
			return fmt.Errorf("replace the simulated board: %w", err)
		}
		if err := gpioreg.Register(p); err != nil {
			return fmt.Errorf("replace the simulated board: %w", err)
		}
	}
	return nil
}
