package gpio

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"fieldpost/edge"
)

// fleet is the devices that there are at one time. It never changes: a reload puts
// another one in its place.
type fleet struct {
	all    []*runner // sorted by name
	byName map[string]*runner
}

// DeviceError is what is wrong with one device.
type DeviceError struct {
	Device string
	Err    error
}

// Error names the device.
func (e *DeviceError) Error() string { return "make device " + e.Device + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DeviceError) Unwrap() error { return e.Err }

// muster makes a fleet, whose devices find gives, of the lines that are not held yet.
// The mistakes are all that there are: a device that can't be made, a line that two use
// or that its device lacks, an uplink that a device goes by and that is not there.
func muster(specs []Spec, held map[edge.Pin]string, uplinks []string, find func(Spec) (*runner, error)) (*fleet, []*DeviceError) {
	f := &fleet{byName: map[string]*runner{}}
	var bad []*DeviceError
	for _, spec := range specs {
		if f.byName[spec.Name] != nil {
			bad = append(bad, &DeviceError{spec.Name, errors.New("there are two of that name")})
			continue
		}
		r, err := find(spec)
		if err != nil {
			bad = append(bad, &DeviceError{spec.Name, err})
			continue
		}
		for _, p := range r.pins() {
			if other, ok := held[p]; ok {
				bad = append(bad, &DeviceError{spec.Name, fmt.Errorf("%s is used by %s", p, other)})
				continue
			}
			held[p] = "device " + spec.Name
		}
		f.byName[spec.Name] = r
		f.all = append(f.all, r)
	}
	slices.SortFunc(f.all, func(a, b *runner) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	if len(bad) == 0 {
		bad = append(f.checkGiven(), f.checkHeard(uplinks)...)
	}
	return f, bad
}

// checkGiven finds lines that their device does not have.
func (f *fleet) checkGiven() (bad []*DeviceError) {
	for _, r := range f.all {
		for _, p := range r.pins() {
			if g, line := f.giver(p); g != nil && !g.hasLine(line) {
				name, _, _ := strings.Cut(string(p), ".")
				bad = append(bad, &DeviceError{r.spec.Name, fmt.Errorf("there is no line %s: it is like %s.A0 or %s.B7", p, name, name)})
			}
		}
	}
	return bad
}

// lines are the pins of all devices on the board itself.
func (f *fleet) lines() (pins []edge.Pin) {
	for _, r := range f.all {
		for _, p := range r.pins() {
			if g, _ := f.giver(p); g == nil {
				pins = append(pins, p)
			}
		}
	}
	return pins
}
