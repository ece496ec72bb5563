package dial

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The defaults of a Dialer.
const (
	defaultTimeout     = 10 * time.Second
	defaultUserTimeout = 30 * time.Second
)

// keepAlive finds a peer that went away while nothing is sent: 15 s and then 4
// probes, 5 s apart.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}

// Dialer connects. The zero Dialer is ready to use and goes straight to the peer.
type Dialer struct {
	Timeout     time.Duration // to be connected, names and proxy included; 0 is 10 s
	UserTimeout time.Duration // sent and not acknowledged by the peer's kernel for this long ends the connection; 0 is 30 s

	// Proxy gives the proxy to reach addr (host:port) through, or nil for none.
	// nil: never one. EnvProxy reads the environment.
	Proxy func(addr string) (*url.URL, error)
}

// DialContext connects to addr and gives a Conn. It blocks until connected, until
// Timeout or until ctx is done. network is tcp, tcp4, tcp6 or unix.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if d.Proxy == nil || network == "unix" {
		return d.straight(ctx, network, addr)
	}
	proxy, err := d.Proxy(addr)
	if err != nil {
		return nil, fmt.Errorf("find proxy: %w", err)
	}
	if proxy == nil {
		return d.straight(ctx, network, addr)
	}
	conn, err := d.straight(ctx, network, proxyAddr(proxy))
	if err != nil {
		return nil, fmt.Errorf("reach proxy: %w", err)
	}
	if err := through(ctx, conn, proxy, addr); err != nil {
		conn.Close()
		return nil, fmt.Errorf("reach %s through proxy %s: %w", addr, proxy.Host, err)
	}
	return conn, nil
}

// straight connects without a proxy.
func (d *Dialer) straight(ctx context.Context, network, addr string) (net.Conn, error) {
	nd := net.Dialer{KeepAliveConfig: keepAlive, ControlContext: d.control}
	c, err := nd.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: c}, nil
}

// control sets TCP_USER_TIMEOUT before the socket connects.
func (d *Dialer) control(_ context.Context, network, _ string, raw syscall.RawConn) error {
	if len(network) < 3 || network[:3] != "tcp" {
		return nil
	}
	timeout := d.UserTimeout
	if timeout <= 0 {
		timeout = defaultUserTimeout
	}
	var err error
	if ctl := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds()))
	}); ctl != nil {
		return ctl
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
