package localapi

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// Host, Origin and Sec-Fetch-Site on a read, a write, a stream and an upgrade:
// the same answer everywhere, and before the key is looked at.
func TestRebindingAndOrigin(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) {
		o.Hosts, o.Origins = []string{"pi.example.org"}, []string{"http://web.lan:8000"}
	})
	upgrade := header{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	paths := []struct {
		method, path string
		h            header
		unsafe       bool
	}{{"GET", "/v1/status", nil, false}, {"POST", "/v1/events", nil, true}, {"GET", "/v1/stream", nil, false}, {"GET", "/v1/ws", upgrade, true}, {"GET", "/", nil, false}, {"GET", "/nothing", nil, false}}
	for _, c := range []struct {
		name   string
		h      header
		status int // 0: it passes
		reads  bool
	}{
		{"address", header{"Host": "192.168.1.7:8716"}, 0, false}, {"IPv6", header{"Host": "[fd00::1]:8716"}, 0, false}, {"localhost", header{"Host": "LOCALHOST"}, 0, false},
		{"host name", header{"Host": "board:8716"}, 0, false}, {"mDNS name", header{"Host": "board.local"}, 0, false}, {"configured", header{"Host": "pi.example.org."}, 0, false},
		{"rebinding", header{"Host": "evil.example:8716"}, 421, false}, {"suffix", header{"Host": "board.local.evil.example"}, 421, false}, {"prefix", header{"Host": "evilboard"}, 421, false},
		{"rebinding with its own origin", header{"Host": "evil.example", "Origin": "http://evil.example"}, 421, false},
		{"same origin", header{"Host": "board:8716", "Origin": "http://board:8716"}, 0, false}, {"same origin behind TLS", header{"Host": "board", "Origin": "https://board"}, 0, false},
		{"other port", header{"Host": "board:8716", "Origin": "http://board:80"}, 403, false}, {"foreign", header{"Host": "board", "Origin": "http://evil.example"}, 403, false},
		{"null", header{"Host": "board", "Origin": "null"}, 403, false}, {"configured origin", header{"Host": "board", "Origin": "http://web.lan:8000"}, 0, false},
		{"like a configured origin", header{"Host": "board", "Origin": "http://web.lan:80001"}, 403, false}, {"its other scheme", header{"Host": "board", "Origin": "https://web.lan:8000"}, 403, false},
		{"cross site without Origin", header{"Host": "board", "Sec-Fetch-Site": "cross-site"}, 403, true}, {"typed in", header{"Host": "board", "Sec-Fetch-Site": "none"}, 0, false},
	} {
		for _, p := range paths {
			a := r.do(p.method, p.path, "", "", c.h, p.h)
			refused := a.status == 421 || a.status == 403
			want := c.status != 0 && !(c.reads && !p.unsafe)
			if refused != want || want && a.status != c.status {
				t.Errorf("%s on %s %s: got %d", c.name, p.method, p.path, a.status)
			}
		}
	}
}

func TestCORSOnlyForConfiguredOrigins(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.Origins = []string{"http://web.lan:8000"} })
	ask := header{"Origin": "http://web.lan:8000", "Access-Control-Request-Method": "POST"}
	a := r.want(204, "OPTIONS", "/v1/events", "", "", ask)
	if a.header.Get("Access-Control-Allow-Origin") != "http://web.lan:8000" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("got %v", a.header)
	}
	a = r.want(200, "GET", "/v1/status", readKey, "", header{"Origin": "http://web.lan:8000"})
	if a.header.Get("Access-Control-Allow-Origin") == "" || a.header.Get("Vary") != "Origin" {
		t.Errorf("got %v", a.header)
	}
	r.want(403, "OPTIONS", "/v1/events", "", "", header{"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})

	plain := newRig(t, nil)
	for _, h := range []header{nil, {"Origin": "http://" + plain.addr}} {
		if a := plain.want(200, "GET", "/v1/status", readKey, "", h); a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("CORS headers without configured origins: %v", a.header)
		}
	}
}

func TestCompressedBodiesAreRefused(t *testing.T) {
	r := newRig(t, nil)
	for _, e := range []string{"gzip", "deflate", "br", "zstd", "gzip, identity"} {
		r.want(415, "POST", "/v1/events", writeKey, "\x1f\x8b", header{"Content-Encoding": e})
	}
	r.want(201, "POST", "/v1/events", writeKey, `{"name":"a","data":1}`, header{"Content-Encoding": "identity"})
}

func TestSecurityHeaders(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/", "/assets/page.js", "/v1/status", "/nothing", "/healthz"} {
		h := r.do("GET", path, "", "").header
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: got %v", path, h)
		}
	}
}

func TestClientAddressBehindProxies(t *testing.T) {
	g, err := newGate(Options{TrustedProxies: []string{"127.0.0.1", "10.0.0.0/8"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1", "1.1.1.1", "192.0.2.1"}, {"127.0.0.1", "", "127.0.0.1"}, {"127.0.0.1", "203.0.113.5", "203.0.113.5"},
		{"127.0.0.1", "6.6.6.6, 203.0.113.5, 10.1.1.1", "203.0.113.5"}, {"127.0.0.1", "garbage", "127.0.0.1"}, {"127.0.0.1", "garbage, 10.2.2.2", "10.2.2.2"},
	} {
		req := httptest.NewRequest("GET", "/", nil)
		if c.forwarded != "" {
			req.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := g.client(req, peer{addr: netip.MustParseAddr(c.peer)}); got.String() != c.want {
			t.Errorf("%s through %s: got %s, want %s", c.forwarded, c.peer, got, c.want)
		}
	}
	req := httptest.NewRequest("GET", "http://board/", nil)
	req.Header.Set("X-Forwarded-Host", "pi.example.org")
	if h := g.host(req, peer{addr: netip.MustParseAddr("192.0.2.1")}); h != "board" {
		t.Errorf("a stranger's X-Forwarded-Host is believed: %s", h)
	}
	if h := g.host(req, peer{addr: netip.MustParseAddr("10.0.0.1")}); h != "pi.example.org" {
		t.Errorf("a trusted proxy's X-Forwarded-Host is not believed: %s", h)
	}
}

func TestBasePath(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.BasePath = "/pi/" })
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if a := r.want(308, "GET", "/pi", "", ""); a.header.Get("Location") != "/pi/" {
		t.Errorf("got %v", a.header)
	}
	for path, want := range map[string]int{"/pi/": 200, "/pi/healthz": 200, "/pi/v1/status": 200, "/healthz": 200, "/pix/healthz": 404} {
		r.want(want, "GET", path, readKey, "")
	}
}
