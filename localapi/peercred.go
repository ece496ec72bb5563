package localapi

import (
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// socketGroup is the group whose members are admin on the socket.
const socketGroup = "fieldpost"

// trustedPeer reports whether a Unix socket's peer is root, our own user, or in
// group fieldpost. The kernel noted who it is when it connected.
func trustedPeer(c net.Conn) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	rc, err := u.SyscallConn()
	if err != nil {
		return false
	}
	var cred *syscall.Ucred
	var credErr error
	if err := rc.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return false
	}
	return trusted(cred, os.Getuid(), groupOf, groupsOf)
}

// trusted decides on credentials; the functions look groups up.
func trusted(c *syscall.Ucred, own int, group func(string) string, groups func(uid string) []string) bool {
	if c.Uid == 0 || int(c.Uid) == own {
		return true
	}
	gid := group(socketGroup)
	if gid == "" {
		return false
	}
	return strconv.Itoa(int(c.Gid)) == gid || slices.Contains(groups(strconv.Itoa(int(c.Uid))), gid)
}

func groupOf(name string) string {
	g, err := user.LookupGroup(name)
	if err != nil {
		return ""
	}
	return g.Gid
}

func groupsOf(uid string) []string {
	u, err := user.LookupId(uid)
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	return ids
}
