package dial

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// maxProxyHead bounds the answer of an HTTP proxy.
const maxProxyHead = 8 << 10

// EnvProxy gives a Dialer's Proxy that goes by ALL_PROXY and NO_PROXY, or their
// lower-case forms, as getenv (os.Getenv) has them. HTTP_PROXY is for web pages
// and says nothing of other connections. This machine itself is never behind a
// proxy.
func EnvProxy(getenv func(string) string) func(addr string) (*url.URL, error) {
	get := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return getenv(strings.ToLower(name))
	}
	return func(addr string) (*url.URL, error) {
		all := get("ALL_PROXY")
		if all == "" || excepted(addr, get("NO_PROXY")) {
			return nil, nil
		}
		u, err := url.Parse(all)
		if err != nil || u.Host == "" {
			return nil, errors.New("ALL_PROXY is no URL like socks5://host:1080 or http://host:3128")
		}
		switch u.Scheme {
		case "http", "socks5", "socks5h":
			return u, nil
		}
		return nil, fmt.Errorf("ALL_PROXY has the scheme %q: it can be http or socks5", u.Scheme)
	}
}

// excepted reports whether addr is this machine or in the list of NO_PROXY: hosts
// with all that is below them, addresses, CIDR, or * for everything.
func excepted(addr, list string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	if host == "localhost" || isIP && ip.IsLoopback() {
		return true
	}
	for item := range strings.SplitSeq(strings.ToLower(list), ",") {
		item = strings.TrimSpace(item)
		if h, _, err := net.SplitHostPort(item); err == nil {
			item = h
		}
		name := strings.TrimPrefix(strings.TrimPrefix(item, "*"), ".")
		switch net, err := netip.ParsePrefix(item); {
		case item == "*":
			return true
		case item == "":
		case isIP && err == nil && net.Contains(ip):
			return true
		case host == name || strings.HasSuffix(host, "."+name):
			return true
		}
	}
	return false
}

// proxyAddr is the host:port of a proxy.
func proxyAddr(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := "1080"
	if u.Scheme == "http" {
		port = "3128"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// through asks the proxy at the other end of conn for a connection to addr.
func through(ctx context.Context, conn net.Conn, proxy *url.URL, addr string) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	// A cancelled dial must not wait for a silent proxy.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	ask := socks
	if proxy.Scheme == "http" {
		ask = connect
	}
	err := ask(conn, proxy.User, addr)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// connect speaks HTTP CONNECT.
func connect(conn net.Conn, user *url.Userinfo, addr string) error {
	req := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if user != nil {
		pass, _ := user.Password()
		req += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+pass)) + "\r\n"
	}
	if _, err := io.WriteString(conn, req+"\r\n"); err != nil {
		return err
	}
	// One byte at a time: what follows the head is the peer's.
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b[0]) {
		if len(head) >= maxProxyHead {
			return errors.New("the proxy's answer has no end")
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return fmt.Errorf("read the proxy's answer: %w", err)
		}
	}
	status, _, _ := strings.Cut(string(head), "\r\n")
	version, code, _ := strings.Cut(status, " ")
	if !strings.HasPrefix(version, "HTTP/1.") || !strings.HasPrefix(code, "2") {
		return fmt.Errorf("the proxy says %.80q", status)
	}
	return nil
}
