package uplinktest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ErrNoMosquitto: the broker is not installed on this machine.
var ErrNoMosquitto = errors.New("mosquitto is not installed: run `make setup`, or `apt-get install mosquitto mosquitto-clients`")

// MosquittoOptions say how a broker runs. The zero value is one without
// persistence that anybody may use.
type MosquittoOptions struct {
	Dir         string   // for its files; StartMosquitto makes one
	Persistence bool     // keep messages and sessions over a SIGTERM
	MaxQueued   int      // max_queued_messages as it is: 0 means without bound; -1 leaves the default
	Extra       []string // further lines of its config
}

// Mosquitto is a running broker of its own, on a free port of loopback. It keeps
// the port over restarts. It dies with the process that started it.
type Mosquitto struct {
	bin, conf string
	port      int

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	log  *logBuffer
}

// StartMosquitto starts a broker for a test and stops it with the test, which
// fails where mosquitto is not installed.
func StartMosquitto(t testing.TB, opts MosquittoOptions) *Mosquitto {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	m, err := RunMosquitto(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Stop(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("mosquitto said:\n%s", m.Log())
		}
	})
	return m
}

// RunMosquitto starts a broker and returns once it takes connections. The caller
// stops it.
func RunMosquitto(opts MosquittoOptions) (*Mosquitto, error) {
	bin, err := findMosquitto()
	if err != nil {
		return nil, err
	}
	if opts.Dir == "" {
		return nil, errors.New("run mosquitto: no folder given")
	}
	m := &Mosquitto{bin: bin, conf: filepath.Join(opts.Dir, "mosquitto.conf"), log: &logBuffer{}}
	// Another process may take the free port before mosquitto does: try again.
	for try := 0; ; try++ {
		if m.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = os.WriteFile(m.conf, opts.text(m.port), 0o600); err != nil {
			return nil, fmt.Errorf("write mosquitto's config: %w", err)
		}
		if err = m.Start(); err == nil || try == 4 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func findMosquitto() (string, error) {
	if bin, err := exec.LookPath("mosquitto"); err == nil {
		return bin, nil
	}
	// Debian puts it where a plain user's PATH does not look.
	if _, err := os.Stat("/usr/sbin/mosquitto"); err == nil {
		return "/usr/sbin/mosquitto", nil
	}
	return "", ErrNoMosquitto
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func (o MosquittoOptions) text(port int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "listener %d 127.0.0.1\n", port)
	if !strings.Contains(strings.Join(o.Extra, "\n"), "allow_anonymous") {
		fmt.Fprintln(&b, "allow_anonymous true")
	}
	if os.Geteuid() == 0 {
		fmt.Fprintln(&b, "user root") // else it gives up root and can't write to Dir
	}
	if o.Persistence {
		fmt.Fprintf(&b, "persistence true\npersistence_location %s/\n", o.Dir)
	}
	if o.MaxQueued >= 0 {
		fmt.Fprintf(&b, "max_queued_messages %d\n", o.MaxQueued)
	}
	for _, line := range o.Extra {
		fmt.Fprintln(&b, line)
	}
	return b.Bytes()
}

// Addr is where the broker listens, host:port.
func (m *Mosquitto) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

// URL is Addr as mqtt://host:port.
func (m *Mosquitto) URL() string { return "mqtt://" + m.Addr() }

// Log is what the broker printed, the last 64 kB of it.
func (m *Mosquitto) Log() string { return m.log.String() }

// Start starts the broker after a Stop, on the same port, and returns once it
// takes connections.
func (m *Mosquitto) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd != nil {
		return errors.New("start mosquitto: it is running")
	}
	cmd := exec.Command(m.bin, "-c", m.conf)
	cmd.Stdout, cmd.Stderr = m.log, m.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start mosquitto: %w", err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	if err := m.await(done); err != nil {
		_ = cmd.Process.Kill()
		<-done
		return err
	}
	m.cmd, m.done = cmd, done
	return nil
}

// await polls until the broker takes connections.
func (m *Mosquitto) await(done <-chan struct{}) error {
	deadline := time.After(10 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", m.Addr(), time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-done:
			return fmt.Errorf("start mosquitto: it ended at once:\n%s", m.Log())
		case <-deadline:
			return fmt.Errorf("start mosquitto: no connection on %s in 10 s:\n%s", m.Addr(), m.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop sends sig and waits until the broker is gone; one that ignores it for 10 s
// is killed. SIGTERM saves what persistence keeps, SIGKILL loses it. It is fine
// to stop a stopped broker.
func (m *Mosquitto) Stop(sig os.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return nil
	}
	cmd, done := m.cmd, m.done
	m.cmd, m.done = nil, nil
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop mosquitto: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("stop mosquitto: %v did not end it in 10 s", sig)
	}
}

// Restart is Stop and Start.
func (m *Mosquitto) Restart(sig os.Signal) error {
	if err := m.Stop(sig); err != nil {
		return err
	}
	return m.Start()
}

// logBuffer keeps the last 64 kB that were written to it.
type logBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if over := len(l.b) - 64<<10; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	return len(p), nil
}

func (l *logBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return string(l.b) }
