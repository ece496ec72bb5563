package gpio

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"fieldpost/edge"
)

// Plan is another set of devices, checked and not in force. Nothing of the hardware
// was touched for it.
type Plan struct {
	// Changes are what Swap will do.
	Changes edge.Changes

	source  *Source
	uplinks []string // their names; once swapped, of those before
	old     *fleet
	next    *fleet
	leave   []*runner         // stop
	enter   []*runner         // start then
	settle  []func()          // what devices that run on take over
	lame    map[string]bool   // devices that have no line as it is
	before  map[*post]*runner // whose state a new device goes on with
}

// changer is a device that can take over other options while it runs.
type changer interface {
	// change compares itself with a device of the same driver that has the new
	// options. Where it can go on as that one, apply makes it so; it can't fail.
	change(next Device) (apply func(), ok bool)
}

// DeviceErrors are mistakes of several devices.
type DeviceErrors []*DeviceError

// Error gives all of them.
func (e DeviceErrors) Error() string {
	texts := make([]string, 0, len(e))
	for _, d := range e {
		texts = append(texts, d.Error())
	}
	return strings.Join(texts, "; ")
}

// Plan compares specs, beside which there are uplinks of these names, with the devices
// that there are, makes those that are new or
// changed, and looks whether the board has their lines free. mistakes are what the
// specs have wrong, busy the lines that can't be had now; where there is any there is
// no plan.
//
// A device whose driver and options are the same runs on, as does one that can take
// over other options while it runs. One that gives lines to others is replaced
// together with those.
func (s *Source) Plan(specs []Spec, uplinks []string) (p *Plan, mistakes, busy DeviceErrors) {
	p = &Plan{source: s, uplinks: uplinks, old: s.now(), lame: map[string]bool{}, before: map[*post]*runner{}}
	links := newModbusLinks() // with those of devices that run on
	for _, spec := range specs {
		if o := p.old.byName[spec.Name]; o != nil && sameDevice(o.spec, spec) {
			if m, ok := o.dev.(*modbus); ok {
				links.all[m.link.name] = m.link
			}
		}
	}
	held, _ := holdOwn(s.opt.Own) // NewSource took them
	p.next, mistakes = muster(specs, held, uplinks, func(spec Spec) (*runner, error) { return p.runner(spec, links) })
	if len(mistakes) > 0 {
		return nil, mistakes, nil
	}
	for _, o := range p.old.all {
		if p.next.byName[o.spec.Name] == nil {
			p.leave = append(p.leave, o)
			p.Changes.Removed = append(p.Changes.Removed, o.spec.Name)
		}
	}
	p.restart()
	if busy = p.acquire(); len(busy) > 0 {
		return nil, nil, busy
	}
	p.Changes.Untouched = len(p.next.all) - len(p.Changes.Added) - len(p.Changes.Changed) - len(p.Changes.Restarted)
	p.Changes.Sort()
	return p, nil, nil
}

// sameDevice reports whether two specs differ in what is only told of the device.
func sameDevice(a, b Spec) bool {
	return a.Driver == b.Driver && reflect.DeepEqual(a.Options, b.Options)
}

// runner finds the device that runs on for a spec, or makes another.
func (p *Plan) runner(spec Spec, links *modbusLinks) (*runner, error) {
	old := p.old.byName[spec.Name]
	if old != nil && reflect.DeepEqual(old.spec, spec) {
		return old, nil
	}
	if old != nil && sameDevice(old.spec, spec) {
		return p.relabelled(old, spec, func() {}), nil
	}
	r, err := p.source.newRunner(spec, links)
	if err != nil {
		return nil, err
	}
	if old == nil {
		p.Changes.Added = append(p.Changes.Added, spec.Name)
		p.enter = append(p.enter, r)
		return r, nil
	}
	if c, ok := old.dev.(changer); ok && old.spec.Driver == spec.Driver {
		if apply, ok := c.change(r.dev); ok {
			return p.relabelled(old, spec, apply), nil
		}
	}
	p.Changes.Changed = append(p.Changes.Changed, spec.Name)
	p.leave, p.enter = append(p.leave, old), append(p.enter, r)
	p.before[r.post] = old
	return r, nil
}

// relabelled is a device that runs on and is told of otherwise.
func (p *Plan) relabelled(old *runner, spec Spec, apply func()) *runner {
	p.Changes.Changed = append(p.Changes.Changed, spec.Name)
	p.settle = append(p.settle, func() {
		old.out.relabel(spec)
		apply()
	})
	return &runner{spec, old.post}
}

// restart adds the devices whose lines another device gives that is replaced.
func (p *Plan) restart() {
	replaced := map[string]bool{}
	for _, r := range slices.Concat(p.leave, p.enter) {
		if _, ok := r.dev.(lineGiver); ok {
			replaced[r.spec.Name] = true
		}
	}
	for _, r := range p.next.all {
		if slices.Contains(p.enter, r) || !slices.ContainsFunc(r.pins(), func(pin edge.Pin) bool {
			name, _, _ := strings.Cut(string(pin), ".")
			return replaced[name]
		}) {
			continue
		}
		p.leave, p.enter = append(p.leave, r), append(p.enter, r)
		if !slices.Contains(p.Changes.Changed, r.spec.Name) {
			p.Changes.Restarted = append(p.Changes.Restarted, r.spec.Name)
		}
	}
}

// acquire finds the lines that no device had and that can't be had now.
func (p *Plan) acquire() (busy DeviceErrors) {
	ours := map[edge.Pin]bool{}
	for _, r := range p.old.all {
		p.lame[r.spec.Name] = r.held.refusal() != nil
		for _, pin := range r.pins() {
			g, _ := p.old.giver(pin)
			ours[pin] = g == nil
		}
	}
	for _, r := range p.enter {
		for _, pin := range r.pins() {
			if g, _ := p.next.giver(pin); g != nil || ours[pin] {
				continue
			}
			if err := p.source.vacant(pin); err != nil {
				busy = append(busy, &DeviceError{r.spec.Name, err})
			}
		}
	}
	return busy
}

// consumerPrefix is what the names of our line requests begin with.
const consumerPrefix = "fieldpost:"

// vacant is an error where the board does not have a line, or another program has
// it. It changes nothing: the line may be taken in the next moment. It waits a moment
// for one that is ours.
func (s *Source) vacant(pin edge.Pin) error {
	p := find(s.opt.Lookup, pin)
	if p == nil && s.opt.Missing != nil {
		if err := s.opt.Missing(pin); err != nil {
			return err
		}
		p = find(s.opt.Lookup, pin)
	}
	if p == nil {
		return absentError("find line "+string(pin), nil)
	}
	in, ok := p.(informer)
	if !ok {
		return nil // a pin of another periph driver can't be asked
	}
	info, err := in.Info()
	for end := time.Now().Add(busyWait); err == nil && strings.HasPrefix(info.Consumer, consumerPrefix) && time.Now().Before(end); {
		pause(context.Background(), busyRetry) // a device that left may have had it parked until just now
		info, err = in.Info()
	}
	switch {
	case err != nil:
		return err
	case info.Consumer != "":
		return &BusyError{Line: string(pin), Holder: info.Consumer}
	}
	return nil
}

// errSwapped: the devices are others than those that a plan is for.
var errSwapped = errors.New("swap devices: they were swapped meanwhile")
