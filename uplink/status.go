package uplink

import (
	"context"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Status is the uplink as the API shows it. It does not block on the peer.
func (f *Forwarder) Status() edge.UplinkStatus {
	left, positions := f.backlog()
	total, rate, empty := f.meter.read(time.Now(), left)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := edge.UplinkStatus{
		Name: f.opt.Name, Sender: f.opt.Sender, Address: f.sender.Address(),
		State: f.state.name, Since: &f.state.since, Backlog: left, InFlight: f.state.inflight,
		Acknowledged: total, Refused: f.state.refused, Connects: f.state.connects,
		Rate: rate, Empty: empty, Positions: positions,
	}
	since := f.state.since
	s.Since = &since
	if f.state.err != nil {
		s.Error = f.state.err.Error()
	}
	if next := f.state.next; !next.IsZero() {
		s.NextTry = &next
	}
	return s
}

// backlog counts the seqs that were not acknowledged yet, and gives for each
// ring the seq up to which all were.
func (f *Forwarder) backlog() (left uint64, positions map[string]uint64) {
	positions = map[string]uint64{}
	for _, info := range f.opt.Store.Rings() {
		if !f.takes(info.Name) {
			continue
		}
		positions[info.Name] = f.cursor.Next(info.Name) - 1
		left += unacked(info.Last, f.cursor.Ranges(info.Name))
	}
	return left, positions
}

// unacked counts the seqs of 1..last that are in none of the ranges.
func unacked(last uint64, acked []queue.Range) uint64 {
	left := last
	for _, r := range acked {
		if r.From > last {
			break
		}
		left -= min(r.To, last) - max(r.From, 1) + 1
	}
	return left
}

// sample feeds the meter once a second.
func (f *Forwarder) sample(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		left, _ := f.backlog()
		f.meter.tick(time.Now(), left)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
