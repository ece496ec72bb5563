package localapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Deps are the parts that the API serves. Log, Pump, Store and Clock are needed.
type Deps struct {
	Log      eventLog               // *edge.Log
	Pump     pump                   // *edge.Pump
	Store    store                  // *queue.Store
	Clock    clock                  // *edge.Clock
	Devices  devices                // nil: there are none
	Uplinks  uplinks                // nil: there are none
	Cut      Cut                    // nil outside the demo
	Problems func() []string        // what is wrong beside the store, devices and uplinks, in sentences; may be nil
	Wear     func() edge.WearStatus // what was written to the flash; nil: nobody counts it
	Light    func() string          // what the agent's light shows; nil or "": there is none
	Backup   func() (Backup, error) // takes hold of the store as it is now; nil: there are no backups
	Reload   Reload                 // takes the config anew; nil: it can't
	Record   Record                 // records a device's hardware; nil: nobody does
	Metrics  func(io.Writer)        // more lines for /metrics, in the Prometheus text format; may be nil
}

// Backup writes what was taken hold of, and lets go of it. It is called once.
type Backup func(w io.Writer) error

// Reload loads the config again and puts it in force, on behalf of from. It blocks for
// seconds and can't be given up. The error is an *edge.ReloadError where the config
// before runs on, and edge.ErrReloading while another reload is under way.
type Reload func(ctx context.Context, from string) (edge.Reloaded, error)

// Cut cuts an uplink's line, or joins it again. The demo alone has it.
type Cut func(ctx context.Context, uplink string, cut bool) error

// eventLog reads events.
type eventLog interface {
	Read(q edge.Query) (edge.EventPage, error)
	One(ring string, seq uint64) (edge.Event, error)
	Watch() *queue.Watch
}

// pump stores events and rows; its methods return after the flush, but for Emit.
type pump interface {
	Post(ctx context.Context, evs []edge.Event, key edge.Idempotency) ([]edge.Event, error)
	Emit(ev edge.Event, cause *edge.Ticket) *edge.Ticket
	Commit(ctx context.Context, rows ...queue.Row) error
	CommitWith(ctx context.Context, evs []edge.Event, rows []queue.Row) ([]edge.Event, error)
	Stats() edge.PumpStats
}

// store tells of rings and keeps rows.
type store interface {
	Epoch() uint32
	EpochOf(ring string, seq uint64) uint32
	NextN() uint64
	Locate(epoch uint32, n uint64) (at uint64, reset bool, err error)
	Rings() []queue.RingInfo
	Ring(name string) (queue.RingInfo, bool)
	DeleteRing(name string) error
	Each(table, from string, fn func(key string, value []byte) bool) error
	Mailboxes() []queue.Mailbox
	Mailbox(name string) (queue.Mailbox, bool)
	Health() queue.Health
}

// clock says how far the board's time can be trusted.
type clock interface {
	State() (edge.ClockState, time.Duration)
}

// devices is the physical world.
type devices interface {
	Devices() []edge.DeviceStatus
	Device(name string) (edge.DeviceStatus, bool)
	Command(ctx context.Context, c edge.Command) (edge.Outcome, error)
	// Asked is the device that a command was for, while its id is remembered.
	Asked(id string) (device string, ok bool)
	// Confirm takes what the client that plays a device did with a command.
	Confirm(ctx context.Context, c edge.Confirmation) (edge.Outcome, error)
	// Report takes what a device is now from the client that plays it.
	Report(ctx context.Context, device string, value json.RawMessage, from string) (edge.Event, error)
	Pins() []edge.PinStatus
	Drive(pin edge.Pin, level bool) error
}

// uplinks are the ways out.
type uplinks interface {
	Uplinks() []edge.UplinkStatus
	// Fates tells how far a record has come at each of them.
	Fates(ring string, seq uint64) []edge.UplinkFate
	// Test sends a canary through an uplink. An error means that it could not be
	// tried; what went wrong on the way is in the steps.
	Test(ctx context.Context, name string) ([]Step, error)
}

// Step is one step of an uplink's test.
type Step struct {
	Name   string  `json:"step"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail,omitempty"`
	TookMS float64 `json:"took_ms"`
}

// Options say how the API is served. The zero value serves on any listener, to
// keys that were made over the socket.
type Options struct {
	Agent    string // the agent's id
	Version  string
	Revision string
	Hostname string // accepted as a Host, with and without .local; "" is the machine's

	// Socket is the path of the listener whose peers are known by their uid. Any
	// other Unix listener is for a proxy, whose peers need a key.
	Socket string

	BasePath       string   // a prefix such as /pi that a proxy leaves in front of each path
	Hosts          []string // more names accepted as a Host
	Origins        []string // origins of pages that may use the API: "http://web.lan:8000"
	TrustedProxies []string // addresses or prefixes whose X-Forwarded-For is believed

	TLS *tls.Config // for TCP listeners; nil: plain

	// Reserved reports whether a ring holds what was summed up of another, so that
	// clients publish nothing into it but what another agent forwards; nil: none does.
	Reserved func(ring string) bool

	// ClaimFile is where an agent without an admin key keeps its claim code, in a
	// folder that is the agent's alone; "": it needs no claim, as on a simulated board.
	ClaimFile string

	Keys      []Key     // keys with a given secret
	Mailboxes []Mailbox // mailboxes that the config made
	Demo      bool
	Log       *slog.Logger // nil: discard

	limits limits           // zero: the defaults
	now    func() time.Time // nil: time.Now; of the claim's pause
}

// Key is an API key of the config.
type Key struct {
	Name   string
	Role   string // read, write, admin, forward
	Secret edge.Secret
	Names  []string // patterns that bound it; nil: all names
}

// Mailbox is a mailbox of the config.
type Mailbox struct {
	Name  string
	Names []string // patterns; nil: all
	Rings []string // nil: all but the guarded ones
	Keep  *int     // how many unacknowledged events it still shows; nil: all
}
