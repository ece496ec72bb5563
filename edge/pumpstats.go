package edge

import (
	"maps"
	"time"
)

// PumpStats is the state of a Pump.
type PumpStats struct {
	Waiting  int               // events that wait to be stored
	Bytes    int               // their size in RAM
	Lost     map[string]uint64 // events of Emit that never got a number, by name, since the start
	Err      error             // of the last flush; nil when it worked
	Took     time.Duration     // the last flush
	Progress time.Time         // now, or when the running flush began
	Flushes  uint64            // that worked, since the start
	Events   uint64            // stored, since the start
}

// Stats is the state of the Pump now.
func (p *Pump) Stats() PumpStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PumpStats{
		Waiting: p.count, Bytes: p.bytes, Lost: p.lost.totals(), Err: p.err,
		Took: p.took, Progress: p.flushing, Flushes: p.flushes, Events: p.events,
	}
	if p.flushing.IsZero() {
		s.Progress = time.Now()
	}
	return s
}

// Asks is how many flushes each ring's events asked for since the start, by ring; ""
// counts those that calls asked for. What else waited rode along.
func (p *Pump) Asks() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.asks)
}
