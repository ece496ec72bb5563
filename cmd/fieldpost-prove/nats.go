package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsStream is the one stream of a server, and natsSubject what it takes.
const (
	natsStream  = "EVENTS"
	natsSubject = "fieldpost.bench.samples"
)

// natsOptions say what a server is.
type natsOptions struct {
	dir    string
	domain string
	always bool   // flush before each acknowledgement; else every 2 minutes, the default
	leafs  bool   // others may dial it as leafs
	leafOf string // the address of the server that it is a leaf of, or ""
}

// NATS is a real nats-server with JetStream's file store. It can be stopped,
// killed and started again on the same ports and files.
type NATS struct {
	Addr string
	Leaf string // where leafs dial

	*Proc
	binary string
	opt    natsOptions
	conf   string
}

// newNATS writes the configuration of a server.
func newNATS(binary string, opt natsOptions) (*NATS, error) {
	n := &NATS{binary: binary, opt: opt, conf: filepath.Join(opt.dir, "nats.conf")}
	var err error
	for _, at := range []*string{&n.Addr, &n.Leaf} {
		if *at, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(opt.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make NATS's folder: %w", err)
	}
	if err := os.WriteFile(n.conf, []byte(n.config()), 0o600); err != nil {
		return nil, fmt.Errorf("write NATS's config: %w", err)
	}
	return n, nil
}

func (n *NATS) config() string {
	var c strings.Builder
	fmt.Fprintf(&c, "listen: %s\nserver_name: %s\n", n.Addr, n.opt.domain)
	fmt.Fprintf(&c, "jetstream {\n  store_dir: %q\n  domain: %s\n  max_file_store: 8GB\n", filepath.Join(n.opt.dir, "store"), n.opt.domain)
	if n.opt.always {
		c.WriteString("  sync_interval: always\n")
	}
	c.WriteString("}\n")
	if n.opt.leafs { // a leaf must dial the line of the test only
		fmt.Fprintf(&c, "leafnodes {listen: %q, no_advertise: true}\n", n.Leaf)
	}
	if n.opt.leafOf != "" {
		fmt.Fprintf(&c, "leafnodes {reconnect: 1, remotes: [{url: \"nats-leaf://%s\"}]}\n", n.opt.leafOf)
	}
	return c.String()
}

// Start runs it; it may not be ready when this returns.
func (n *NATS) Start() error {
	p, err := startProc(filepath.Join(n.opt.dir, "nats.log"), n.binary, "-c", n.conf)
	if err != nil {
		return err
	}
	n.Proc = p
	return nil
}

// startNATS makes and starts a server with its stream.
func startNATS(ctx context.Context, binary string, opt natsOptions) (*NATS, error) {
	if opt.domain == "" {
		opt.domain = "edge"
	}
	n, err := newNATS(binary, opt)
	if err != nil {
		return nil, err
	}
	return n, n.StartReady(ctx)
}

// StartReady runs it and waits until the stream takes events; it makes the stream
// where there is none.
func (n *NATS) StartReady(ctx context.Context) error {
	if err := n.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("start nats-server: not ready in 30 s"))
	defer cancel()
	err := waitDial(ctx, n.Proc, n.Addr)
	if err == nil {
		err = poll(ctx, 5*time.Millisecond, func() (bool, error) { return n.makeStream(ctx) == nil, nil })
	}
	if err != nil {
		_ = n.Kill()
		return fmt.Errorf("%w\n%s", err, n.Tail())
	}
	return nil
}

func (n *NATS) makeStream(ctx context.Context) error {
	c, err := n.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if n.opt.leafs {
		return nil // its stream has a source, which is made when that is there
	}
	_, err = c.js.CreateStream(ctx, jetstream.StreamConfig{Name: natsStream, Subjects: []string{natsSubject + ".>"}, Storage: jetstream.FileStorage})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		err = nil
	}
	return err
}

// sourceFrom makes this server's stream take over all that another's, in a domain
// below it, has.
func (n *NATS) sourceFrom(ctx context.Context, domain string) error {
	c, err := n.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.js.CreateStream(ctx, jetstream.StreamConfig{Name: natsStream, Storage: jetstream.FileStorage,
		Sources: []*jetstream.StreamSource{{Name: natsStream, Domain: domain}}})
	if err != nil {
		return fmt.Errorf("make the stream that takes over: %w", err)
	}
	return nil
}

// natsConn is a client.
type natsConn struct {
	*natsgo.Conn
	js jetstream.JetStream
}

// natsWindow is how many publishes of a client may be unanswered.
const natsWindow = 1000

func (n *NATS) dial() (*natsConn, error) {
	c, err := natsgo.Connect("nats://"+n.Addr, natsgo.NoReconnect(), natsgo.Timeout(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("dial nats: %w", err)
	}
	js, err := jetstream.New(c, jetstream.WithPublishAsyncMaxPending(natsWindow))
	if err != nil {
		c.Close()
		return nil, err
	}
	return &natsConn{c, js}, nil
}

// count is how many messages the server's stream has.
func (n *NATS) count(ctx context.Context) (int, error) {
	c, err := n.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.count(ctx)
}

func (c *natsConn) count(ctx context.Context) (int, error) {
	s, err := c.js.Stream(ctx, natsStream)
	if err != nil {
		return 0, fmt.Errorf("ask for the stream: %w", err)
	}
	return int(s.CachedInfo().State.Msgs), nil
}

// subjects are the subjects of a corpus's events.
func natsSubjects(c *Corpus) []string {
	out := make([]string, len(c.names))
	for i, name := range c.names {
		out[i] = natsSubject + "." + strings.ReplaceAll(name, ".", "_")
	}
	return out
}
