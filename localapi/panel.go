package localapi

import (
	"net"
	"net/netip"
	"strings"
)

// panel is where a browser of the LAN finds the page: the first TCP listener, by
// the machine's name in the LAN where it is on all addresses. It is "" without one.
func (s *Server) panel() string {
	scheme, usual := "http", "80"
	if s.opt.TLS != nil {
		scheme, usual = "https", "443"
	}
	for _, a := range s.listening {
		host, port, err := net.SplitHostPort(a.String())
		if err != nil || !strings.HasPrefix(a.Network(), "tcp") {
			continue
		}
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			host = lanName(s.opt.Hostname)
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if port != usual {
			host += ":" + port
		}
		return scheme + "://" + host
	}
	return ""
}

// lanName is what a machine is called in its LAN: mDNS has names without a domain
// under .local.
func lanName(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case host == "":
		return "localhost"
	case host == "localhost", strings.Contains(host, "."):
		return host
	}
	return host + ".local"
}
