package gpio

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"periph.io/x/conn/v3/i2c"
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

// Action is a command on its way into a device.
type Action struct {
	Verb  string
	Value json.RawMessage
	If    json.RawMessage // act only while the value equals this; nil: always
	// Tell makes the report of the command from what it did. The device queues it
	// before the change that it made, and names it as the change's cause.
	Tell func(Result) Report
}

// Result is what a device did.
type Result struct {
	Value json.RawMessage // the device's value after it
	State string
	Told  *Told // the report of the command
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
	I2C func(bus string) (i2c.BusCloser, error)
	SPI func(port string, f physic.Frequency, mode spi.Mode, bits int) (SPIConn, error)

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
