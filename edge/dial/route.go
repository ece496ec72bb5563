package dial

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// WatchRoutes gives a channel that gets a token after routes or addresses of this
// machine changed, until ctx is done. Changes that nobody took yet are one token.
// Where the kernel gives no such news (no permission, no netlink) the channel
// never fires.
func WatchRoutes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	f, err := openRoutes()
	if err != nil {
		return changed
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer f.Close()
		defer stop()
		readRoutes(f, changed)
	}()
	return changed
}

// openRoutes opens a netlink socket that hears of addresses and routes.
func openRoutes() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// readRoutes reads news until f is closed or fails for good.
func readRoutes(f *os.File, changed chan<- struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// The kernel had more to say than the socket holds: something changed.
		case err != nil:
			return
		case !tellsOfChange(buf[:n]):
			continue
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// tellsOfChange reports whether one of the messages in b is about a route or an
// address. Routes that the kernel clones for its cache are none.
func tellsOfChange(b []byte) bool {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return true
	}
	for _, m := range msgs {
		switch m.Header.Type {
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			return true
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if !cloned(m.Data) {
				return true
			}
		}
	}
	return false
}

// flagsAt is where struct rtmsg has rtm_flags, a native 32-bit number.
const flagsAt = 8

// cloned reports whether a route message is about the kernel's own cache.
func cloned(data []byte) bool {
	if len(data) < unix.SizeofRtMsg {
		return false
	}
	return binary.NativeEndian.Uint32(data[flagsAt:])&unix.RTM_F_CLONED != 0
}
