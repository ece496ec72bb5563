package agent

import (
	"io"
	"log/slog"
	"net"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/localapi"
)

// Options say what to run. Config is needed.
type Options struct {
	Config   *config.Config
	Version  string
	Revision string
	Notices  []string     // problems that this run has from its start on, in sentences, for status
	Log      *slog.Logger // nil: discard

	// Load loads the config again, from where Config came from; nil: a reload is
	// refused. It blocks on the file system.
	Load func() (*config.Config, error)
	// Reload asks for a reload, as a signal does; nil: nothing does. What comes while
	// one is under way is for the next one.
	Reload <-chan struct{}

	// Simulate runs on a simulated board, and answers on loopback alone where the
	// config names no address.
	Simulate bool
	// Pins is the simulated board to run on; nil makes one where Simulate is set.
	Pins *gpio.SimBoard

	// Seed is what chance on the simulated board is made of, and Bounce how long the
	// contacts of its lines jump after each change; 0: not at all.
	Seed   uint64
	Bounce time.Duration

	// Board is the machine; nil is this one.
	Board *edge.Board

	// Listeners are used instead of the config's api.listen, where not nil.
	Listeners []net.Listener

	Demo bool
	Cut  localapi.Cut // cuts an uplink's line; the demo alone has it

	// Ready, where it is set, is called once the agent accepts and its devices run.
	Ready func()

	ids  io.Reader     // what the store's ids are made of; nil: what nobody can foretell
	calm time.Duration // how long a run lasts until earlier crashes don't count; 0: calmSpan or crashSpan
}

// ConfigError is a mistake that only the user can mend: the agent does not start
// again until it is mended.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap gives the mistake.
func (e *ConfigError) Unwrap() error { return e.Err }
