package gpio

import "reflect"

// change lets an output that goes on with the same line take over other options: what
// it does at boot and stop, its words, who may command it, max_on, which counts from
// when it went on, and min_cycle, from when it went off. The line is not touched, but where max_on is over by now.
func (d *output) change(next Device) (apply func(), ok bool) {
	n, ok := next.(*output)
	if !ok || n.cfg.Pin != d.cfg.Pin || n.cfg.ActiveLow != d.cfg.ActiveLow || n.cfg.Interlock != d.cfg.Interlock || !reflect.DeepEqual(n.cfg.Offline, d.cfg.Offline) {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.park() != d.park() {
		return nil, false // whether the line outlives the process is said when it is requested
	}
	cfg := n.cfg
	return func() { d.takeOver(&cfg) }, true
}

// takeOver takes other options for the same line.
func (d *output) takeOver(cfg *DigitalOut) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg.Boot, d.cfg.Stop, d.cfg.MaxOn, d.cfg.MinCycle, d.cfg.States = cfg.Boot, cfg.Stop, cfg.MaxOn, cfg.MinCycle, cfg.States
	d.remote.Store(cfg.Remote)
	if d.line == nil {
		return // begin does the rest
	}
	d.limit()
	now := d.env.Clock.Stamp()
	d.delay(now) // it may have to rest for less now
	d.arm(now)
	d.out.Show(boolean(d.row.Value), d.cfg.States.of(d.row.Value), "")
}
