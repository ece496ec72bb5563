package edge

import (
	"encoding/json"
	"errors"
	"time"
)

// Command asks a device to do something. It reaches the output directly, on the
// caller's goroutine; what it did comes back as an event of kind command.
type Command struct {
	ID      string          // a repeated id acts once; "" is given one
	Device  string          // the device's name
	Verb    string          // on, off, toggle, pulse, set
	Value   json.RawMessage // what set sets, or how long pulse lasts ("90s"); nil otherwise
	If      json.RawMessage // act only while the device's value equals this; nil: always
	Expires time.Time       // refused after it, and refused while the clock is unsynced; zero: never
	From    string          // who: client:, rule:, uplink: and a name
	Cause   string          // the id of the event that led to it
	Remote  bool            // it came from upstream: the device must allow it
}

// Outcome is what a command did.
type Outcome struct {
	ID     string          `json:"id"`
	Device string          `json:"device"`
	Verb   string          `json:"verb"`
	Done   bool            `json:"done"`
	Repeat bool            `json:"repeat,omitempty"` // this id had acted before; Value is what it did then
	Value  json.RawMessage `json:"value,omitempty"`  // the device's value after it
	State  string          `json:"state,omitempty"`
	Why    string          `json:"why,omitempty"`   // the reason of a refusal
	Event  string          `json:"event,omitempty"` // the id of the event that tells it
}

// Confirmation is what the client that plays an external device did with a command.
type Confirmation struct {
	ID    string          // the command's
	Value json.RawMessage // the device's value now; nil: the one that was wanted
	Why   string          // it was not done, and why; "": it was
	From  string          // who: client: and a name
}

// What a command can be refused for; the wrapping error says the reason.
var (
	ErrNoDevice  = errors.New("no such device")
	ErrNoCommand = errors.New("no such command")
	ErrRefused   = errors.New("refused")     // the device's own rules forbid it now
	ErrBadValue  = errors.New("bad command") // an unknown verb or a value it can't take
	ErrAbsent    = errors.New("absent")      // the hardware is not there
)

// DeviceStatus is one device as the API and the uplinks show it.
type DeviceStatus struct {
	Name     string          `json:"name"`
	Driver   string          `json:"driver"`
	Label    string          `json:"label,omitempty"`
	Room     string          `json:"room,omitempty"`
	Tags     []string        `json:"tags,omitempty"`
	Ring     string          `json:"ring,omitempty"`
	At       *Place          `json:"at,omitempty"`
	Status   string          `json:"status"` // ok, starting, absent, failed
	Error    string          `json:"error,omitempty"`
	Restarts uint64          `json:"restarts,omitempty"`
	Lost     uint64          `json:"lost,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	State    string          `json:"state,omitempty"`
	Unit     string          `json:"unit,omitempty"`
	Event    string          `json:"event,omitempty"` // the id of the event that gave the value
	Since    *time.Time      `json:"since,omitempty"` // when the value was last reported
	Pins     []string        `json:"pins,omitempty"`  // the lines it holds
	Commands []string        `json:"commands,omitempty"`
	Remote   bool            `json:"remote,omitempty"`
}

// Place is where a device stands.
type Place struct {
	Lat float64 `json:"lat" mapstructure:"lat"`
	Lon float64 `json:"lon" mapstructure:"lon"`
}

// PinStatus is one position of the 40-pin header.
type PinStatus struct {
	Number   int    `json:"number"` // 1 to 40
	Name     string `json:"name"`   // GPIO17, 3V3, GND
	Function string `json:"function"`
	Level    *bool  `json:"level,omitempty"`
	Owner    string `json:"owner,omitempty"`
	Device   string `json:"device,omitempty"`
}

// UplinkStatus is one uplink as the API shows it.
type UplinkStatus struct {
	Name         string            `json:"name"`
	Sender       string            `json:"sender"`
	Address      string            `json:"address"` // never with a secret
	State        string            `json:"state"`   // connecting, up, down, stopped
	Since        *time.Time        `json:"since,omitempty"`
	Error        string            `json:"error,omitempty"`
	NextTry      *time.Time        `json:"next_try,omitempty"`
	Backlog      uint64            `json:"backlog"`
	InFlight     int               `json:"in_flight"`
	Acknowledged uint64            `json:"acknowledged"`
	Refused      uint64            `json:"refused"`
	Connects     uint64            `json:"connects"`
	Rate         float64           `json:"rate"`                // acknowledged a second, over the last 30 s
	Empty        *float64          `json:"empty_in,omitempty"`  // seconds until the backlog is gone, where it shrinks
	Positions    map[string]uint64 `json:"positions,omitempty"` // by ring: all up to here is acknowledged
}

// Fate is how far an event has come on its way through an uplink.
type Fate string

// The fates. The texts are part of the API.
const (
	Acknowledged Fate = "acknowledged"  // the peer has it
	Sent         Fate = "sent"          // on its way, not answered yet
	Waiting      Fate = "waiting"       // in the backlog
	PeerRefused  Fate = "refused"       // the peer will never take it
	NotForwarded Fate = "not forwarded" // the uplink does not take its ring
)

// UplinkFate is the fate of one event at one uplink.
type UplinkFate struct {
	Uplink string `json:"uplink"`
	Fate   Fate   `json:"fate"`
}
