package edge

import (
	"encoding/json"
	"time"

	"fieldpost/queue"
)

// Kind says what an event is. The texts are part of the API.
type Kind string

// The kinds of events. Gap is made on reading and is stored only where another
// agent's gap was forwarded to this one.
const (
	Change  Kind = "change"  // a device's level or state changed
	Sample  Kind = "sample"  // a reading taken on a schedule
	Message Kind = "message" // a client published it
	Acted   Kind = "command" // a command and what came of it
	Hook    Kind = "hook"    // a web hook called
	Loss    Kind = "loss"    // something that never got a number; data has count
	System  Kind = "system"  // boot, clock, epoch, ledger, uplink, store
	Gap     Kind = "gap"     // numbers of a ring that this reader will not get
)

// ClockState says how far an event's time can be trusted.
type ClockState string

// The clock states.
const (
	Unsynced  ClockState = "unsynced"  // the best guess there is
	Synced    ClockState = "synced"    // the clock was right when it happened
	Corrected ClockState = "corrected" // worked out from a sync that came later in that boot
)

// MaxEvent is the most bytes that an event may take as JSON.
const MaxEvent = 128_000

// MaxName is the most bytes of an event's name.
const MaxName = 256

// Event is one thing that happened, in the form that every reader gets. A
// writer fills Name, Kind, Data, From and, where they apply, Ring, Cause and
// Origin; the Pump and the store fill the rest. The zero N means not yet stored.
type Event struct {
	Epoch uint32 // part of the id
	N     uint64 // the store's number; 0 for a gap
	Ring  string // "" lets the kind decide (RingFor)
	Seq   uint64 // the ring's number
	Agent string

	Name string
	Kind Kind

	Time  time.Time     // UTC, worked out on reading from Boot and Mono
	Clock ClockState    //
	Bound time.Duration // the largest error of Time; 0 where it is not known
	Boot  string        // the kernel's boot id
	Mono  int64         // nanoseconds on CLOCK_MONOTONIC of that boot

	From  string // who: device:, client:, rule:, uplink:, system: and a name
	Cause string // the id of the event that led to this one, or ""

	Origin *Origin         // where another agent forwarded it
	Data   json.RawMessage // any JSON; never nil once stored

	Hole *Hole // set for a gap that was made on reading, else nil

	at queue.Stamp // of one to be stored that happened in whatever boot; zero: Mono tells
}

// Origin is where a forwarded event was born.
type Origin struct {
	Agent string    `json:"agent"`
	ID    string    `json:"id"`
	Ring  string    `json:"ring"`
	Seq   uint64    `json:"seq"`
	Time  time.Time `json:"time"`
}

// Hole is the data of a gap: the numbers of its ring, both ends included.
type Hole struct {
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Count uint64 `json:"count"`
	Cause string `json:"cause"`

	Thinned Thinned `json:"thinned,omitzero"` // where the cause is thinned
}

// Thinned names what stands in the place of thinned events: it is among the
// events From to To of another ring.
type Thinned struct {
	Ring string `json:"ring"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// The rings that every store has.
const (
	RingEvents     = "events"
	RingSamples    = "samples"
	RingAlarms     = "alarms"
	RingAudit      = "audit"
	RingQuarantine = "quarantine"
	RingLogs       = "logs"
)

// RingFor is the ring of an event that names none: samples for a sample, events
// for all else (DESIGN.md section 3).
func RingFor(k Kind) string {
	if k == Sample {
		return RingSamples
	}
	return RingEvents
}

// Guarded reports whether a ring is left out of reads that don't name it, and
// needs the admin role (DESIGN.md section 8).
func Guarded(ring string) bool {
	return ring == RingAudit || ring == RingLogs || ring == RingQuarantine
}
