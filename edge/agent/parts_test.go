package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

func TestID(t *testing.T) {
	for _, c := range []struct{ given, serial, want string }{
		{"greenhouse", "10000000abcd1234", "greenhouse"},
		{"", "10000000ABCD1234", "-1234"},
		{"", "12", ""},
	} {
		got := ID(c.given, c.serial)
		if !strings.HasSuffix(got, c.want) || got == "" || nameOf(got) != got {
			t.Errorf("ID(%q, %q) = %q", c.given, c.serial, got)
		}
	}
	if got := nameOf("-_Übel Host.7"); got != "belhost7" {
		t.Errorf("nameOf: %q", got)
	}
}

// TestGetsOn: a slow disk is no reason to be killed, one that never answers is.
func TestGetsOn(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		ago  time.Duration
		want bool
	}{
		{"idle", 0, true},
		{"a flush of 500 ms", 500 * time.Millisecond, true},
		{"a card that collects its garbage", 15 * time.Second, true},
		{"a flush that does not end", 31 * time.Second, false},
	} {
		if got := getsOn(now, edge.PumpStats{Waiting: 9, Progress: now.Add(-c.ago)}, 30*time.Second); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestStoreState(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		health queue.Health
		pump   edge.PumpStats
		want   string
	}{
		{queue.Health{}, edge.PumpStats{}, storeOK},
		{queue.Health{Full: true, Err: broken}, edge.PumpStats{}, storeFull},
		{queue.Health{ReadOnly: true, Full: true, Err: broken}, edge.PumpStats{}, storeReadOnly},
		{queue.Health{Err: broken}, edge.PumpStats{}, storeDegraded},
		{queue.Health{}, edge.PumpStats{Err: broken}, storeDegraded},
		{queue.Health{}, edge.PumpStats{Err: fmt.Errorf("broken: %w", syscall.ENOSPC)}, storeFull},
		{queue.Health{}, edge.PumpStats{Err: fmt.Errorf("broken: %w", syscall.EROFS)}, storeReadOnly},
	} {
		state, why := storeState(c.health, c.pump)
		if state != c.want || strings.HasPrefix(why, "broken") != (c.want != storeOK) {
			t.Errorf("%+v: %s %q", c, state, why)
		}
	}
}

func TestDoorOf(t *testing.T) {
	for _, c := range []struct {
		addr          string
		simulated     bool
		network, want string
	}{
		{":8716", false, "tcp", ":8716"},
		{":8716", true, "tcp", "127.0.0.1:8716"},
		{"0.0.0.0:80", true, "tcp", "127.0.0.1:80"},
		{"[::]:80", true, "tcp", "127.0.0.1:80"},
		{"192.168.1.2:80", true, "tcp", "192.168.1.2:80"},
		{"unix:/run/x.sock", true, "unix", "/run/x.sock"},
	} {
		network, addr := doorOf(c.addr, c.simulated)
		if network != c.network || addr != c.want {
			t.Errorf("%s: %s %s", c.addr, network, addr)
		}
	}
}

// TestListenSocket: whose socket it may take away, and whose not.
func TestListenSocket(t *testing.T) {
	dir := testDir(t)
	path := filepath.Join(dir, "new", "s.sock")
	l, err := listenSocket(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := listenSocket(t.Context(), path); !isTaken(err) {
		t.Errorf("took a living socket: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a kill leaves it
	l.Close()
	if l, err = listenSocket(t.Context(), path); err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(t.Context(), path); err == nil || isTaken(err) {
		t.Errorf("took a file away: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "mine" {
		t.Error("the file is gone")
	}
	if _, err := listenSocket(t.Context(), "/tmp/"+strings.Repeat("x", 120)); err == nil || !strings.Contains(err.Error(), "over 107 bytes") {
		t.Errorf("a long path: %v", err)
	}
}

// TestFreeBind: an address that no interface has yet can be listened on.
func TestFreeBind(t *testing.T) {
	l, err := listenOn("tcp", "192.0.2.7:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestStageBudget: a part that does not end is left behind after its budget; one
// that fails is told once.
func TestStageBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		s := newStage("it", failed)
		free := make(chan struct{})
		s.run("stuck", func(context.Context) error { <-free; return nil })
		s.run("broken", func(context.Context) error { return errors.New("broken") })
		if err := <-failed; err.Error() != "run broken: broken" {
			t.Error(err)
		}
		s.run("panics", func(context.Context) error { panic("oh") })
		if err := <-failed; !strings.Contains(err.Error(), "run panics: panic: oh") {
			t.Error(err)
		}
		begun := time.Now()
		if err := s.end(2 * time.Second); err == nil || time.Since(begun) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		close(free)
		if err := s.end(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// TestWaiting: an agent without a store lives, and says what it waits for.
func TestWaiting(t *testing.T) {
	w := &waiting{}
	w.say(syscall.ENOSPC)
	for _, c := range []struct {
		path  string
		code  int
		words string
	}{
		{"/healthz", http.StatusOK, "ok"},
		{"/readyz", http.StatusServiceUnavailable, "no space left"},
		{"/v1/events", http.StatusServiceUnavailable, "no space left"},
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, c.path, nil))
		if rec.Code != c.code || !strings.Contains(rec.Body.String(), c.words) || (rec.Header().Get("Retry-After") != "") != (c.code != http.StatusOK) {
			t.Errorf("%s: %d %s %v", c.path, rec.Code, rec.Body, rec.Header())
		}
	}
}

func TestDiskFault(t *testing.T) {
	for err, want := range map[error]bool{
		&os.PathError{Err: syscall.ENOSPC}: true, &os.PathError{Err: syscall.EROFS}: true,
		&os.PathError{Err: syscall.EACCES}: false, queue.ErrLocked: false, queue.ErrNewer: false,
	} {
		if diskFault(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}
