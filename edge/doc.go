// Package edge is the vocabulary of Fieldpost and the way into its store: the
// event, its two encodings, the clock, and the Pump.
//
//	gpio.Device     client's POST     system
//	     | Emit          | Post          | CommitWith
//	     v               v               v
//	    Pump                 one queue for all rings: takes all that waits,
//	     |                   numbers it, resolves causes, one flush
//	     v
//	queue.Store              opaque bytes with n and seq
//	     |
//	     v
//	    Log                  bytes back into events: time from the boot table,
//	     |                   holes into gaps, filters
//	     v
//	uplinks, mailboxes, the API
//
// # Concepts
//
// An Event is one thing that happened. A writer says what (name, kind, data) and
// who (from); the Pump and the store give it its numbers; Log gives it its time.
//
// A Ticket is an event that has no number yet. An effect names its cause by
// ticket, and the Pump turns that into an id when it numbers the two: both wait
// in one queue, the cause first, so it always can.
//
// A Clock never trusts wall time. Events are stamped with a boot and nanoseconds
// of CLOCK_MONOTONIC; what wall time that was is worked out on reading, from a
// durable table of what each boot learned about the time. What a sync teaches is
// told to readers once it is durable, so that no power cut takes it back; a guess never
// contradicts what the syncs of the boots round it prove.
//
// A Thinner sums up what is oldest in rings that are to age so: a row of each name
// and minute, later of each hour, takes the place of its samples.
//
// A Board is the one seam to the machine: its boot id, its serial, its clocks. A
// test that makes another Board is in another boot.
package edge
