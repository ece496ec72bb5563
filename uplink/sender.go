package uplink

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// Sender knows one kind of peer. The forwarder owns all retry: a sender tries
// once and says what happened.
type Sender interface {
	// Connect makes one connection and returns once the peer can take events. It
	// blocks, until ctx is done at most. ErrDenied in the error's chain slows the
	// retries down.
	Connect(ctx context.Context) (Conn, error)
	// Address is where the peer is, for people, without any secret.
	Address() string
}

// Conn is one connection to a peer. Send is called by one goroutine at a time;
// the rest may be called by any.
type Conn interface {
	// Send takes a batch without waiting for its acknowledgement. It may block for
	// room, until ctx is done or the connection is lost, and keeps nothing of the
	// batch after it returned. Its error is about the connection alone.
	Send(ctx context.Context, b Batch) error
	// Acks gives what the peer acknowledged or will never take, in order of
	// sending. The caller must keep receiving. It is closed when the connection
	// is; nothing is acknowledged after that.
	Acks() <-chan Ack
	// Lost gives one error when the connection ended by itself.
	Lost() <-chan error
	// Close says goodbye, waits for the connection's goroutines and frees all it
	// holds. Once ctx is done it does so without any courtesy. It may be called
	// twice.
	Close(ctx context.Context) error
}

// Batch is a run of events of one ring, in the order they are to go.
type Batch struct {
	Ring   string
	Events []edge.Event // at least one
	Per    int          // events in one message, as a JSON array; 0 and 1: each on its own
}

// Ack is the peer's answer to a run of events that were sent.
type Ack struct {
	Ring   string
	Range  queue.Range // the seqs they cover, those of gaps included
	Events int         // how many events of batches this answers
	Err    error       // nil: the peer has them. Else Permanent, and of one event
}

// Prober tests a connection step by step, on a connection of its own that does
// not disturb the one that runs.
type Prober interface {
	// Probe returns the steps up to and including the one that failed. Its error
	// is that step's.
	Probe(ctx context.Context) ([]Step, error)
}

// Step is one step of a probe.
type Step struct {
	Name   string  `json:"name"`             // dns, tcp, tls, connack, canary out, canary back
	Millis float64 `json:"ms"`               // how long it took
	Detail string  `json:"detail,omitempty"` // what was found: an address, a cipher
	Error  string  `json:"error,omitempty"`
}

// What a Conn may be able to do beside.
type (
	// unsenter tells how many bytes wait to be taken by the peer's kernel. A
	// number that falls is progress.
	unsenter interface{ Unsent() (int, error) }
	// stater publishes a device's current event where readers find it at once; nil
	// takes back what is there of a device that is no more.
	stater interface {
		State(ctx context.Context, device string, ev *edge.Event) error
	}
	// teller publishes what this agent is.
	teller interface {
		About(ctx context.Context, about json.RawMessage) error
	}
)

// SenderEnv is what a sender gets beside its own config.
type SenderEnv struct {
	Uplink  string // the uplink's name
	Agent   string
	StoreID string // 32 hex
	Prefix  string // of topics; "" is the sender's own default

	Dial    dialer    // nil: the standard library's
	TLS     tlsSource // nil: the system's roots, no client certificate
	Command func(context.Context, edge.Command) (edge.Outcome, error)
	Log     *slog.Logger
}

// dialer opens TCP connections. edge/dial.Dialer is one.
type dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// tlsSource makes the TLS config for a server name. edge/dial.TLS is one.
type tlsSource interface {
	Config(server string) (*tls.Config, error)
}

// SenderType is a row of the table of senders.
type SenderType struct {
	Name    string
	Doc     string // one line
	Example string // YAML of an uplink's entry
	Config  func() any
	New     func(env SenderEnv, config any) (Sender, error)
}

// Senders is the table of senders.
func Senders() []SenderType {
	return []SenderType{mqttType(), fileType()}
}

// keyError is a mistake in the config of a sender, and the key that has it.
type keyError struct {
	key string
	error
}

// Key is where the config shows the mistake.
func (e keyError) Key() string { return e.key }

func (e keyError) Unwrap() error { return e.error }

func keyed(key string, err error) error { return keyError{key, err} }

// rangeOf is the seqs that an event stands for.
func rangeOf(ev *edge.Event) queue.Range {
	if ev.Hole != nil {
		return queue.Range{From: ev.Hole.From, To: ev.Hole.To}
	}
	return queue.Range{From: ev.Seq, To: ev.Seq}
}

// sizeOf is about how many bytes an event takes on the wire.
func sizeOf(ev *edge.Event) int {
	n := 360 + len(ev.Data) + 2*len(ev.Name) + len(ev.Agent) + len(ev.From) + len(ev.Cause)
	if ev.Origin != nil {
		n += 160 + len(ev.Origin.Agent) + len(ev.Origin.ID)
	}
	return n
}

// timed runs one step of a probe.
func timed(steps []Step, name string, run func() (detail string, err error)) ([]Step, error) {
	start := time.Now()
	detail, err := run()
	s := Step{Name: name, Millis: float64(time.Since(start).Microseconds()) / 1000, Detail: detail}
	if err != nil {
		s.Error = err.Error()
	}
	return append(steps, s), err
}
