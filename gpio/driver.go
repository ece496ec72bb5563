package gpio

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Driver is one row of the table of drivers: everything that config, docs and
// the Source need to know of it.
type Driver struct {
	Name    string // the key in the config that names it
	Doc     string // one paragraph for people who write a config
	Example string // the YAML of one device that works on the simulated board
	Config  func() any
	New     func(Env, any) (Device, error) // the any is what Config gave, filled
}

// Device is one configured device.
type Device interface {
	// Run takes the hardware, calls out.Ready, and reports until ctx is done: then
	// it leaves the hardware safe and returns nil. It wraps edge.ErrAbsent where
	// the hardware is not there. After an error it is run again, later.
	Run(ctx context.Context, out *Outlet) error
}

// Commander is a device that takes commands.
type Commander interface {
	Device
	// Verbs are the commands that it takes.
	Verbs() []string
	// Remote reports whether commands may come from upstream.
	Remote() bool
	// Do acts on the caller's goroutine. The error wraps edge.ErrBadValue,
	// edge.ErrRefused or edge.ErrAbsent, or is the hardware's.
	Do(Action) (Result, error)
}

// holder is a device that holds lines.
type holder interface{ Pins() []edge.Pin }

// leaver is a device whose hardware goes on without the process.
type leaver interface {
	// leave leaves the hardware safe where Run has failed and is not run again.
	leave() error
}

// player is a Commander that passes its commands on to a client of the LAN, which
// does them and says so.
type player interface {
	Commander
	// confirm takes what the client did with a command; false: none of that id waits.
	confirm(id string, value json.RawMessage, why, from string) (bool, error)
	// report takes what the device is now.
	report(value json.RawMessage, from string) (*Told, error)
}

// Action is a command on its way into a device.
type Action struct {
	ID    string
	Verb  string
	Value json.RawMessage
	If    json.RawMessage // act only while the value equals this; nil: always
	// Within is how long the command is good for; 0: as long as it takes.
	Within time.Duration
	// Tell makes the report of the command from what it did. The device queues it
	// before the change that it made, and names it as the change's cause.
	Tell func(Result) Report
	// Later makes the report of what came of a command whose Result is Wanted; err is
	// why it was not done. What it gives is called with that report once it is queued.
	Later func(res Result, err error, from string) (Report, func(*Told))
}

// Result is what a device did.
type Result struct {
	Value json.RawMessage // the device's value after it
	State string
	Told  *Told // the report of the command

	// Wanted is set where nothing is done yet: the value that somebody outside is to
	// bring about Within a time. Value and State are none then.
	Wanted json.RawMessage
	Within time.Duration
}

// Clock tells the time. *edge.Clock is one.
type Clock interface {
	Stamp() queue.Stamp
	State() (edge.ClockState, time.Duration)
	Time(queue.Stamp) (time.Time, edge.ClockState, time.Duration)
	Age(queue.Stamp) time.Duration
}

// Env is what a driver gets to make a device with.
type Env struct {
	Name  string
	Line  func(pin edge.Pin, cfg LineConfig) (Line, error) // fills Consumer
	Clock Clock
	Root  string // "/"; a test's folder with proc and sys in it

	// I2C and SPI open a bus for this device; whoever opened it closes it. A transaction
	// is bounded in time: a part that hangs holds neither the device nor its neighbours.
	I2C func(bus string) (I2CBus, error)
	SPI func(port string, f physic.Frequency, mode spi.Mode, bits int) (SPIConn, error)

	// Files are the kernel's small files for this device, as those of sysfs. What is
	// read and written behind one bus takes turns, and is bounded in time.
	Files func(bus string) *KernelFiles

	// Serial opens a serial port for this device, Dial a connection to a host; whoever
	// opened it closes it. Where there is none the error is edge.ErrAbsent of Serial's,
	// and any of Dial's.
	Serial func(port string, mode SerialMode) (SerialPort, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)

	// What devices of one Source share.
	modbus *modbusLinks
	locks  *interlocks
	heard  *heard

	// Chance is what a simulated device is made of; nil: it makes its own.
	Chance *rand.Rand

	// Safe reports whether this is a safe start: a device that drives something keeps
	// it as its stop says, whatever its boot says. Source.Resume ends it.
	Safe func() bool

	Log *slog.Logger
}

// Spec is one device of the config.
type Spec struct {
	Name    string
	Label   string
	Room    string
	Tags    []string
	At      *edge.Place
	Ring    string // "": by the kind of each event
	Driver  string
	Options any // what the driver's Config gave, filled
}
