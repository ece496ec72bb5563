// Package gpio is the physical world: devices on lines of the 40-pin header and
// what else a board can read. It is the top of the picture of DESIGN.md: what
// happens out there goes down into edge.Pump, and commands come up to outputs.
//
//	periph's registry          gpioreg.ByName("GPIO17"), or a test's lookup
//	     |  unwrapped (RealPin), asked for a Line
//	     v
//	Line                       one request of one line: config, level, edges
//	     |  one goroutine a device
//	     v
//	Device.Run                 digital_in, button, rotary, hc_sr04, cpu, and so on
//	     |  Outlet: keeps the order, remembers the value for the status
//	     v
//	Pump.EmitWith              reacts first, then queues; never blocks on a disk
//
//	Source.Command ----------> Commander.Do       on the caller's goroutine
//
// # Concepts
//
// A Chip hands out lines: the simulated board here, the kernel's character
// device on a real one. Both register the same pins in periph's registry, in
// the slot ioctl-gpio, so stock periph devices run on them too.
//
// A Line is what the kernel calls a line request: direction, bias, debounce,
// edges, the polarity and, for an output, the level, all set in one step. It
// may be parked: its owner lets go, the request lives on and whoever asks for
// it by the same name goes on with its queue and its numbers.
//
// An Edge has the time and the two sequence numbers that the kernel gave it. A
// hole in line_seqno, or the same edge twice, is a loss and is told as one. A
// pin of some other periph driver has none of that: its edges are waited for in
// finite slices, and are marked as stamped by the agent.
//
// A bus, I2C or SPI, is shared by its devices and guarded: each transaction is bounded,
// so a part that hangs costs the others a wait and no more. The lines of an expander on
// such a bus are lines to other devices: more.A0.
//
// A Driver is one file and one row of Drivers: a config struct, a doc, an
// example and a way to make a Device. A Device keeps what it must not forget (the
// last level, the last line_seqno, a total) in a row that is flushed together
// with the event that tells it.
//
// An output is at the level that its config allows, at every instant: boot, stop, max_on
// and the end of a pulse move it, min_cycle, interlock and offline also keep it from a
// level, and a command is refused with their reason. What ends by itself later is stored
// with the command's own event, and comes first when a process begins. What boot asks for
// and may not be yet waits (d.pend). The outputs of an interlock know of each other through
// the Source; a line that nobody holds counts as on.
//
// An external device is played by a client of the LAN: its Do only queues the event
// that asks, and the command ends when the client has confirmed it (Source.Confirm) or
// its time is over. The Source keeps who waits; the device keeps the deadlines.
//
// The agent's own light (LED) and button (Hold) are no devices: they use the Source's lines
// and files, no device may have theirs, and whoever runs the agent runs them.
//
// A Plan is another set of devices (Source.Plan), checked without a touch of the
// hardware; Swap puts it in force. A device whose driver and options are the same runs
// on, whatever else is said of it. So does an output that keeps its line, its polarity
// and whether it is parked: the rest of its options it takes over as it is. Any other
// device that changed leaves its hardware as its stop says, and the one in its place
// begins as its boot says, as over a restart; one on the lines of an expander that
// changed is started again as after a failure of it, at what was commanded last.
//
// A Twin is the world around a Source where there is none: contacts that bounce, a
// DS18B20 with its faults, and traces. All its chance comes from one seed, in a Stream of
// its own for each thing. A trace is what Record wrote of one device: where it stood, each
// edge as the kernel gave it, behind its debounce, and each reading before it was judged.
// A line of the simulated board may be a recorded one (SimScript): it then has the edges,
// stamps and numbers of the trace, and debounces nothing again.
//
// The Source runs each device alone, with its own retries and status: a part
// that is missing is absent, a part that fails is failed, and its neighbours
// never notice.
package gpio
