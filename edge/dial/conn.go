package dial

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a connection that knows how much went through it.
type Conn interface {
	net.Conn

	// Counts gives the bytes read and written so far. It never blocks.
	Counts() (read, written int64)

	// Unsent gives the bytes that were written and that the peer's kernel has not
	// acknowledged yet. While it falls the peer is alive. It never blocks.
	Unsent() (int, error)
}

// Of gives the Conn in c, also where c is TLS over it.
func Of(c net.Conn) (Conn, bool) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	conn, ok := c.(Conn)
	return conn, ok
}

// counted is a Conn over a TCP or Unix socket.
type counted struct {
	net.Conn
	read, written atomic.Int64
}

var _ Conn = (*counted)(nil)

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

func (c *counted) Counts() (read, written int64) {
	return c.read.Load(), c.written.Load()
}

func (c *counted) Unsent() (int, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var ioctl error
	if err := raw.Control(func(fd uintptr) {
		n, ioctl = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	}); err != nil {
		return 0, err
	}
	return n, ioctl
}
