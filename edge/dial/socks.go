package dial

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// The numbers of SOCKS5 (RFC 1928, RFC 1929).
const (
	socksVersion  = 5
	socksNoAuth   = 0
	socksPassword = 2
	socksConnect  = 1
	socksIPv4     = 1
	socksName     = 3
	socksIPv6     = 4
)

// socksReplies are what a proxy can answer, by number.
var socksReplies = []string{
	"", "general failure", "not allowed", "network unreachable", "host unreachable", "connection refused", "time to live expired",
	"command not supported", "address type not supported",
}

// socks speaks SOCKS5. Names are resolved by the proxy.
func socks(conn net.Conn, user *url.Userinfo, addr string) error {
	if err := socksLogin(conn, user); err != nil {
		return err
	}
	req, err := socksRequest(addr)
	if err != nil {
		return err
	}
	if _, err := conn.Write(req); err != nil {
		return err
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return fmt.Errorf("read the proxy's answer: %w", err)
	}
	if head[0] != socksVersion {
		return errors.New("the proxy does not speak SOCKS5")
	}
	if code := int(head[1]); code != 0 {
		if code < len(socksReplies) {
			return errors.New("the proxy says " + socksReplies[code])
		}
		return fmt.Errorf("the proxy says error %d", code)
	}
	return socksBound(conn, head[3])
}

// socksBound reads past the address that the proxy connected from.
func socksBound(conn net.Conn, kind byte) error {
	size := 0
	switch kind {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		n := make([]byte, 1)
		if _, err := io.ReadFull(conn, n); err != nil {
			return fmt.Errorf("read the proxy's answer: %w", err)
		}
		size = int(n[0])
	default:
		return errors.New("the proxy answers with an unknown kind of address")
	}
	if _, err := io.ReadFull(conn, make([]byte, size+2)); err != nil {
		return fmt.Errorf("read the proxy's answer: %w", err)
	}
	return nil
}

// socksLogin agrees on a way to log in and does it.
func socksLogin(conn net.Conn, user *url.Userinfo) error {
	hello := []byte{socksVersion, 1, socksNoAuth}
	if user != nil {
		hello = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	got := make([]byte, 2)
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("read the proxy's answer: %w", err)
	}
	switch {
	case got[0] != socksVersion:
		return errors.New("the proxy does not speak SOCKS5")
	case got[1] == socksNoAuth:
		return nil
	case got[1] != socksPassword || user == nil:
		return errors.New("the proxy wants another login")
	}
	pass, _ := user.Password()
	name := user.Username()
	if len(name) > 255 || len(pass) > 255 {
		return errors.New("the proxy's user or password is over 255 bytes")
	}
	login := append([]byte{1, byte(len(name))}, name...)
	login = append(append(login, byte(len(pass))), pass...)
	if _, err := conn.Write(login); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("read the proxy's answer: %w", err)
	}
	if got[1] != 0 {
		return errors.New("the proxy refuses the user and password")
	}
	return nil
}

// socksRequest is the request for a connection to addr.
func socksRequest(addr string) ([]byte, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q is no number", portText)
	}
	req := []byte{socksVersion, socksConnect, 0}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Unmap().Is4():
		req = append(append(req, socksIPv4), ip.Unmap().AsSlice()...)
	case err == nil:
		req = append(append(req, socksIPv6), ip.WithZone("").AsSlice()...)
	case len(host) > 255:
		return nil, errors.New("the host's name is over 255 bytes")
	default:
		req = append(append(req, socksName, byte(len(host))), host...)
	}
	return append(req, byte(port>>8), byte(port)), nil
}
