package gpio

// rested is the level of a line at level where nobody minds it: as stop says, and
// off where it would have gone off by itself.
func (d *output) rested(level bool) bool {
	switch {
	case d.cfg.Stop == RestOff || d.row.Value && d.row.For > 0:
		return false
	case d.cfg.Stop == RestOn:
		return true
	}
	return level
}

// safeInitial is the level to request in a safe start.
func (d *output) safeInitial() Initial {
	low, high := d.rested(false), d.rested(true)
	switch {
	case low != high:
		return Keep
	case high:
		return High
	}
	return Low
}

// resume takes the line to what boot says. One that outlives the process stays as
// it is, as it does through any start.
func (d *output) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started = false // it begins only now
	if d.line == nil {
		return
	}
	level := d.row.Value
	want := d.initial(true)
	if d.pend && level && !(d.offline() && d.cfg.Offline.Set == RestOff) {
		d.pend, want = false, Keep // it is on already
	}
	if want != Keep && d.park() == "" {
		level = want == High
	}
	d.row.Want = level || d.pend
	if level != d.row.Value {
		mono, err := d.line.Set(level)
		if err != nil {
			d.broken = err
			d.rouse()
			return
		}
		pend := d.pend
		d.went(level, d.row.Want, mono, nil, "safe start over")
		d.pend = pend
	}
	d.started = true
	d.delay(d.env.Clock.Stamp())
	d.rouse()
}
