package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asFieldpost tells this test's binary to be the command.
const asFieldpost = "TEST_BINARY_IS_FIELDPOST"

func TestMain(m *testing.M) {
	if os.Getenv(asFieldpost) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// sandbox is a folder with a config, and the environment of a user who has
// nothing else.
type sandbox struct {
	t      *testing.T
	dir    string
	socket string
}

// newSandbox makes one whose agent has the given config beside data_dir, socket
// and no TCP listener.
func newSandbox(t *testing.T, config string) *sandbox {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fp-cmd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &sandbox{t: t, dir: dir, socket: filepath.Join(dir, "s.sock")}
	s.write("fieldpost.yaml", fmt.Sprintf("agent: {id: box}\ndata_dir: %s\napi: {listen: off, socket: %s}\n%s", s.path("data"), s.socket, config))
	return s
}

func (s *sandbox) path(name string) string { return filepath.Join(s.dir, name) }

func (s *sandbox) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// command is the command line with its arguments, not started.
func (s *sandbox) command(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{asFieldpost + "=1", "HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=/tmp", "TZ=UTC", "FIELDPOST_SOCKET=" + s.socket,
		"GORACE=atexit_sleep_ms=0"} // the race detector would wait a second in each verb
	return cmd
}

// result is what a verb did.
type result struct {
	code     int
	out, err string
}

// run runs a verb to its end.
func (s *sandbox) run(args ...string) result {
	s.t.Helper()
	return s.pipe("", args...)
}

// pipe does the same with a standard input.
func (s *sandbox) pipe(in string, args ...string) result {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// want fails the test unless the verb ended with the code, and its output has
// the words.
func (r result) want(t *testing.T, code int, words ...string) result {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.err)
	}
	for _, w := range words {
		if !strings.Contains(r.out+r.err, w) {
			t.Errorf("%q is not in\nstdout: %s\nstderr: %s", w, r.out, r.err)
		}
	}
	if code != 0 && r.err != "" && (!strings.HasPrefix(r.err, "fieldpost: ") || strings.Count(r.err, "\n") != strings.Count(r.err, "fieldpost: ")) {
		t.Errorf("an error is not one line that begins with fieldpost: %q", r.err)
	}
	return r
}

// process is a verb that runs.
type process struct {
	*exec.Cmd
	t    *testing.T
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// Write keeps what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start starts a verb, and kills it when the test ends.
func (s *sandbox) start(args ...string) *process {
	s.t.Helper()
	p := &process{Cmd: s.command(args...), t: s.t, done: make(chan struct{})}
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // ProcessState has it
		close(p.done)
	}()
	s.t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
	})
	return p
}

// agent starts the agent on a simulated board and waits until it answers.
func (s *sandbox) agent(args ...string) *process {
	s.t.Helper()
	return s.answers(s.start(append([]string{"run", "--simulate"}, args...)...))
}

// board starts it on this machine as it is.
func (s *sandbox) board() *process {
	s.t.Helper()
	return s.answers(s.start("run"))
}

// answers waits until an agent answers.
func (s *sandbox) answers(p *process) *process {
	s.t.Helper()
	s.until("the agent answers", func() bool {
		select {
		case <-p.done:
			s.t.Fatalf("the agent ended: %s", p.text())
		default:
		}
		return s.call(http.MethodGet, "/healthz", nil, nil) == nil
	})
	return p
}

// exits waits for the end and checks the exit code.
func (p *process) exits(code int, within time.Duration) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("it did not end within %v: %s", within, p.text())
	}
	if got := p.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d: %s", got, code, p.text())
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// call asks the agent over its socket.
func (s *sandbox) call(method, path string, body, v any) error {
	c := newClient(s.socket)
	defer c.close()
	return c.call(context.Background(), method, path, nil, body, v)
}

// until polls until something is so.
func (s *sandbox) until(what string, so func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		if so() {
			return
		}
	}
	s.t.Fatalf("waited 30 s until %s", what)
}

// publish stores one message and gives its id.
func (s *sandbox) publish(name string, data any) (string, error) {
	var made struct {
		Events []struct {
			ID string `json:"id"`
		} `json:"events"`
	}
	err := s.call(http.MethodPost, "/v1/events", map[string]any{"name": name, "data": data}, &made)
	if err != nil || len(made.Events) != 1 {
		return "", fmt.Errorf("publish: %v, %d events: %w", name, len(made.Events), err)
	}
	return made.Events[0].ID, nil
}

// mustPublish is publish that has to work.
func (s *sandbox) mustPublish(name string, data any) string {
	s.t.Helper()
	id, err := s.publish(name, data)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// decode reads a verb's JSON.
func decode[T any](t *testing.T, r result) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	return v
}
