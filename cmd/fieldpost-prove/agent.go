package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// agentKey is the key of the driver's clients; the configuration gives it.
const agentKey = "prove-5b1f0c9e7d2a4861b3f8"

// AgentOptions say what the agent under test has.
type AgentOptions struct {
	Binary  string // the built fieldpost
	Dir     string // for its config, socket and output
	DataDir string // "" means Dir/data
	Broker  string // host:port of its uplink; "" means no uplink
	Batch   int    // events in a message; 0 sends one message an event
	Store   string // the config's store, as YAML in one line; "" leaves the defaults
}

// Agent is the real binary, run from a config of its own, talked to over HTTP.
type Agent struct {
	*Proc
	Addr string // of its API

	opt  AgentOptions
	conf string
	http *http.Client
}

// newAgent writes the config. The API's port is kept over restarts.
func newAgent(opt AgentOptions) (*Agent, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if opt.DataDir == "" {
		opt.DataDir = filepath.Join(opt.Dir, "data")
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make agent's folder: %w", err)
	}
	a := &Agent{Addr: addr, opt: opt, conf: filepath.Join(opt.Dir, "fieldpost.yaml")}
	a.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 30 * time.Second}
	if err := os.WriteFile(a.conf, []byte(a.config()), 0o600); err != nil {
		return nil, fmt.Errorf("write agent's config: %w", err)
	}
	return a, nil
}

func (a *Agent) config() string {
	var c strings.Builder
	fmt.Fprintf(&c, "agent: {id: prove}\ndata_dir: %s\n", a.opt.DataDir)
	fmt.Fprintf(&c, "api:\n  listen: [%q]\n  socket: %s\n", a.Addr, a.socket())
	fmt.Fprintf(&c, "keys:\n  prove: {role: admin, secret: %s}\n", agentKey)
	if a.opt.Store != "" {
		fmt.Fprintf(&c, "store: %s\n", a.opt.Store)
	}
	if a.opt.Broker != "" {
		fmt.Fprintf(&c, "uplinks:\n  cloud:\n    mqtt: mqtt://%s\n", a.opt.Broker)
		if a.opt.Batch > 0 {
			fmt.Fprintf(&c, "    batch: {events: %d, wait: 200ms}\n", a.opt.Batch)
		}
	}
	return c.String()
}

func (a *Agent) socket() string { return filepath.Join(a.opt.Dir, "fieldpost.sock") }

// Start runs it; it may not be ready when this returns.
func (a *Agent) Start() error {
	p, err := startProc(filepath.Join(a.opt.Dir, "fieldpost.log"), a.opt.Binary, "run", "--config", a.conf)
	if err != nil {
		return err
	}
	a.Proc = p
	return nil
}

// StartReady runs it and waits until it says that it is ready.
func (a *Agent) StartReady(ctx context.Context) error {
	if err := a.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("start fieldpost: not ready in 30 s"))
	defer cancel()
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
		select {
		case <-a.Done():
			return false, fmt.Errorf("start fieldpost: it ended: %v", a.err)
		default:
		}
		return a.get(ctx, "/readyz", nil) == nil, nil
	})
	if err != nil {
		_ = a.Kill()
		return fmt.Errorf("%w\n%s", err, a.Tail())
	}
	return nil
}

// numbered is what the agent answers for each event that it stored.
type numbered struct {
	ID   string `json:"id"`
	N    uint64 `json:"n"`
	Ring string `json:"ring"`
	Seq  uint64 `json:"seq"`
}

// errAgain: the request may be sent again with the same key.
var errAgain = errors.New("try again")

// post sends events as NDJSON. The error wraps errAgain where the agent said to
// come back later, or the connection broke and nobody knows.
func (a *Agent) post(ctx context.Context, key string, body []byte) ([]numbered, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.Addr+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+agentKey)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.GetBody = nil // the client repeats by itself, and counts it; net/http must not
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAgain, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: read answer: %w", errAgain, err)
	}
	switch res.StatusCode {
	case http.StatusCreated:
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusConflict:
		return nil, fmt.Errorf("%w: %s", errAgain, res.Status)
	default:
		return nil, fmt.Errorf("post events: %s: %s", res.Status, bytes.TrimSpace(b))
	}
	var answer struct{ Events []numbered }
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("read answer to events: %w: %.200s", err, b)
	}
	return answer.Events, nil
}

// get reads a resource as JSON; into may be nil.
func (a *Agent) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Addr+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+agentKey)
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s: %.200s", path, res.Status, b)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	return nil
}

// Verify runs `fieldpost verify` over a file that a receiver kept, and gives what
// it printed. An error means that the ledger did not close.
func (a *Agent) Verify(ctx context.Context, file string) (string, error) {
	b, err := exec.CommandContext(ctx, a.opt.Binary, "verify", file).CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("verify %s: %w: %s", filepath.Base(file), err, bytes.TrimSpace(b))
	}
	return string(b), nil
}

// refused reports whether a request did not even reach the agent.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
