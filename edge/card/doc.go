// Package card looks at the storage under a folder: which file system it is on,
// which block devices carry that, what the kernel counts for them, and what a
// flush there does and costs.
//
//	Find(dir)        mount, options, and the devices below: partition, dm, loop, card
//	Counters         sectors written and flushes, as the device counted them
//	OwnWrites        what this process wrote, as the kernel counted it
//	Probe            flush times and speeds, measured with files of its own
//	Judge            does it honour a flush, as far as software can tell
//
// # Counters
//
// A device's counter is of all who write to it, the file system's own log among
// them, since the boot: it is what the flash took. A process's counter is of the
// page cache that it made dirty, at once, without the file system's log, and in
// units that can be far larger than the write: it is an upper bound.
//
// # What software can't see
//
// A card may answer a flush before the flash has the data. Software sees what the
// card says of its cache, whether flushes are sent to it, and whether they take
// as long as flash takes. It does not see the power go. A counterfeit card, whose
// size is a lie, is only found by filling it, and Probe does not.
package card
