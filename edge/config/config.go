package config

import "fieldpost/edge"

// Config is everything that a user can set, checked and with its defaults.
type Config struct {
	Agent   AgentConfig `mapstructure:"agent"`
	DataDir string      `mapstructure:"data_dir"` // where the store and the panel's changes are

	Devices   map[string]*Device  `mapstructure:"devices" named:"device"`
	Store     StoreConfig         `mapstructure:"store"`
	Uplinks   map[string]*Uplink  `mapstructure:"uplinks" named:"uplink"`
	API       APIConfig           `mapstructure:"api"`
	Keys      map[string]*Key     `mapstructure:"keys" named:"key"`
	Mailboxes map[string]*Mailbox `mapstructure:"mailboxes" named:"mailbox"`
	LED       *LEDConfig          `mapstructure:"led"`    // nil: none
	Button    *ButtonConfig       `mapstructure:"button"` // nil: none

	Files    []string          `mapstructure:"-"` // read, in order
	Warnings []string          `mapstructure:"-"` // for the log; none stops the start
	Hash     string            `mapstructure:"-"` // of Redacted: tells two configs apart
	Replaced map[string]string `mapstructure:"-"` // path of what panel.yaml replaces or deletes -> hash of what the files have there

	tree *node // as it was written
}

// AgentConfig names this agent.
type AgentConfig struct {
	ID string `mapstructure:"id"` // "": host name and the last 4 of the board's serial, which the agent works out
}

// Device is one entry of devices.
type Device struct {
	Name    string `mapstructure:"-"`
	Driver  string `mapstructure:"-"` // the driver key
	Options any    `mapstructure:"-"` // what the driver's Plugin.New gave, filled in

	Label string      `mapstructure:"label"`
	Room  string      `mapstructure:"room"`
	Tags  []string    `mapstructure:"tags"`
	At    *edge.Place `mapstructure:"at"`
	Ring  string      `mapstructure:"ring"` // "": what the event's kind says

	defaults any // what Plugin.New gives, for telling what was changed
}

// StoreConfig bounds what is kept.
type StoreConfig struct {
	Rings    map[string]RingConfig `mapstructure:"rings" named:"ring"`
	Headroom edge.Size             `mapstructure:"headroom"` // free space to leave; 0: what the store chooses; below 0: none
	Wear     edge.Rate             `mapstructure:"wear"`     // what the agent may write to the flash, before it warns; zero: no budget

	Default RingConfig `mapstructure:"-"` // for a ring that Rings does not name
}

// RingConfig bounds a ring: the oldest goes when the first of them is reached. 0
// is no bound.
type RingConfig struct {
	Keep     edge.Count    `mapstructure:"keep"`
	Size     edge.Size     `mapstructure:"size"`
	Age      edge.Duration `mapstructure:"age"`
	Sync     edge.Duration `mapstructure:"sync"` // the most a power cut may take of what no API call waits for
	WhenFull string        `mapstructure:"when_full"`
}

// Uplink is one entry of uplinks, uplink_defaults included.
type Uplink struct {
	Name    string `mapstructure:"-"`
	Sender  string `mapstructure:"-"` // the sender key
	Options any    `mapstructure:"-"` // what the sender's Plugin.New gave, filled in

	Rings  []string    `mapstructure:"rings"` // nil: all but quarantine, audit and logs
	Order  string      `mapstructure:"order"` // in-order or live-first
	From   string      `mapstructure:"from"`  // oldest or now
	Batch  BatchConfig `mapstructure:"batch"`
	Prefix string      `mapstructure:"prefix"`
	TLS    TLSConfig   `mapstructure:"tls"`

	defaults any // what Plugin.New gives, for telling what was changed
}

// BatchConfig says how events share a message.
type BatchConfig struct {
	Events int           `mapstructure:"events"` // 0 or 1: one event, one message
	Wait   edge.Duration `mapstructure:"wait"`   // how long a batch waits to fill
}

// TLSConfig is how an uplink checks its peer and shows itself.
type TLSConfig struct {
	CA         edge.Secret `mapstructure:"ca"` // PEM; none: the system's
	Cert       edge.Secret `mapstructure:"cert"`
	Key        edge.Secret `mapstructure:"key"`
	Insecure   bool        `mapstructure:"insecure"`    // take any certificate
	ServerName string      `mapstructure:"server_name"` // "": the host that is dialed
}

// APIConfig is how LAN clients get in.
type APIConfig struct {
	Listen         []string  `mapstructure:"listen"` // HOST:PORT, unix:PATH; empty: off
	Socket         string    `mapstructure:"socket"` // the command line's way in
	TLS            ServerTLS `mapstructure:"tls"`
	BasePath       string    `mapstructure:"base_path"` // "" or /path
	Hosts          []string  `mapstructure:"hosts"`
	Origins        []string  `mapstructure:"origins"`
	TrustedProxies []string  `mapstructure:"trusted_proxies"` // addresses or CIDR
}

// ServerTLS is the API's own certificate and what it asks of clients.
type ServerTLS struct {
	Cert        edge.Secret `mapstructure:"cert"`
	Key         edge.Secret `mapstructure:"key"`
	ClientCA    edge.Secret `mapstructure:"client_ca"`
	ClientCerts string      `mapstructure:"client_certs"` // optional or required; "" with ClientCA: required
}

// Key is an API key with a given secret.
type Key struct {
	Name   string      `mapstructure:"-"`
	Role   string      `mapstructure:"role"` // read, write, admin or forward
	Secret edge.Secret `mapstructure:"secret"`
	Names  []string    `mapstructure:"names"` // patterns; nil: all
}

// Mailbox is a durable reader for a LAN client.
type Mailbox struct {
	Name  string   `mapstructure:"-"`
	Names []string `mapstructure:"names"` // patterns; nil: all
	Rings []string `mapstructure:"rings"` // nil: all but the guarded ones
	Keep  *int     `mapstructure:"keep"`  // nil: no bound; 0: stores nothing
}

// layout is what a file may hold: Config, and what is used up on the way to it.
type layout struct {
	Config         `mapstructure:",squash"`
	UplinkDefaults Uplink `mapstructure:"uplink_defaults"`
}
