package gpio

import "context"

// rested is the duty cycle, of a channel that has now, where nobody minds it.
func (d *pwm) rested(now float64) float64 {
	switch d.cfg.Stop {
	case RestOff:
		return 0
	case RestOn:
		return 100
	}
	return now
}

// resume gives the channel what boot says, once a safe start is over.
func (d *pwm) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started = false // it begins only now
	if d.channel == nil || d.broken != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), pwmWithin)
	defer cancel()
	want := d.initial(true, d.row.Value)
	if err := d.channel.set(ctx, want); err != nil {
		d.broken = err
		select {
		case d.wake <- struct{}{}:
		default:
		}
		return
	}
	d.started = true
	if want != d.row.Value {
		d.row.Value, d.row.Want = want, want
		d.tell(nil, "safe start over")
	}
}
