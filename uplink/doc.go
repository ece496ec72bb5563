// Package uplink sends what the rings hold to a peer upstream, whenever there is
// a line to it.
//
//	queue.Store
//	     |  one ring at a time, in order of seq, gaps in their places
//	     v
//	feed             what is to go next: rings in turn, or new before old
//	     |  pages, read ahead
//	     v
//	session          one connection: a window in flight, a watchdog over it
//	     |  Batch                                   ^ Ack: a range of seq
//	     v                                          |
//	Conn (mqtt, file) ---------------------------> the peer
//	                                                |
//	queue.Cursor <----------------------------------+  only what this connection acknowledged
//
// # Concepts
//
// A Forwarder owns one uplink: when to connect, what to send, and what counts as
// delivered. A Sender only says what happened: it connects, takes batches without
// waiting, and hands back acknowledged ranges as they come. Delivered means
// acknowledged by the peer on the connection it was sent on. What a lost
// connection had in flight is read from the store again and sent again: at least
// once, in order per ring.
//
// An event that the peer will never take goes to the ring quarantine, and a gap
// with cause "refused" goes upstream in its place, so that a receiver's ledger
// still closes.
//
// # Adding a sender
//
// One file with a config struct, a Sender and a Conn, and one line in Senders.
// The conformance suite of uplinktest walks that table.
package uplink
