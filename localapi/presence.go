package localapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// claimOpen is how long the agent's button opens the claim for.
const claimOpen = 2 * time.Minute

// fromButton is who does what the agent's button says.
const fromButton = "system:button"

// Condition is how the agent is, for its light.
type Condition struct {
	Degraded bool // the status has a problem other than an uplink that is down
	Backlog  bool // an uplink has events to send and no connection
	Claimed  bool
	Open     bool // the claim is open without a code
}

// Condition looks at what the status looks at. It does not wait for a disk or a peer.
func (s *Server) Condition() Condition {
	c := Condition{Claimed: s.claimed(), Open: s.claim.openFor() > 0}
	c.Degraded = len(s.storeProblems()) > 0 || len(s.ownProblems(principal{role: roleAdmin})) > 0
	for _, u := range s.uplinks() {
		if u.State != "up" && u.Backlog > 0 {
			c.Backlog = true
		}
	}
	return c
}

// openFor is for how long yet the next of the LAN gets the key without a code.
func (c *claim) openFor() time.Duration {
	until := c.open.Load()
	if until == nil {
		return 0
	}
	return max(0, until.Sub(c.now()))
}

// OpenClaim lets the next client of the LAN claim the agent without its code, for two
// minutes: who holds the agent's button has the board. It ends with the claim, and with
// the process. The error says why there is nothing to open.
func (s *Server) OpenClaim() error {
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	if s.claim.file == "" {
		return errors.New("this agent needs no claim")
	}
	if s.claimed() {
		s.Pump.Emit(auditEvent("claim", fromButton, map[string]string{"did": "nothing", "why": "the agent is claimed"}), nil)
		return errors.New(`the agent is claimed; held for longer the button forgets who has access`)
	}
	until := s.claim.now().Add(claimOpen)
	s.claim.open.Store(&until)
	s.Pump.Emit(auditEvent("claim", fromButton, map[string]any{"did": "opened", "seconds": claimOpen.Seconds()}), nil)
	return nil
}

// Forgotten is what ForgetAccess did.
type Forgotten struct {
	Deleted int      // keys
	Kept    []string // the names of those that the config has
	Claimed bool     // the config has an admin's key: there is no code
}

// ForgetAccess deletes every key that was made through the API, ends what was opened
// with them, and makes another claim code. Keys of the config stay, as do events, devices
// and the config itself. It waits for the flush, also where ctx ends before it: with an
// error no key is deleted.
func (s *Server) ForgetAccess(ctx context.Context) (Forgotten, error) {
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	var gone []string
	var rows []queue.Row
	f := Forgotten{Kept: []string{}}
	for _, k := range s.access.keys.list() {
		if k.Made == "config" {
			f.Kept = append(f.Kept, k.Name)
			continue
		}
		gone = append(gone, k.ID)
		rows = append(rows, queue.Row{Table: tableKeys, Key: k.ID})
	}
	f.Deleted = len(gone)
	ev := auditEvent("keys", fromButton, map[string]any{"did": "forgotten", "deleted": f.Deleted, "kept": f.Kept})
	if _, err := s.Pump.CommitWith(context.WithoutCancel(ctx), []edge.Event{ev}, rows); err != nil {
		return Forgotten{}, notStored(err)
	}
	for _, id := range gone {
		s.access.keys.remove(id)
		s.clients.endKey(id)
	}
	f.Claimed = s.claimed()
	s.claim.open.Store(nil)
	if !f.Claimed {
		s.claim.wrong = 0
		s.claim.renew()
	}
	return f, nil
}

// withoutCode refuses a claim that brings no code, unless the button has opened it for
// the LAN that the client is in. The caller holds keyChanges.mu.
func (s *Server) withoutCode(r *request) error {
	if s.claim.openFor() == 0 {
		return pointed("#/code", "it is %d digits, such as 4821-7735; without one the agent's button has to be held first", claimDigits)
	}
	err := s.near(r.Request)
	if err != nil {
		s.access.audit.refused(r.who.addr, "claim from outside the LAN")
	}
	return err
}

// near refuses who is no client of the LAN: by its own address, without a page of another
// origin or a proxy that does not say who asks in between.
func (s *Server) near(r *http.Request) error {
	p, gate := peerOf(r.Context()), s.front.Load().gate
	switch addr := gate.client(r, p); {
	case p.admin: // it is on the board
		return nil
	case !gate.ownPage(r):
		return forbidden("a page of another origin claims with the code alone")
	case !gate.knowsClient(r):
		return notLocal("the proxy in front does not say who asks (api.trusted_proxies, X-Forwarded-For): through it a claim takes the code")
	case !ofTheLAN(addr):
		return notLocal(addr.String() + " is not in the agent's LAN: from there a claim takes the code")
	}
	return nil
}

func notLocal(why string) error {
	return newProblem(http.StatusForbidden, "not-local", "Not in the LAN", "%s", why)
}

// ofTheLAN reports whether an address is near: a private one, or in a network that the
// board itself is in.
func ofTheLAN(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return false
	}
	if addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Masked().Contains(addr) {
			return true
		}
	}
	return false
}
