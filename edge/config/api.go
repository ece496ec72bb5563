package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// api checks the API's section.
func (l *loader) api(a *APIConfig) {
	p := path{"api"}
	if len(a.Listen) == 1 && a.Listen[0] == "off" {
		a.Listen = nil
	}
	l.each(p.with("listen"), a.Listen, listenProblem)
	for i, addr := range a.Listen {
		if at := p.with("listen").with("[" + strconv.Itoa(i) + "]"); slices.Contains(a.Listen[:i], addr) {
			l.bad(at, at.String()+": "+quote(addr)+" is in the list twice", "keep one of them")
		}
	}
	if !filepath.IsAbs(a.Socket) {
		l.bad(p.with("socket"), "api.socket: "+quote(a.Socket)+" is not a whole path", "write it like "+systemSocket)
	}
	if a.BasePath == "/" {
		a.BasePath = ""
	}
	if b := a.BasePath; b != "" && (b[0] != '/' || strings.HasSuffix(b, "/") || strings.ContainsAny(b, "?# {}\\") || strings.Contains(b, "//")) {
		l.bad(p.with("base_path"), "api.base_path: "+quote(b)+" is no path", "write it like /pi")
	}
	l.each(p.with("hosts"), a.Hosts, hostProblem)
	l.each(p.with("origins"), a.Origins, originProblem)
	l.each(p.with("trusted_proxies"), a.TrustedProxies, proxyProblem)
	l.serverTLS(p.with("tls"), &a.TLS)
}

// each checks the items of a list.
func (l *loader) each(p path, items []string, problem func(string) (what, cure string)) {
	for i, item := range items {
		if what, cure := problem(item); what != "" {
			at := p.with("[" + strconv.Itoa(i) + "]")
			l.bad(at, at.String()+": "+quote(item)+" "+what, cure)
		}
	}
}

func listenProblem(s string) (what, cure string) {
	if s == "off" || s == "false" {
		return "can't be one of several addresses", "write  listen: off  alone"
	}
	if name, ok := strings.CutPrefix(s, "unix:"); ok {
		if filepath.IsAbs(name) {
			return "", ""
		}
		return "is not a whole path", "write it like unix:/run/fieldpost/web.sock"
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return "is a port alone", `write ":` + s + `"`
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "is no address", `write it like ":8716", "127.0.0.1:8716" or unix:PATH`
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "has no port from 0 to 65535", `write it like ":8716"`
	}
	if strings.ContainsAny(host, "/@ ") {
		return "has no host that can be listened on", `write it like ":8716"`
	}
	return "", ""
}

func hostProblem(s string) (what, cure string) {
	if s != "" && !strings.ContainsAny(s, "/@ ") && !strings.Contains(strings.Trim(s, "[]"), "://") {
		return "", ""
	}
	return "is no host name", "write it like pi.example.org"
}

func originProblem(s string) (what, cure string) {
	u, err := url.Parse(s)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Path == "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		return "", ""
	}
	return "is no origin", "write it like http://web.lan:8000, without a path"
}

func proxyProblem(s string) (what, cure string) {
	if _, err := netip.ParseAddr(s); err == nil {
		return "", ""
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return "", ""
	}
	return "is no address", "write it like 127.0.0.1 or 10.0.0.0/8"
}

// serverTLS checks what only makes sense together.
func (l *loader) serverTLS(p path, t *ServerTLS) {
	l.pair(p, t.Cert, t.Key)
	l.pem(p.with("client_ca"), t.ClientCA)
	switch {
	case t.ClientCerts != "":
		l.choice(p.with("client_certs"), t.ClientCerts, "optional", "required")
		if !l.has(p.with("client_ca")) {
			l.bad(p.with("client_certs"), p.String()+" asks for client certificates and has no client_ca", "say who signs them")
		}
	case t.ClientCA.Set():
		t.ClientCerts = "required"
	}
	if t.ClientCA.Set() && !l.has(p.with("cert")) {
		l.bad(p.with("client_ca"), p.String()+" has a client_ca and no cert of its own", "give cert and key")
	}
}

// prefix checks what stands before the topics of an uplink.
func (l *loader) prefix(p path, s string) {
	if s == "" {
		return
	}
	if strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.ContainsAny(s, "+#$\x00") || len(s) > 256 {
		l.bad(p, p.String()+": "+quote(s)+" can't stand before a topic", "write it like site7, without / at its ends and without + # $")
	}
}
