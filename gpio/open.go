package gpio

import (
	"strings"

	periph "periph.io/x/conn/v3/gpio"

	"fieldpost/edge"
)

// Lookup finds a pin by name or alias, nil where there is none. Outside of tests
// it is gpioreg.ByName.
type Lookup func(name string) periph.PinIO

// maxAliases bounds how often an alias of an alias is followed.
const maxAliases = 8

// find gives the real pin of a name; nil where there is none.
func find(lookup Lookup, name edge.Pin) periph.PinIO {
	p := lookup(string(name))
	for range maxAliases {
		alias, ok := p.(periph.RealPin)
		if !ok {
			break
		}
		p = alias.Real()
	}
	return p
}

// lineGiver is a device whose lines other devices name: an expander. A line's pin is
// the device's name, a point and the line's own name.
type lineGiver interface {
	hasLine(line string) bool
	// request takes a line. It waits a moment for the part, no longer.
	request(line string, cfg LineConfig) (Line, error)
}

// giver finds the device that a pin is a line of; nil where it is none.
func (f *fleet) giver(pin edge.Pin) (g lineGiver, line string) {
	name, line, _ := strings.Cut(string(pin), ".")
	if r := f.byName[name]; r != nil {
		g, _ = r.dev.(lineGiver)
	}
	return g, line
}

// opener requests lines by the names of their pins.
type opener struct {
	lookup  Lookup
	missing func(edge.Pin) error // why a line is not there; nil where nobody knows
	mono    func() int64         // stamps what the kernel does not
}

// open requests a line. A pin of another periph driver is driven through periph's
// own calls.
func (o opener) open(name edge.Pin, cfg LineConfig) (Line, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := find(o.lookup, name)
	if p == nil && o.missing != nil {
		if err := o.missing(name); err != nil {
			return nil, err
		}
		p = find(o.lookup, name) // it came just now
	}
	if p == nil {
		return nil, absentError("find line "+string(name), nil)
	}
	if r, ok := p.(requester); ok {
		return r.Request(cfg)
	}
	return openPolled(p, cfg, o.mono)
}
