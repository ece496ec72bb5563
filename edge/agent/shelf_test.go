package agent

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fdstore is systemd's end of the notification socket: it keeps descriptors by
// name, and answers a barrier by closing the descriptor that came with it.
type fdstore struct {
	conn *net.UnixConn
	mute bool // answers no barrier

	mu   sync.Mutex
	kept map[string]*os.File
	late []*os.File // barriers that are not answered
}

func newFDStore(t *testing.T, mute bool) (*fdstore, string) {
	t.Helper()
	path := filepath.Join(testDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := &fdstore{conn: conn, mute: mute, kept: map[string]*os.File{}}
	var serving sync.WaitGroup
	serving.Go(s.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
		for _, f := range s.late {
			_ = f.Close()
		}
		for _, f := range s.kept {
			_ = f.Close()
		}
	})
	return s, path
}

func (s *fdstore) serve() {
	buf, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, m, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		s.handle(string(buf[:n]), passed(oob[:m]))
	}
}

// passed is the descriptor of a message; nil if it has none.
func passed(oob []byte) *os.File {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return nil
	}
	return os.NewFile(uintptr(fds[0]), "passed")
}

func (s *fdstore) handle(state string, f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, name, _ := strings.Cut(state, "FDNAME=")
	switch {
	case strings.HasPrefix(state, "FDSTORE=1\n"):
		s.kept[name] = f
	case strings.HasPrefix(state, "FDSTOREREMOVE=1\n"):
		if old := s.kept[name]; old != nil {
			_ = old.Close()
			delete(s.kept, name)
		}
	case s.mute:
		s.late = append(s.late, f)
	case state == "BARRIER=1":
		_ = f.Close()
	}
}

func (s *fdstore) get(name string) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name]
}

func TestShelf(t *testing.T) {
	store, addr := newFDStore(t, false)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &shelf{addr: addr, wait: 10 * time.Second}
	if err := s.Put("gpio.in.chip.17.a.b.c", int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	// It is there when Put returns, and holds what it names open.
	kept := store.get("gpio.in.chip.17.a.b.c")
	if kept == nil {
		t.Fatal("nothing was kept")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.WriteString("x"); err != nil {
		t.Error(err)
	}
	if err := s.Remove("gpio.in.chip.17.a.b.c"); err != nil {
		t.Fatal(err)
	}
	if store.get("gpio.in.chip.17.a.b.c") != nil {
		t.Error("it is still kept")
	}
}

func TestShelfFails(t *testing.T) {
	_, mute := newFDStore(t, true)
	for name, c := range map[string]struct {
		addr string
		want error
	}{
		"no systemd":              {"", errNoShelf},
		"the socket is gone":      {"/nowhere/notify", unix.ENOENT},
		"it does not confirm":     {mute, nil},
		"nobody listens any more": {abandoned(t), unix.ECONNREFUSED},
	} {
		s := &shelf{addr: c.addr, wait: 50 * time.Millisecond}
		err := s.Put("gpio.in.chip.17.a.b.c", 0)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), "gpio.in.chip.17") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A systemd that hangs, and reads nothing, holds nobody up.
func TestShelfOfAHungSystemd(t *testing.T) {
	path := filepath.Join(testDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := &shelf{addr: path, wait: 20 * time.Millisecond}
	began := time.Now()
	full := false
	for range 600 { // net.unix.max_dgram_qlen is 10 to 512
		if err := s.send("STATUS=x", -1); err != nil {
			full = strings.Contains(err.Error(), "reads nothing")
			break
		}
	}
	if took := time.Since(began); !full || took > 10*time.Second {
		t.Errorf("full: %v after %s", full, took)
	}
}

// abandoned is the path of a socket whose owner died.
func abandoned(t *testing.T) string {
	t.Helper()
	path := filepath.Join(testDir(t), "notify")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	return path
}
