// Package backup writes a store, and the config that belongs to it, into one file,
// and makes a store of such a file again.
//
// The file is a tar, packed with zstd:
//
//	manifest.json           what is in it: who made it, and each member with its size
//	store/state.db          rows, cursors, marks: first, since a live store waits for it most
//	store/rings/RING/*.seg  the segments
//	config.d/NAME           what the API wrote
//	config/PATH             the config files that the agent runs with
//	sums.json               the SHA-256 of each member, the manifest too; it is the last
//
// Nothing of it is held in RAM but the config, and nothing is written beside it. A
// file without its sums is none: whatever ended early is found.
//
// The journal is not in it: a queue.Snapshot has moved it to the segments. Secrets
// that the config refers to are not in it either: the manifest says which.
package backup
