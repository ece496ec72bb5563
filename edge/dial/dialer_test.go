package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen gives a listener on loopback and its address.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accept gives the other end of the next connection.
func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func dialTo(t *testing.T, d *Dialer, network, addr string) Conn {
	t.Helper()
	c, err := d.DialContext(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn, ok := Of(c)
	if !ok {
		t.Fatalf("%T is no Conn", c)
	}
	return conn
}

func TestCounts(t *testing.T) {
	l := listen(t)
	c := dialTo(t, &Dialer{}, "tcp", l.Addr().String())
	peer := accept(t, l)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte("yes")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if r, w := c.Counts(); r != 3 || w != 5 {
		t.Errorf("read %d, written %d", r, w)
	}
}

// TestUnsent: what a peer does not read stays unsent, and falls when it reads.
func TestUnsent(t *testing.T) {
	l := listen(t)
	c := dialTo(t, &Dialer{}, "tcp", l.Addr().String())
	peer := accept(t, l)
	if n, err := c.Unsent(); n != 0 || err != nil {
		t.Fatalf("unsent %d, %v", n, err)
	}
	if err := c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
				t.Fatal(err)
			}
			break
		}
	}
	stuck, err := c.Unsent()
	if stuck == 0 || err != nil {
		t.Fatalf("unsent %d, %v", stuck, err)
	}
	_, written := c.Counts()
	if _, err := io.CopyN(io.Discard, peer, written); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		n, err := c.Unsent()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("unsent %d, %v", n, err)
		}
		if n == 0 {
			return
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestUserTimeout(t *testing.T) {
	l := listen(t)
	for _, c := range []struct {
		d    Dialer
		want int
	}{{Dialer{}, 30_000}, {Dialer{UserTimeout: 7 * time.Second}, 7000}} {
		conn := dialTo(t, &c.d, "tcp", l.Addr().String())
		raw, err := conn.(*counted).Conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var ms, alive int
		if err := raw.Control(func(fd uintptr) {
			ms, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			alive, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		}); err != nil {
			t.Fatal(err)
		}
		if ms != c.want || alive != 1 {
			t.Errorf("TCP_USER_TIMEOUT %d, want %d; keepalive %d", ms, c.want, alive)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := dialTo(t, &Dialer{}, "unix", name)
	if _, err := c.Unsent(); err != nil {
		t.Error(err)
	}
}

func TestDialFails(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	l.Close()
	if _, err := (&Dialer{}).DialContext(t.Context(), "tcp", addr); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Dialer{}).DialContext(ctx, "tcp", addr); err == nil {
		t.Error("connected under a dead context")
	}
}

// TestTimeout: a proxy that accepts and says nothing costs Timeout, no more.
func TestTimeout(t *testing.T) {
	l := listen(t)
	d := &Dialer{Timeout: 50 * time.Millisecond, Proxy: fixedProxy("http://" + l.Addr().String())}
	if _, err := d.DialContext(t.Context(), "tcp", "far.example:1"); !isTimeout(err) {
		t.Errorf("error %v", err)
	}
}
