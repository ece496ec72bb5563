package localapi

import (
	"crypto/sha256"
	"fmt"
	"net/netip"

	"fieldpost/edge"
)

// role says what kind of thing a principal may do.
type role uint8

const (
	roleNone    role = iota // anyone, without a key
	roleRead                // read what is not guarded
	roleWrite               // and publish, command, and keep mailboxes
	roleForward             // write, and say where an event was born
	roleAdmin               // everything
)

// roleNames are the roles that a key may have.
func roleNames() map[string]role {
	return map[string]role{"read": roleRead, "write": roleWrite, "forward": roleForward, "admin": roleAdmin}
}

func parseRole(text string) (role, error) {
	if r, ok := roleNames()[text]; ok {
		return r, nil
	}
	return 0, fmt.Errorf("role %q is not known: use read, write, forward or admin", text)
}

func (r role) String() string {
	for name, v := range roleNames() {
		if v == r {
			return name
		}
	}
	return "none"
}

// allows reports whether a principal of role r may use a route that needs need.
func (r role) allows(need role) bool { return r >= need }

// principal is who asks.
type principal struct {
	id     string // of the key; "" for the socket
	name   string
	role   role
	names  []string // patterns that bound it; nil: all names
	socket bool
	addr   netip.Addr        // invalid on a Unix socket
	hash   [sha256.Size]byte // of the key
}

// sees reports whether a name is within the principal's scope.
func (p principal) sees(name string) bool {
	if p.names == nil {
		return true
	}
	for _, pattern := range p.names {
		if edge.MatchName(pattern, name) {
			return true
		}
	}
	return false
}

// from is the principal as an event's author.
func (p principal) from() string { return "client:" + p.name }

// address is where the principal is, for people.
func (p principal) address() string {
	if p.socket || !p.addr.IsValid() {
		return "socket"
	}
	return p.addr.String()
}

// mayRead tells why a principal may not read a ring, or nil.
func (p principal) mayRead(ring string) error {
	if edge.Guarded(ring) && !p.role.allows(roleAdmin) {
		return forbidden("ring %q needs the role admin", ring)
	}
	return nil
}
