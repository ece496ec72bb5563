package gpio_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/gpio"
	"fieldpost/gpio/gpiotest"
)

// web is a bench with one server, and what http_get makes of its pages.
func web(t *testing.T, h http.HandlerFunc, options string, after time.Duration) (status, error, lines string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := gpiotest.NewBench(t)
		b.Peers.Set("web.lan:80", gpiotest.Page(h))
		b.Peers.Set("other.lan:80", gpiotest.Page(h))
		s := b.Source(t, spec(t, "http_get", "m: {http_get: 'http://web.lan/a?key=hush', every: 1h"+options+"}"))
		stop := gpiotest.Start(t, s)
		gpiotest.Pass(after)
		d, _ := s.Device("m")
		if took := stop(); took > time.Second {
			t.Errorf("it took %s to stop", took)
		}
		status, error, lines = d.Status, d.Error, b.Pump.Lines("m")
		gpiotest.Pass(30 * time.Second) // a server that hangs notices
	})
	if strings.Contains(error, "hush") {
		t.Errorf("the error has the secret in it: %s", error)
	}
	return status, error, strings.TrimSpace(lines)
}

// TestHTTPGetValues: what is found in an answer.
func TestHTTPGetValues(t *testing.T) {
	for _, c := range []struct{ body, options, want string }{
		{"21.5\n", ", unit: °C", `sample {"value":21.5,"unit":"°C"}`},
		{"on", "", `change {"value":"on"}`},
		{"TRUE", "", `change {"value":"TRUE"}`},
		{"NaN", "", `change {"value":"NaN"}`},
		{`{"a":{"b":[1,-2.5e1]}}`, ", path: a.b.1", `sample {"value":-25}`},
		{`{"a":"3.5"}`, ", path: /a", `sample {"value":3.5}`},
		{`{"a":true}`, ", path: /a", `change {"value":true}`},
		{`{"a":"x\"y"}`, ", path: /a", `change {"value":"x\"y"}`},
		{`{"a":"T=3.5C"}`, `, path: /a, match: 'T=([0-9.]+)'`, `sample {"value":3.5}`},
		{"<b>Power: 120 W</b>", `, match: 'Power: (?P<value>\d+)'`, `sample {"value":120}`},
		{"200", ", accept: {max: 100}", `sample {"value":null,"quality":"implausible","reading":"200"}`},
	} {
		status, err, lines := web(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, c.body) }, c.options, time.Second)
		if status != "ok" || lines != c.want {
			t.Errorf("%s%s: %s %s, %s; want %s", c.body, c.options, status, err, lines, c.want)
		}
	}
}

// TestHTTPGetFailures: what is no answer, and what it is called.
func TestHTTPGetFailures(t *testing.T) {
	page := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) }
	}
	for name, c := range map[string]struct {
		h             http.HandlerFunc
		options, want string
	}{
		"status":    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "21.5", http.StatusServiceUnavailable) }, "", "failed get a value from web.lan: it answers 503 Service Unavailable"},
		"large":     {page(strings.Repeat("1", 256<<10+1)), "", "failed get a value from web.lan: the answer has over 262144 bytes"},
		"long text": {page(strings.Repeat("x", 5000)), "", "failed get a value from web.lan: the value is no text of at most 4096 bytes"},
		"binary":    {page("\xff\xfe"), "", "failed get a value from web.lan: the value is no text"},
		"no JSON":   {page("<html>"), ", path: a", "failed get a value from web.lan: it is no JSON"},
		"no key":    {page("{}"), ", path: a", `failed get a value from web.lan: look for /a: there is no key "a"`},
		"object":    {page(`{"a":{}}`), ", path: a", "failed get a value from web.lan: what is at /a is {}"},
		"null":      {page(`{"a":null}`), ", path: a", "failed get a value from web.lan: what is at /a is null"},
		"no match":  {page("hello"), ", match: '[0-9]'", `failed get a value from web.lan: nothing matched in "hello"`},
		"elsewhere": {to("http://other.lan/?key=hush"), "", "failed get a value from web.lan: it leads to http://other.lan; other_hosts"},
		"port":      {to("http://web.lan:81/"), "", "failed get a value from web.lan: it leads to http://web.lan:81"},
		"circle":    {to("/again"), "", "failed get a value from web.lan: it leads on more than 5 times"},
		"gone":      {to("http://gone.lan/"), ", other_hosts: true", "absent get a value from web.lan: connect to gone.lan:80: "},
		"hanging":   {func(http.ResponseWriter, *http.Request) { <-time.After(20 * time.Second) }, "", "failed get a value from web.lan: there was no whole answer within 10s"},
	} {
		after := 500 * time.Millisecond
		if name == "hanging" {
			after = 10200 * time.Millisecond
		}
		if status, err, lines := web(t, c.h, c.options, after); !strings.HasPrefix(status+" "+err, c.want) || lines != "" {
			t.Errorf("%s: %s %s, %s; want %s", name, status, err, lines, c.want)
		}
	}
}

