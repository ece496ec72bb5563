package dial

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestWatchRoutes brings up loopback in a network of its own.
func TestWatchRoutes(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, and the network with it.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Logf("no network of its own here (%v): only the silent case is tested", err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		changed := WatchRoutes(ctx)
		select {
		case <-changed:
			t.Error("fired before anything changed")
		default:
		}
		if err := loopbackUp(); err != nil {
			t.Error(err)
			return
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("loopback came up and nobody was told")
		}
	}()
	<-done
}

// loopbackUp sets the interface lo up in this thread's network.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// TestWatchRoutesStops: goleak sees whether the goroutine ends.
func TestWatchRoutesStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	changed := WatchRoutes(ctx)
	cancel()
	select {
	case _, ok := <-changed:
		if !ok {
			t.Error("the channel was closed: a select over it would spin")
		}
	default:
	}
}

// message is one netlink message of a type, with flags in a route's place.
func message(kind uint16, flags uint32) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
	h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
	h.Len, h.Type = uint32(len(b)), kind
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+flagsAt:], flags)
	return b
}

func TestTellsOfChange(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"address", message(unix.RTM_NEWADDR, 0), true},
		{"address gone", message(unix.RTM_DELADDR, 0), true},
		{"route", message(unix.RTM_NEWROUTE, 0), true},
		{"cached route", message(unix.RTM_NEWROUTE, unix.RTM_F_CLONED), false},
		{"link", message(unix.RTM_NEWLINK, 0), false},
		{"link, then route", append(message(unix.RTM_NEWLINK, 0), message(unix.RTM_DELROUTE, 0)...), true},
		{"cut short", message(unix.RTM_NEWROUTE, 0)[:unix.SizeofNlMsghdr], true},
		{"nothing", nil, false},
	} {
		if got := tellsOfChange(c.b); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
