package gpio

import (
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

// openLine requests a line by the name of its pin. A pin of another periph
// driver is driven through periph's own calls. mono stamps what the kernel does not.
func openLine(lookup Lookup, name edge.Pin, cfg LineConfig, mono func() int64) (Line, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := find(lookup, name)
	if p == nil {
		return nil, absentError("find line "+string(name), nil)
	}
	if r, ok := p.(requester); ok {
		return r.Request(cfg)
	}
	return openPolled(p, cfg, mono)
}
