// Package agent makes one running Fieldpost out of the parts that know nothing
// of each other. It is the list of what the machine does, in order:
//
//	opens    clock and board, store (lock, journal), socket and API, then the devices
//	runs     devices -> Pump -> store -> API, uplinks
//	drains   intake 2 s, Pump 3 s, uplinks 4 s, API 2 s, then closes the store
//
// Nothing is produced into something that is closed already: stages end from the
// top of the picture down, each within its budget. What an uplink could not send
// stays on disk.
//
// # What can be wrong at the start
//
// No network, no broker, no devices, a wrong clock: the agent starts, and what
// is missing shows in its status. A disk that is full or read-only: it starts,
// answers and says so, and goes on by itself when the disk takes writes again.
// A mistake in the config, or a store of a newer version, ends it (ConfigError).
//
// # A safe start
//
// An agent that crashed or lost its power three times within five minutes may itself
// be why: a command that comes again, a pump that pulls the supply down. It then starts
// with its outputs as their stop says (off, on, or as they are: hold and last; off
// where max_on or a pulse would end it), takes no command, reads, stores, serves and
// forwards as ever, and says so in its status and in an event. A stop in good order
// ends it with the next start, and so do ten minutes without a crash: then outputs do
// what their boot says, but for those that outlive the process, and commands are
// taken. It is for agents with devices that take commands, on a real board.
//
// # The front
//
// A light shows how the agent is, as the table of signals says, and a button that is held
// claims or resets who has access. Neither is needed for anything, nor holds anything: a
// light that fails is a problem of the status, and is tried again. The agent makes each
// flash itself, so that one that is dead does not look calm.
//
// # A reload
//
// A signal, the verb or a client asks for it, one at a time:
//
//	loads     the config again, from the same files, environment and flags
//	checks    what only a restart changes, devices, lines that must be free, keys, uplinks: all reasons at once
//	swaps     devices that left or changed stop, the new ones start; one that gets no line takes all of it back
//	puts      bounds of the rings, keys, mailboxes, certificates, then uplinks; none of that can fail
//
// Up to the end of the swap an error leaves the config before in force. What is the
// same is not touched: its device, its line, its connection. Status tells of a config
// that was refused until one is taken; the ring audit tells what a reload changed, and
// who asked. What starts in a safe start is safe; what a device that left had parked
// is released. An agent that began without outputs counts no crashes until its next
// start, also where a reload brings some.
//
// # The twin
//
// RunTwin runs the same devices, Pump, clock and store without a machine: no socket, no
// API, no uplink, nothing that waits for the world. In a synctest bubble its time is
// virtual. Its parts begin apart, so that no two of them act at the same instant, and all
// that is random, the ids too, comes from one seed: the same seed tells the same events.
//
// # What it tells
//
// Events of kind system: boot, epoch (a new one began), store (degraded, full,
// read-only, and ok again), safe_start (it began, it is over), wear (a day comes to more than store.wear; once a day)
// and ledger (hourly and at the stop). systemd gets
// READY, RELOADING, STOPPING, and WATCHDOG while the Pump gets on with its work.
package agent
