package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// shelfWait bounds how long systemd may take to confirm that it has a
// descriptor; milliseconds are usual (FACTS.md 8).
const shelfWait = 5 * time.Second

// shelf is systemd's descriptor store (sd_notify(3): FDSTORE=1). What is in it is
// passed to the next process of the unit, after a kill, a restart and an upgrade
// alike.
type shelf struct {
	addr string        // of the notification socket; "" where systemd does not run us
	wait time.Duration // for systemd to confirm
}

// errNoShelf: a process that no systemd unit runs.
var errNoShelf = errors.New("there is no descriptor store: systemd did not start this process")

// newShelf gives the store, and what it held when this process started. The
// environment must not reach another process.
func newShelf() (*shelf, []*os.File) {
	return &shelf{os.Getenv("NOTIFY_SOCKET"), shelfWait}, activation.Files(true)
}

// Put stores a descriptor and waits until systemd has taken it: before that a
// kill would release the line. A store that is full, or a unit without
// FileDescriptorStoreMax, takes nothing and does not say so.
func (s *shelf) Put(name string, fd int) error {
	if err := s.send("FDSTORE=1\nFDNAME="+name, fd); err != nil {
		return fmt.Errorf("store descriptor %s: %w", name, err)
	}
	if err := s.barrier(); err != nil {
		return fmt.Errorf("store descriptor %s: %w", name, err)
	}
	return nil
}

// Remove makes systemd close its copy, and waits until it has begun to.
func (s *shelf) Remove(name string) error {
	err := s.send("FDSTOREREMOVE=1\nFDNAME="+name, -1)
	if err == nil {
		err = s.barrier()
	}
	if err != nil {
		return fmt.Errorf("take descriptor %s from the store: %w", name, err)
	}
	return nil
}

// barrier waits until systemd has handled all that was sent: it closes the
// descriptor that comes with BARRIER=1 then.
func (s *shelf) barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = s.send("BARRIER=1", int(w.Fd()))
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(s.wait)); err != nil {
		return err
	}
	_, err = r.Read(make([]byte, 1))
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("systemd did not confirm it within %s", s.wait)
	}
	return fmt.Errorf("wait for systemd's word: %w", err)
}

// send writes to the notification socket, with a descriptor where fd is not -1.
// A datagram socket that is connected can't pass one, so each has its address.
func (s *shelf) send(state string, fd int) error {
	if s.addr == "" {
		return errNoShelf
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	// A systemd that reads nothing lets the socket fill up.
	wait := unix.NsecToTimeval(s.wait.Nanoseconds())
	if err := unix.SetsockoptTimeval(sock, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait); err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	// A name that begins with @ is abstract, which is what SockaddrUnix makes of it.
	for end := time.Now().Add(s.wait); ; {
		err := unix.Sendmsg(sock, []byte(state), rights, &unix.SockaddrUnix{Name: s.addr}, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR) && time.Now().Before(end): // Go's own signals
		case errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("systemd reads nothing for %s", s.wait)
		default:
			return err
		}
	}
}
