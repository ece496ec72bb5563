package dial

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func fixedProxy(text string) func(string) (*url.URL, error) {
	return func(string) (*url.URL, error) { return url.Parse(text) }
}

func TestEnvProxy(t *testing.T) {
	for _, c := range []struct{ all, no, addr, want string }{
		{"", "", "far.example:1883", ""},
		{"socks5://p:1080", "", "far.example:1883", "socks5://p:1080"},
		{"socks5://p:1080", "", "localhost:1883", ""},
		{"socks5://p:1080", "", "127.0.0.2:1883", ""},
		{"socks5://p:1080", "", "[::1]:1883", ""},
		{"socks5://p:1080", "*", "far.example:1883", ""},
		{"socks5://p:1080", "a, .example", "far.example:1883", ""},
		{"socks5://p:1080", "example:1", "Example.:1883", ""},
		{"socks5://p:1080", "ample", "example:1883", "socks5://p:1080"},
		{"socks5://p:1080", "10.0.0.0/8", "10.2.3.4:1883", ""},
		{"socks5://p:1080", "10.0.0.0/8,", "11.2.3.4:1883", "socks5://p:1080"},
		{"http://p", "", "far.example:1883", "http://p"},
		{"ftp://p", "", "far.example:1883", "error"},
		{"p:1080", "", "far.example:1883", "error"},
	} {
		env := map[string]string{"ALL_PROXY": c.all, "no_proxy": c.no}
		u, err := EnvProxy(func(k string) string { return env[k] })(c.addr)
		got := ""
		if u != nil {
			got = u.String()
		}
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// echo accepts connections and sends back what comes, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// relay joins two connections until one ends.
func relay(a, b net.Conn) {
	go func() {
		io.Copy(a, b)
		a.Close()
	}()
	io.Copy(b, a)
	b.Close()
}

// httpProxy is a real HTTP proxy that wants a login.
func httpProxy(t *testing.T) string {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveConnect(c)
		}
	}()
	return l.Addr().String()
}

func serveConnect(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	if req.Header.Get("Proxy-Authorization") != "Basic bWU6c2VjcmV0" || req.Method != "CONNECT" {
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		return
	}
	far, err := net.Dial("tcp", req.Host)
	if err != nil {
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	// The first byte of the peer comes with the head: it must not be lost.
	io.WriteString(c, "HTTP/1.1 200 OK\r\nX: y\r\n\r\n!")
	relay(c, far)
}

func TestConnectProxy(t *testing.T) {
	far, proxy := echo(t), httpProxy(t)
	c := dialTo(t, &Dialer{Proxy: fixedProxy("http://me:secret@" + proxy)}, "tcp", far)
	talk(t, c, "!")
	_, err := (&Dialer{Proxy: fixedProxy("http://me:wrong@" + proxy)}).DialContext(t.Context(), "tcp", far)
	if err == nil || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("error %v", err)
	}
}

// talk sends a line and wants it back behind what comes first.
func talk(t *testing.T, c net.Conn, first string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(first)+5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != first+"hello" {
		t.Fatalf("got %q, %v", b, err)
	}
	c.Close()
}

// socksProxy is a SOCKS5 proxy that wants a login.
func socksProxy(t *testing.T) string {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveSocks(c)
		}
	}()
	return l.Addr().String()
}

func serveSocks(c net.Conn) {
	defer c.Close()
	b := make([]byte, 512)
	read := func(n int) []byte {
		if _, err := io.ReadFull(c, b[:n]); err != nil {
			c.Close()
		}
		return b[:n]
	}
	if n := read(2)[1]; !strings.Contains(string(read(int(n))), "\x02") {
		c.Write([]byte{5, 0xff})
		return
	}
	c.Write([]byte{5, 2})
	user := string(read(int(read(2)[1])))
	pass := string(read(int(read(1)[0])))
	if user != "me" || pass != "secret" {
		c.Write([]byte{1, 1})
		return
	}
	c.Write([]byte{1, 0})
	var host string
	switch read(4)[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 4:
		host = net.IP(read(16)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	p := read(2)
	far, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.ParseIP(host), Port: int(p[0])<<8 | int(p[1])})
	if err != nil {
		c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	c.Write([]byte{5, 0, 0, 3, 2, 'm', 'e', 0, 1})
	relay(c, far)
}

func TestSocksProxy(t *testing.T) {
	far, proxy := echo(t), socksProxy(t)
	talk(t, dialTo(t, &Dialer{Proxy: fixedProxy("socks5://me:secret@" + proxy)}, "tcp", far), "")
	for _, c := range []struct{ proxy, addr, want string }{
		{"socks5://me:wrong@" + proxy, far, "refuses the user and password"},
		{"socks5://" + proxy, far, "wants another login"},
		{"socks5://me:secret@" + proxy, "127.0.0.1:1", "connection refused"},
		{"socks5://me:secret@" + proxy, "[::1]:1", "connection refused"},
		{"socks5://me:secret@" + far, "127.0.0.1:1", "refuses the user and password"}, // no proxy at all
	} {
		_, err := (&Dialer{Proxy: fixedProxy(c.proxy), Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", c.addr)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: error %v", c.want, err)
		}
	}
}

// answers is a peer with a fixed script: what it says to whatever it hears.
type answers struct {
	net.Conn
	say *strings.Reader
}

func (a answers) Read(b []byte) (int, error)  { return a.say.Read(b) }
func (a answers) Write(b []byte) (int, error) { return len(b), nil }

// FuzzProxyAnswers: whatever a proxy says, the dial ends and reads a bounded head.
func FuzzProxyAnswers(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\nrest")
	f.Add("\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00rest")
	f.Add("\x05\x02\x01\x00\x05\x00\x00\x03\x00")
	f.Add("HTTP/1.1 200 " + strings.Repeat("x", maxProxyHead))
	f.Fuzz(func(t *testing.T, say string) {
		user := url.UserPassword("me", "secret")
		for _, ask := range []func(net.Conn, *url.Userinfo, string) error{connect, socks} {
			r := strings.NewReader(say)
			err := ask(answers{say: r}, user, "far.example:1883")
			if used := len(say) - r.Len(); used > maxProxyHead {
				t.Errorf("%d bytes were read", used)
			}
			if err != nil && strings.Contains(err.Error(), "secret") && !strings.Contains(say, "secret") {
				t.Errorf("the password is in %v", err)
			}
		}
	})
}
