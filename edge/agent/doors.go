package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bindRetry is how often an address that can't be listened on is tried again.
const bindRetry = 5 * time.Second

// doors are the agent's listeners.
type doors struct {
	all  []net.Listener
	late []*lateListener
}

// openDoors listens on the socket and on every address of the config. The socket
// of another agent is an error; an address that can't be had now is tried again
// while the agent runs, since a board without it still has to store.
func (a *agent) openDoors(ctx context.Context) (*doors, error) {
	d := &doors{}
	api := a.opt.Config.API
	if api.Socket != "" {
		l, err := listenSocket(ctx, api.Socket)
		switch {
		case err == nil:
			d.all = append(d.all, l)
		case isTaken(err):
			return nil, err
		default:
			a.log.Error("the command line has no way in", "err", err)
			d.addLate("unix", api.Socket, func() (net.Listener, error) { return listenSocket(context.Background(), api.Socket) }, err, a.log)
		}
	}
	if a.opt.Listeners != nil {
		d.all = append(d.all, a.opt.Listeners...)
		return d, nil
	}
	for _, addr := range api.Listen {
		network, addr := doorOf(addr, a.simulated())
		bind := func() (net.Listener, error) { return listenOn(network, addr) }
		l, err := bind()
		if err != nil {
			a.log.Error("the API can't listen yet", "address", addr, "err", err)
			d.addLate(network, addr, bind, err, a.log)
			continue
		}
		a.log.Info("listening", "address", l.Addr().String(), "tls", api.TLS.Cert.Set())
		d.all = append(d.all, l)
	}
	return d, nil
}

// doorOf reads an address of the config. On a simulated board an address that
// names no host is on loopback.
func doorOf(addr string, simulated bool) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	if host, port, err := net.SplitHostPort(addr); simulated && err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		return "tcp", net.JoinHostPort("127.0.0.1", port)
	}
	return "tcp", addr
}

// listenOn listens on one address. An address that no interface has yet is fine:
// the network may come later.
func listenOn(network, addr string) (net.Listener, error) {
	if network == "unix" {
		return listenSocket(context.Background(), addr)
	}
	lc := net.ListenConfig{Control: freeBind}
	return lc.Listen(context.Background(), network, addr)
}

// freeBind lets a socket bind an address before an interface has it. A kernel
// that refuses leaves it to the retry.
func freeBind(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	})
}

func (d *doors) addLate(network, addr string, bind func() (net.Listener, error), err error, log *slog.Logger) {
	l := &lateListener{addr: doorAddr{network, addr}, bind: bind, log: log, err: err, closed: make(chan struct{})}
	d.late = append(d.late, l)
	d.all = append(d.all, l)
}

// problems says which addresses could not be had yet.
func (d *doors) problems() []string {
	var out []string
	for _, l := range d.late {
		if err := l.waitsFor(); err != nil {
			out = append(out, fmt.Sprintf("The API can't listen on %s: %v.", l.addr, err))
		}
	}
	return out
}

// close closes what Serve has not closed already.
func (d *doors) close() {
	for _, l := range d.all {
		_ = l.Close() // closed twice is fine
	}
}

// doorAddr is the address of a listener that is not bound yet.
type doorAddr struct{ network, text string }

func (a doorAddr) Network() string { return a.network }
func (a doorAddr) String() string  { return a.text }

// lateListener stands for an address until it can be bound: Accept waits for it.
type lateListener struct {
	addr   doorAddr
	bind   func() (net.Listener, error)
	log    *slog.Logger
	closed chan struct{}
	once   sync.Once

	mu  sync.Mutex
	l   net.Listener // nil until it is bound
	err error        // of the last try
}

var _ net.Listener = (*lateListener)(nil)

// Addr is the address that was asked for.
func (l *lateListener) Addr() net.Addr { return l.addr }

// Accept binds the address as soon as it can be had, then accepts on it.
func (l *lateListener) Accept() (net.Conn, error) {
	for {
		if bound := l.bound(); bound != nil {
			return bound.Accept()
		}
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		case <-time.After(bindRetry):
		}
		l.try()
	}
}

func (l *lateListener) bound() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.l
}

func (l *lateListener) waitsFor() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *lateListener) try() {
	bound, err := l.bind()
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		if err == nil {
			_ = bound.Close() // it came too late
		}
		return
	default:
	}
	if l.err = err; err == nil {
		l.l = bound
		l.log.Info("listening", "address", bound.Addr().String())
	}
}

// Close ends Accept.
func (l *lateListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	if bound := l.bound(); bound != nil {
		return bound.Close()
	}
	return nil
}
