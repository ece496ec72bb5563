// Package queue keeps durable rings of opaque bytes on one disk. It knows
// nothing of events: edge gives it bytes and gets numbers back.
//
//	Append(Batch)          one caller at a time: edge.Pump
//	     |
//	     v
//	journal                two pre-written halves; a flush is one run of checksummed
//	     |                 4 KiB blocks and one fdatasync; only then is it visible
//	     v
//	RAM tail               what the journal holds and the segments do not yet
//	     |  with 10,000 records, a full half, or after a while
//	     v
//	segments, state.db     bbolt files: a folder a ring, and one file for rows
//
// # Concepts
//
// A record has two numbers. Its n counts every record of the store in the order
// of commit, without a gap; its seq does the same within its ring. Both belong
// to an epoch, 32 random bits. Within an epoch a number is never given twice. A
// new epoch begins where the tail of the old one may have been lost: numbers go
// on from the highest survivor, and every cursor is cut back to it first.
//
// A ring is bounded by count, bytes and age, and by the headroom of its disk.
// What leaves it, and what damage took, becomes a hole: a durable range of seq
// with its cause. Records and holes of a ring together are 1..last, always, so
// every reader can prove what it has and what it will never get.
//
// A cursor is a named, durable set of acknowledged ranges, one set a ring. A
// mailbox is a named, durable position in n. Neither holds eviction back.
//
// A ring with Limits.Thin asks (Wishes) before it lets go of its oldest records.
// Who thins it reads them and appends what stands for them, in one batch with a
// Thinning's row:
//
//	Append(Batch{Entries: rows of "samples-1m", Rows: []Row{Thinning{
//		Ring: "samples", Into: "samples-1m", Gone: []Gone{{w.From, w.To, Thinned}}}.Row()}})
//
// That flush makes the records a hole that names the rows, or, torn, changes
// nothing: each record is readable, or stood for by rows, exactly once.
//
// A row is a key and a value in a named table. Rows ride in the same flush as
// records, so that "stored, and remembered under this key" is one fact.
//
// # Promises
//
// When Append returns nil, its records and rows survive a kill and a power cut.
// Nothing is readable before. A block of the journal that holds acknowledged
// records is not written again before they are in segments. After Close the
// journal is empty and every record can be read with bbolt alone.
//
// Open always gives a working store, at once: damaged files are set aside and
// salvaged block by block in the background. Only a store of a newer format, or
// one that another process holds, is refused.
package queue
