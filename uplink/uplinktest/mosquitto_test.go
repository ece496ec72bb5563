package uplinktest

import (
	"net"
	"syscall"
	"testing"
	"time"
)

func TestMosquittoRestartsOnItsPort(t *testing.T) {
	m := StartMosquitto(t, MosquittoOptions{Persistence: true})
	addr := m.Addr()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := m.Stop(sig); err != nil {
			t.Fatal(err)
		}
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			t.Fatalf("after %v it still takes connections", sig)
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := net.DialTimeout("tcp", m.Addr(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if m.Addr() != addr {
		t.Fatalf("moved from %s to %s", addr, m.Addr())
	}
}
