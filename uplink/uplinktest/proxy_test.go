package uplinktest

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo answers every byte on a free port until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return ln.Addr().String()
}

func dialProxy(t *testing.T) (*Proxy, net.Conn) {
	t.Helper()
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p, c
}

// answer writes "x" and reports how the answer went, within d.
func answer(t *testing.T, c net.Conn, d time.Duration) error {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestProxyPassesAndFreezes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stop   func(*Proxy)
		passed int64 // bytes that reach the target while it is stopped
	}{
		{"freeze", (*Proxy).Freeze, 0},
		{"hold", (*Proxy).Hold, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, c := dialProxy(t)
			if err := answer(t, c, 5*time.Second); err != nil {
				t.Fatalf("open: %v", err)
			}
			tt.stop(p)
			before, _ := p.Passed()
			if err := answer(t, c, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("stopped: got %v, want a timeout", err)
			}
			if up, _ := p.Passed(); up-before != tt.passed {
				t.Fatalf("passed %d bytes while stopped, want %d", up-before, tt.passed)
			}
			p.Thaw()
			if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatalf("thawed: %v", err)
			}
		})
	}
}

func TestProxyCuts(t *testing.T) {
	p, c := dialProxy(t)
	if err := answer(t, c, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	p.CutAfter(1)
	err := answer(t, c, 5*time.Second)
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("got %v, want a reset", err)
	}
	d, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := answer(t, d, 5*time.Second); err != nil {
		t.Fatalf("after the cut: %v", err)
	}
	p.Refuse(true)
	e, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := answer(t, e, 5*time.Second); err == nil {
		t.Fatal("a refused connection answered")
	}
	if n := p.Opened(); n != 2 {
		t.Fatalf("opened %d, want 2", n)
	}
}

func TestProxyDelays(t *testing.T) {
	p, c := dialProxy(t)
	p.Delay(60 * time.Millisecond)
	start := time.Now()
	if err := answer(t, c, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 120*time.Millisecond {
		t.Fatalf("answered in %v, want 60 ms each way", took)
	}
}
