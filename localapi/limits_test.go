package localapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBodiesAreBounded(t *testing.T) {
	r := newRig(t, nil)
	nd := header{"Content-Type": "application/x-ndjson"}
	line := `{"name":"a","data":1}` + "\n"
	for _, c := range []struct {
		name, body string
		h          header
		status     int
	}{
		{"10 MB", strings.Repeat("x", 10<<20), nil, 413}, {"10 MB of lines", strings.Repeat(line, 10<<20/len(line)), nd, 413},
		{"an event over 128 kB", `{"name":"a","data":"` + strings.Repeat("x", 130_000) + `"}`, nil, 413}, {"a line over 256 kB", `{"name":"a","data":"` + strings.Repeat("x", 260_000) + `"}`, nd, 413},
		{"8,193 lines", strings.Repeat(line, 8193), nd, 413}, {"8,192 lines", strings.Repeat(line, 8192), nd, 201},
	} {
		if a := r.do("POST", "/v1/events", writeKey, c.body, c.h); a.status != c.status {
			t.Errorf("%s: got %d %.200s, want %d", c.name, a.status, a.body, c.status)
		}
	}
	r.want(413, "POST", "/v1/keys", adminKey, `{"name":"`+strings.Repeat("x", 70_000)+`"}`)
	if left := r.server.memory.left.Load(); left != r.server.lim.memory {
		t.Errorf("%d bytes of the budget are not given back", r.server.lim.memory-left)
	}
}

// A body without a length is bounded as well, and its memory comes from the
// budget while it is held.
func TestChunkedBodies(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.memory = 100_000 })
	post := func(size int) int {
		body := io.MultiReader(strings.NewReader(`{"name":"a","data":"`), strings.NewReader(strings.Repeat("x", size)), strings.NewReader(`"}`))
		req, err := http.NewRequest("POST", "http://"+r.addr+"/v1/events", struct{ io.Reader }{body})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+writeKey)
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	if got := post(20_000); got != 201 {
		t.Errorf("20 kB: got %d", got)
	}
	if got := post(120_000); got != 503 {
		t.Errorf("over the budget: got %d", got)
	}
	if left := r.server.memory.left.Load(); left != 100_000 {
		t.Errorf("the budget has %d bytes left", left)
	}
}

func TestLongHeadersAreRefused(t *testing.T) {
	r := newRig(t, nil)
	if a := r.do("GET", "/v1/status", readKey, "", header{"X-Long": strings.Repeat("x", 40<<10)}); a.status != 431 {
		t.Errorf("got %d, want 431", a.status)
	}
}

// Clients that open connections and send half a request: others are answered at
// once, and the half-open ones are gone after the time for headers.
func TestHalfOpenClients(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.headerTime = 300 * time.Millisecond; o.limits.perAddress = 20 })
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	refused := 0
	for range 60 {
		c, err := dialer.Dial("tcp", r.addr)
		if err != nil {
			refused++
			continue
		}
		conns = append(conns, c)
		fmt.Fprintf(c, "GET /v1/status HTTP/1.1\r\nHost: bo")
	}
	begun := time.Now()
	r.want(200, "GET", "/v1/status", readKey, "") // from another address
	if a, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/healthz", "", ""); err != nil || a.status != 200 {
		t.Errorf("the socket got %d %v", a.status, err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("others waited %v", took)
	}
	eventually(t, "the half-open ones are gone", func() bool {
		r.server.conns.mu.Lock()
		defer r.server.conns.mu.Unlock()
		return r.server.conns.byAddr[netip.MustParseAddr("127.0.0.9")] == 0
	})
}

func TestConnectionsPerAddress(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.perAddress = 2 })
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	eventually(t, "both are accepted", func() bool { n, _ := r.server.conns.open(); return n == 2 })
	third, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	line, err := bufio.NewReader(third).ReadString('\n')
	if err == nil && !strings.Contains(line, "503") {
		t.Errorf("the third got %q", line)
	}
	conns[0].Close()
	eventually(t, "there is room again", func() bool {
		a, err := r.try(r.client, "http://"+r.addr, "GET", "/healthz", "", "")
		return err == nil && a.status == 200
	})
}

// A client that sends its body a byte at a time is cut off in time.
func TestSlowBodies(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.requestTime = 300 * time.Millisecond })
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/events HTTP/1.1\r\nHost: board\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{", writeKey)
	begun := time.Now()
	if err := c.SetReadDeadline(begun.Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection is still open after 5 s")
	}
}

// The rings that clients can bring about are bounded.
func TestRingsAreBounded(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.rings = 3 })
	for i := range 3 {
		r.want(201, "POST", "/v1/events", writeKey, fmt.Sprintf(`{"name":"a","data":1,"ring":"r%d"}`, i))
	}
	r.want(409, "POST", "/v1/events", writeKey, `{"name":"a","data":1,"ring":"r9"}`)
	r.want(201, "POST", "/v1/events", writeKey, `{"name":"a","data":1,"ring":"r1"}`)
}

// The server ends in time although a client holds a request open.
func TestStopIsBounded(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.drain = 200 * time.Millisecond })
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/events HTTP/1.1\r\nHost: board\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{", writeKey)
	eventually(t, "it is being served", func() bool { n, _ := r.server.conns.open(); return n == 1 })
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if tcp, unix := r.server.conns.open(); tcp != 0 || unix != 0 {
		t.Errorf("%d and %d connections are still counted", tcp, unix)
	}
}

func TestWindowBounds(t *testing.T) {
	w := newWindow(4)
	if !w.take(10 * windowEvent) {
		t.Fatal("what weighs more than the window never gets in")
	}
	got := make(chan bool, 2)
	go func() { got <- w.take(windowEvent) }()
	select {
	case <-got:
		t.Error("there was room in a full window")
	default:
		runtime.Gosched()
	}
	w.give(10 * windowEvent)
	if !<-got {
		t.Error("no room after it was given back")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	go func() { got <- w.take(4 * windowEvent) }()
	w.close()
	select {
	case ok := <-got:
		if ok {
			t.Error("a closed window gave room")
		}
	case <-ctx.Done():
		t.Error("close does not wake who waits")
	}
}
