package localapi

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which syscall has no name
// for.
const tcpUserTimeout = 0x12

// unanswered is how long a peer may leave what was sent unacknowledged before
// the kernel gives the connection up.
const unanswered = 60 * time.Second

// connLimiter bounds how many connections a server has: in all, and from one
// address. Unix sockets have a bound of their own, so that the network can't
// shut the command line out.
type connLimiter struct {
	lim limits

	mu     sync.Mutex
	tcp    int
	unix   int
	byAddr map[netip.Addr]int
}

func newConnLimiter(lim limits) *connLimiter {
	return &connLimiter{lim: lim, byAddr: map[netip.Addr]int{}}
}

// enter takes a place for an address, or reports that there is none. The zero
// address is a Unix socket's.
func (l *connLimiter) enter(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.IsValid() {
		if l.unix >= l.lim.socketConns {
			return false
		}
		l.unix++
		return true
	}
	if l.tcp >= l.lim.conns || l.byAddr[a] >= l.lim.perAddress {
		return false
	}
	l.tcp++
	l.byAddr[a]++
	return true
}

func (l *connLimiter) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.IsValid() {
		l.unix--
		return
	}
	l.tcp--
	if l.byAddr[a]--; l.byAddr[a] <= 0 {
		delete(l.byAddr, a)
	}
}

func (l *connLimiter) open() (tcp, unix int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tcp, l.unix
}

// boundedListener gives connections out within the limiter's bounds and closes
// the others at once.
type boundedListener struct {
	net.Listener
	limiter *connLimiter
	admin   bool // peers on it are known by their uid
}

// Accept blocks until there is a connection that may stay.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := addrOf(c.RemoteAddr())
		if !l.limiter.enter(addr) {
			refuse(c)
			continue
		}
		if t, ok := c.(*net.TCPConn); ok {
			setUserTimeout(t)
		}
		return &boundedConn{Conn: c, addr: addr, listener: l}, nil
	}
}

// refuse says why and closes. It must not block: what does not fit into an empty
// socket buffer is not said.
func refuse(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	_ = c.Close()
}

// setUserTimeout makes the kernel drop a peer that went away while something was
// under way to it; keep-alives don't run then. Without it, the write deadlines
// do the same, later.
func setUserTimeout(c *net.TCPConn) {
	rc, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unanswered/time.Millisecond))
	})
}

// boundedConn leaves its place when it is closed.
type boundedConn struct {
	net.Conn
	addr     netip.Addr
	listener *boundedListener
	once     sync.Once
}

func (c *boundedConn) Close() error {
	c.once.Do(func() { c.listener.limiter.leave(c.addr) })
	return c.Conn.Close()
}

// CloseWrite ends the answer without ending the connection: net/http does so for
// requests that it refuses early, so that their client can read why.
func (c *boundedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// addrOf is the address of a TCP peer, or the zero one.
func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// connKey is the context key of a connection's peer.
type connKey struct{}

// peer is the other end of a connection.
type peer struct {
	addr  netip.Addr // invalid on a Unix socket
	unix  bool
	admin bool // it came in by the command line's socket and may do everything
	tls   bool
}

// withPeer puts what is known of a connection's peer into its context.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	var p peer
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c, p.tls = t.NetConn(), true
	}
	if b, ok := c.(*boundedConn); ok {
		p.addr = b.addr
		p.unix = !b.addr.IsValid()
		p.admin = b.listener.admin && trustedPeer(b.Conn, groupID)
	}
	return context.WithValue(ctx, connKey{}, p)
}

func peerOf(ctx context.Context) peer {
	p, _ := ctx.Value(connKey{}).(peer)
	return p
}
