package localapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// gate is what every request passes before its route is looked at: the Host that
// it came for, the page that it came from, and the form of its body. An upgrade
// to WebSocket is a request like any other here.
type gate struct {
	hosts   map[string]bool // names, lower case, without port
	origins map[string]bool // "scheme://host[:port]", lower case
	proxies []netip.Prefix
}

func newGate(opt Options) (*gate, error) {
	g := &gate{hosts: map[string]bool{"localhost": true}, origins: map[string]bool{}}
	for _, h := range append([]string{opt.Hostname}, opt.Hosts...) {
		if h = strings.ToLower(strings.TrimSuffix(h, ".")); h != "" {
			g.hosts[h] = true
		}
	}
	if h := strings.ToLower(opt.Hostname); h != "" && !strings.Contains(h, ".") {
		g.hosts[h+".local"] = true
	}
	for _, o := range opt.Origins {
		u, err := url.Parse(strings.ToLower(o))
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
			return nil, invalid("origin %q: use the form http://host:port", o)
		}
		g.origins[u.Scheme+"://"+u.Host] = true
	}
	for _, p := range opt.TrustedProxies {
		prefix, err := parsePrefix(p)
		if err != nil {
			return nil, invalid("trusted proxy %q: use an address or a prefix such as 10.0.0.0/8", p)
		}
		g.proxies = append(g.proxies, prefix)
	}
	return g, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
}

// proxy reports whether a peer is a proxy whose X-Forwarded headers are believed.
// Another process on a Unix socket that is not the command line's is one.
func (g *gate) proxy(p peer) bool {
	if p.unix {
		return true
	}
	return g.trusts(p.addr)
}

func (g *gate) trusts(a netip.Addr) bool {
	for _, prefix := range g.proxies {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// client is the address that a request comes from: the peer's, or, behind
// proxies that are trusted, the last one that is not.
func (g *gate) client(r *http.Request, p peer) netip.Addr {
	if !g.proxy(p) {
		return p.addr
	}
	addr := p.addr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		addr = a.Unmap().WithZone("")
		if !g.trusts(addr) {
			return addr
		}
	}
	return addr
}

// knowsClient reports whether client's answer is a client: it is not where a proxy that
// is trusted names nobody, nor where one that is not trusted stands in between.
func (g *gate) knowsClient(r *http.Request) bool {
	p := peerOf(r.Context())
	if g.proxy(p) {
		addr := g.client(r, p)
		return addr.IsValid() && !g.trusts(addr)
	}
	return r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}

// ownPage reports whether a request comes from the agent's own page, or from no page.
func (g *gate) ownPage(r *http.Request) bool {
	o := r.Header.Get("Origin")
	return o == "" || g.sameOrigin(o, g.host(r, peerOf(r.Context())))
}

// host is the Host that a request was made for.
func (g *gate) host(r *http.Request, p peer) string {
	if f := r.Header.Get("X-Forwarded-Host"); f != "" && g.proxy(p) {
		first, _, _ := strings.Cut(f, ",")
		return strings.TrimSpace(first)
	}
	return r.Host
}

// check refuses what must not come further. The command line's socket is beyond
// the reach of browsers: neither Host nor Origin means anything there.
func (g *gate) check(r *http.Request, p peer) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return newProblem(http.StatusUnsupportedMediaType, "compressed", "Compressed bodies are not taken", "send the body without Content-Encoding %q", e)
	}
	if p.admin {
		return nil
	}
	host := g.host(r, p)
	if !g.knownHost(host) {
		return newProblem(http.StatusMisdirectedRequest, "unknown-host", "Unknown host", "this agent is not %q; add the name to api.hosts if it is meant to be", host)
	}
	if o := r.Header.Get("Origin"); o != "" {
		if !g.sameOrigin(o, host) && !g.allowed(o) {
			return forbidden("pages of %q may not use this agent; add the origin to api.origins if they are meant to", o)
		}
		return nil
	}
	// Browsers that leave Origin out still say here where a request comes from. A
	// link from elsewhere is fine, a change or an upgrade is not.
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" && (unsafe(r.Method) || r.Header.Get("Upgrade") != "") {
		return forbidden("a page of another site may not do this")
	}
	return nil
}

func unsafe(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// knownHost reports whether a Host header names this agent. An address always
// does: DNS rebinding needs a name.
func (g *gate) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if g.hosts[name] {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	return err == nil
}

// sameOrigin compares without the scheme, which a proxy may have changed.
func (g *gate) sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func (g *gate) allowed(origin string) bool { return g.origins[strings.ToLower(origin)] }

// cors lets pages of the configured origins read the answer, and reports whether
// the request was only a question for that.
func (g *gate) cors(w http.ResponseWriter, r *http.Request) (preflight bool) {
	if len(g.origins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	o := r.Header.Get("Origin")
	if o == "" || !g.allowed(o) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", o)
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, Idempotency-Key, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	return true
}
