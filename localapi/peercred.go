package localapi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	memory "unsafe" // unsafe itself is a function of this package

	"golang.org/x/sys/unix"
)

// socketGroup is the group whose members are admin on the socket.
const socketGroup = "fieldpost"

// A peer has at most maxGroups supplementary groups (the kernel's NGROUPS_MAX);
// nearly all have no more than firstGroups.
const (
	firstGroups = 32
	maxGroups   = 65536
)

// credentials are those of a Unix socket's peer, as the kernel noted them when
// it connected. They are not looked up by name: what counts is the groups that
// the process has, as for the file mode of the socket.
type credentials struct {
	uid    uint32
	gid    uint32
	groups []uint32 // the supplementary ones
}

// trustedPeer reports whether a Unix socket's peer is root, our own user, or in
// group fieldpost. lookup gives a group's number, false where there is none.
func trustedPeer(c net.Conn, lookup func(group string) (gid uint32, ok bool)) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	cred, err := peerCredentials(u)
	return err == nil && cred.trusted(os.Getuid(), lookup)
}

// trusted decides; own is our uid.
func (c *credentials) trusted(own int, lookup func(group string) (gid uint32, ok bool)) bool {
	if c.uid == 0 || int(c.uid) == own {
		return true
	}
	gid, ok := lookup(socketGroup)
	return ok && (c.gid == gid || slices.Contains(c.groups, gid))
}

// groupID finds a group in the system's table.
func groupID(name string) (uint32, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(gid), err == nil
}

// peerCredentials asks the kernel who connected.
func peerCredentials(u *net.UnixConn) (credentials, error) {
	rc, err := u.SyscallConn()
	if err != nil {
		return credentials{}, fmt.Errorf("ask for a socket's peer: %w", err)
	}
	var cred credentials
	var asked error
	err = rc.Control(func(fd uintptr) {
		var who *unix.Ucred
		if who, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); asked == nil {
			cred.uid, cred.gid = who.Uid, who.Gid
			cred.groups, asked = peerGroups(fd)
		}
	})
	if err = errors.Join(err, asked); err != nil {
		return credentials{}, fmt.Errorf("ask for a socket's peer: %w", err)
	}
	return cred, nil
}

// peerGroups asks for the peer's supplementary groups: none where the kernel is
// older than that question (4.13). /proc is no substitute: the unit hides other
// users' processes, and a process number may be another's by now.
func peerGroups(fd uintptr) ([]uint32, error) {
	for room := firstGroups; ; {
		groups := make([]uint32, room)
		size := uint32(4 * room)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(memory.Pointer(&groups[0])), uintptr(memory.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:min(int(size/4), room)], nil
		case errno == unix.ENOPROTOOPT:
			return nil, nil
		case errno != unix.ERANGE || room == maxGroups:
			return nil, errno
		}
		room = min(max(int(size/4), 2*room), maxGroups) // size is what it takes
	}
}
