package localapi

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"fieldpost/edge"
)

// subprotocolKey is how a page gives its key for a WebSocket, where browsers
// let it set no header: ["fieldpost", "fieldpost.key.<KEY>"].
const (
	subprotocol    = "fieldpost"
	subprotocolKey = "fieldpost.key."
)

// access says who asks.
type access struct {
	keys    *keyring
	backoff *backoff
	audit   *audit
}

// principal finds out who makes a request. A request without a key is anyone's;
// one with a wrong key is refused, whatever the route asks for.
func (a *access) principal(r *http.Request, p peer, addr netip.Addr) (principal, error) {
	if p.admin {
		return principal{name: "local", role: roleAdmin, socket: true}, nil
	}
	presented, ok := presentedKey(r)
	if !ok {
		return anyone(addr), nil
	}
	if wait := a.backoff.wait(addr, time.Now()); wait > 0 {
		return principal{}, newProblem(http.StatusTooManyRequests, "backoff", "Too many wrong keys", "keys from %s are not looked at for a while", addr).after(wait)
	}
	who, ok := a.keys.find(presented)
	if !ok {
		a.backoff.wrong(addr, time.Now())
		a.audit.refused(addr, "wrong key")
		return principal{}, unauthorized("the key is not known")
	}
	a.backoff.right(addr)
	who.addr = addr
	return who, nil
}

// anyone is who shows no key.
func anyone(addr netip.Addr) principal {
	return principal{name: "anonymous", role: roleNone, addr: addr}
}

// enter makes a place for a stream or socket. Its key may have been deleted, or be
// another by a reload, since it was looked at: then what the deletion ended did not have this one in it yet.
func (s *Server) enter(ctx context.Context, kind string, who principal) (context.Context, *client, error) {
	ctx, me, err := s.clients.enter(ctx, kind, who)
	if err != nil {
		return nil, nil, err
	}
	if !who.socket && !s.access.keys.opens(who) {
		s.clients.leave(me)
		return nil, nil, unauthorized("the key is not known")
	}
	return ctx, me, nil
}

// unauthorized asks for a key.
func unauthorized(detail string) error {
	p := newProblem(http.StatusUnauthorized, "unauthorized", "A key is needed", "%s", detail)
	p.header = http.Header{"Www-Authenticate": {"Bearer"}}
	return p
}

// presentedKey is the key that a request carries, and whether it carries one.
func presentedKey(r *http.Request) (string, bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, key, _ := strings.Cut(h, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(key), true
		}
		return "", true // another scheme: a key that is not known
	}
	if v := r.Header.Values("X-API-Key"); len(v) > 0 {
		return v[0], true
	}
	for _, h := range r.Header.Values("Sec-WebSocket-Protocol") {
		for _, p := range strings.Split(h, ",") {
			if key, ok := strings.CutPrefix(strings.TrimSpace(p), subprotocolKey); ok {
				return key, true
			}
		}
	}
	return "", false
}

// allow checks a principal against a route's row.
func allow(who principal, rt route, r *http.Request) error {
	if rt.role == roleNone {
		return nil
	}
	if who.role == roleNone {
		return unauthorized("send Authorization: Bearer KEY, or X-API-Key; fieldpost keys create makes one")
	}
	if !who.role.allows(rt.role) {
		return forbidden("this needs the role %s, and the key %q has %s", rt.role, who.name, who.role)
	}
	if who.names == nil {
		return nil
	}
	switch rt.scope {
	case scopeWhole:
		return forbidden("the key %q is bounded to names, and this is about the whole agent", who.name)
	case scopeDevice:
		if name := r.PathValue("name"); !who.sees(name) {
			return notFound("device %q: %v", name, edge.ErrNoDevice)
		}
	}
	return nil
}