// TestHTTPGetSecrets: they go to the server and to nobody else.
func TestHTTPGetSecrets(t *testing.T) {
	const keys = ", headers: {X-Token: t0ken, accept: text/plain}, user: me, password: pass, other_hosts: true"
	var seen []string
	_, err, lines := web(t, func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		seen = append(seen, fmt.Sprint(r.Method, r.Host, r.URL.Path, r.Header.Get("X-Token"), r.Header.Get("Accept"), user, pass, r.Referer()))
		switch {
		case r.Host == "other.lan":
			io.WriteString(w, "1")
		case r.URL.Path == "/b":
			http.Redirect(w, r, "http://other.lan/c", http.StatusFound)
		default:
			http.Redirect(w, r, "/b", http.StatusFound)
		}
	}, keys, time.Second)
	want := []string{"GET web.lan /a t0ken text/plain me pass ", "GET web.lan /b t0ken text/plain me pass http://web.lan/a?key=hush", "GET other.lan /c     "}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " ", "")
		if i < len(seen) {
			seen[i] = strings.ReplaceAll(seen[i], " ", "")
		}
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") || lines != `sample {"value":1}` {
		t.Errorf("%s\n%q\nwant\n%q", err, seen, want)
	}
	if _, err, _ := web(t, nil, ", headers: {X-Token: 'env:NOT_SET_HERE'}", time.Second); !strings.Contains(err, "header X-Token: read secret env:NOT_SET_HERE") {
		t.Error(err)
	}
	if _, err, _ := web(t, nil, `, headers: {X-Token: "secret\nvalue"}`, time.Second); err == "" || strings.Contains(err, "secret") {
		t.Error(err)
	}
}

// TestHTTPGetRetryAfter: a server that wants to be left alone is, and a change is told.
func TestHTTPGetRetryAfter(t *testing.T) {
	asked := 0
	_, err, lines := web(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.Header().Set("Retry-After", "600")
			http.Error(w, "", http.StatusTooManyRequests)
			return
		}
		io.WriteString(w, "ok")
	}, "", 19*time.Minute)
	if asked != 2 || lines != "" {
		t.Errorf("%d requests: %s, %s", asked, err, lines)
	}
}

// TestHTTPGetEndless: a peer that never ends its head or its body, or closes at once.
func TestHTTPGetEndless(t *testing.T) {
	for name, peer := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"head": func(c net.Conn) {
			go io.Copy(io.Discard, c)
			for _, err := c.Write([]byte("HTTP/1.1 200 OK\r\n")); err == nil; _, err = c.Write([]byte("X-A: " + strings.Repeat("b", 1000) + "\r\n")) {
			}
		},
		"body": func(c net.Conn) {
			go io.Copy(io.Discard, c)
			_, err := c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			for ; err == nil; _, err = c.Write(make([]byte, 1000)) {
			}
		},
		"drip": func(c net.Conn) {
			go io.Copy(io.Discard, c)
			_, err := c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			for ; err == nil; _, err = c.Write([]byte("1")) {
				<-time.After(time.Second)
			}
		},
		"closed": func(c net.Conn) { _, _ = c.Read(make([]byte, 1000)) },
		"noise":  func(c net.Conn) { _, _ = c.Read(make([]byte, 1000)); _, _ = c.Write([]byte("\x00\x01\x02\r\n")) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := gpiotest.NewBench(t)
			b.Peers.Set("web.lan:80", peer)
			s := b.Source(t, spec(t, "http_get", "m: {http_get: 'http://web.lan/', timeout: 5s}"))
			stop := gpiotest.Start(t, s)
			gpiotest.Pass(5100 * time.Millisecond)
			if d, _ := s.Device("m"); d.Status != "failed" || !strings.HasPrefix(d.Error, "get a value from web.lan: ") {
				t.Errorf("%s: %+v", name, d)
			}
			if took := stop(); took > time.Second {
				t.Errorf("%s: it took %s to stop", name, took)
			}
			<-time.After(2 * time.Second) // the drip notices
		})
	}
}

// TestHTTPGetOptions: what can't work is refused, without the secret in it.
func TestHTTPGetOptions(t *testing.T) {
	b := gpiotest.NewBench(t)
	for options, want := range map[string]string{
		"http_get: web.lan":                           "http_get is no URL",
		"http_get: 'ftp://web.lan'":                   "http_get is no URL",
		"http_get: 'http://me:hush@web.lan'":          "write user and password",
		"http_get: \"http://hush\\x7f\"":              "http_get is no URL",
		"http_get: 'http://a', timeout: 0s":           "timeout is 0s",
		"http_get: 'http://a', every: 0s":             "every is 0s",
		"http_get: 'http://a', path: '/~'":            "path",
		"http_get: 'http://a', match: '('":            "match",
		"http_get: 'http://a', headers: {'a b': 'c'}": "no name of a header",
	} {
		_, err := gpio.NewSource(gpio.SourceOptions{Specs: []gpio.Spec{spec(t, "http_get", "m: {"+options+"}")}, Pump: b.Pump, Rows: b.Pump, Clock: b.Clock})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// TestHTTPGetTLS: a real server on the loopback, through edge/dial: trusted with its
// certificate as the authority, and not without.
func TestHTTPGetTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "42") }))
	defer srv.Close()
	srv.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	b := gpiotest.NewBench(t)
	s := kernelSource(t, b, spec(t, "http_get", "m: {http_get: '"+srv.URL+"', tls: {ca: 'file:"+ca+"'}}"), spec(t, "http_get", "n: {http_get: '"+srv.URL+"'}"))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	eventually(t, "a value and a refusal", func() bool {
		m, _ := s.Device("m")
		n, _ := s.Device("n")
		return string(m.Value) == "42" && n.Status == "failed" && strings.Contains(n.Error, "shake hands over TLS: tls: failed to verify certificate")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
