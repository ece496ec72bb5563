// Command fieldpost-prove is the fault and bench driver. It is not shipped.
//
// It takes the built fieldpost as a user has it, a program with a config and an
// API, and never looks inside:
//
//	clients --HTTP--> fieldpost --MQTT--> Link ----> mosquitto ----> mosquitto_sub
//	   |              (SIGKILL)            | (freeze)  (SIGTERM,         |
//	   | acknowledged                      |            SIGKILL)         |
//	   v                          Recorder v                             v
//	 Ledger <----------------- what the broker acknowledged      what a subscriber got
//
// e2e strikes this chain with faults while events go in to the very end, and
// closes the ledger: what a client was told is stored must have come out, with
// the content and the id that were acknowledged.
//
// prove strikes with every fault that the store's promises name. Its crash states
// look inside, at what the disk is told and in which order:
//
//	crash-writer --> queue --> ext4 --> loop --> FUSE --> log of writes and flushes
//	   | acknowledged, at which place of the log             |  every prefix, some
//	   v                                                     v  reorderings and tears
//	 notes ------------------ checker <--------- mounted, opened, read, stored into
//
// mutants breaks the source on purpose, a promise at a time: what goes uncaught
// was never proven.
//
// bench measures fieldpost and its peers (Redis, mosquitto, NATS) in one run, on
// the same events (testdata/corpus.ndjson), disk and cores, and prints the ratios
// beside what DESIGN.md section 10 sets. Redis and mosquitto are Debian's; a NATS
// that can flush before it acknowledges is built into the user's cache.
package main
