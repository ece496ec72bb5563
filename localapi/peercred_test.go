package localapi

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// What the tests' processes are: numbers that no system gives away.
const (
	testGroup    = 61234
	testStranger = 61999
)

// peerAddress is the environment's word for the socket that a child connects to.
const peerAddress = "FIELDPOST_TEST_PEER_ADDRESS"

// TestPeerChild is the other end of TestTrustedPeer, in a process of its own. It
// connects, and stays until it is hung up on.
func TestPeerChild(t *testing.T) {
	address := os.Getenv(peerAddress)
	if address == "" {
		t.Skip("it is started by TestTrustedPeer, as another user")
	}
	c, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Read(make([]byte, 1))
}

// group is the system's table as the tests have it.
func group(name string) (uint32, bool) { return testGroup, name == "fieldpost" }

// nobodysGroup is a system without the group.
func nobodysGroup(string) (uint32, bool) { return 0, false }

// TestSocketPeers holds the rule, for who is not root too.
func TestSocketPeers(t *testing.T) {
	for _, c := range []struct {
		name   string
		cred   credentials
		lookup func(string) (uint32, bool)
		want   bool
	}{
		{"root", credentials{}, nobodysGroup, true},
		{"our own uid", credentials{uid: 500, gid: 500}, nobodysGroup, true},
		{"primary group", credentials{uid: 1000, gid: testGroup}, group, true},
		{"one of its groups", credentials{uid: 1001, gid: 1001, groups: []uint32{27, testGroup}}, group, true},
		{"a stranger", credentials{uid: 1002, gid: 1002, groups: []uint32{27}}, group, false},
		{"there is no such group", credentials{uid: 7, groups: []uint32{0}}, nobodysGroup, false},
	} {
		if got := c.cred.trusted(500, c.lookup); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestTrustedPeer lets processes of other users and groups connect.
func TestTrustedPeer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	many := func(n, more uint32) []uint32 {
		groups := []uint32{}
		for i := range n {
			groups = append(groups, 100000+i)
		}
		return append(groups, more)
	}
	for _, c := range []struct {
		name   string
		cred   syscall.Credential
		lookup func(string) (uint32, bool)
		want   bool
	}{
		{"a stranger", syscall.Credential{Uid: testStranger, Gid: testStranger}, group, false},
		{"a stranger with other groups", syscall.Credential{Uid: testStranger, Gid: testStranger, Groups: []uint32{4, 20, testGroup + 1}}, group, false},
		{"a member by primary group", syscall.Credential{Uid: testStranger, Gid: testGroup}, group, true},
		{"a member by supplementary group", syscall.Credential{Uid: testStranger, Gid: testStranger, Groups: []uint32{4, testGroup, 20}}, group, true},
		{"a member by the last of the groups that fit", syscall.Credential{Uid: testStranger, Gid: testStranger, Groups: many(firstGroups-1, testGroup)}, group, true},
		{"a member by the last of many groups", syscall.Credential{Uid: testStranger, Gid: testStranger, Groups: many(5000, testGroup)}, group, true},
		{"a stranger with as many groups as there can be", syscall.Credential{Uid: testStranger, Gid: testStranger, Groups: many(maxGroups-1, testGroup+1)}, group, false},
		{"a member by the last of as many groups as there can be", syscall.Credential{Uid: testStranger, Gid: testStranger, Groups: many(maxGroups-1, 200000)},
			func(string) (uint32, bool) { return 200000, true }, true},
		{"a member where there is no such group", syscall.Credential{Uid: testStranger, Gid: testGroup, Groups: []uint32{testGroup}}, nobodysGroup, false},
		{"group root where there is no such group", syscall.Credential{Uid: testStranger, Gid: 0, Groups: []uint32{0}}, nobodysGroup, false},
		{"our own user without any group", syscall.Credential{Uid: 0, Gid: testStranger}, nobodysGroup, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := connected(t, &c.cred)
			got, err := peerCredentials(conn)
			if err != nil || got.uid != c.cred.Uid || got.gid != c.cred.Gid || !sameGroups(got.groups, c.cred.Groups) {
				t.Errorf("the kernel tells uid %d, gid %d, %d groups, %v", got.uid, got.gid, len(got.groups), err)
			}
			if got := trustedPeer(conn, c.lookup); got != c.want {
				t.Errorf("trusted: %v, want %v", got, c.want)
			}
		})
	}
}

// sameGroups compares regardless of order: the kernel sorts them.
func sameGroups(a, b []uint32) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// connected starts a process as somebody and gives our end of its connection.
// The socket has no file, so that no folder's mode decides who gets to it.
func connected(t *testing.T, as *syscall.Credential) *net.UnixConn {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("@fieldpost-test-%d-%d", os.Getpid(), time.Now().UnixNano()), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// Not os.Args[0]: go test keeps the binary in a folder that only we may enter.
	child := exec.Command("/proc/self/exe", "-test.run=^TestPeerChild$", "-test.count=1")
	var said bytes.Buffer
	child.Stdout, child.Stderr, child.Dir = &said, &said, "/"
	child.Env = []string{peerAddress + "=" + ln.Addr().String(), "GORACE=atexit_sleep_ms=0"}
	child.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if err := child.Start(); err != nil {
		t.Fatalf("start a process as uid %d: %v", as.Uid, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait(); ln.Close() }()
	conn, err := ln.AcceptUnix()
	if err != nil {
		t.Fatalf("it ended before it connected: %v\n%s", <-ended, said.String())
	}
	t.Cleanup(func() {
		conn.Close()
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, said.String())
		}
	})
	return conn
}

// TestTrustedPeerIsOurselves: who runs the tests is trusted by its own agent.
func TestTrustedPeerIsOurselves(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cred, err := peerCredentials(conn.(*net.UnixConn))
	if err != nil || int(cred.uid) != os.Getuid() || int(cred.gid) != os.Getgid() {
		t.Errorf("we are uid %d, gid %d, %v", cred.uid, cred.gid, err)
	}
	mine, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if len(mine) != len(cred.groups) {
		t.Errorf("groups %v, want %v", cred.groups, mine)
	}
	if !trustedPeer(conn, nobodysGroup) {
		t.Error("we are not trusted")
	}
	conn.Close()
	if trustedPeer(conn, group) {
		t.Error("a closed connection is trusted")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if trustedPeer(a, group) {
		t.Error("what is no Unix socket is trusted")
	}
}
