package localapi

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	claimDigits = 8           // of a code: 26 bits
	claimTries  = 10          // wrong codes until there is a new one
	claimPause  = time.Minute // and nobody may try it
)

// claim is how the first person gets in. There is no default password: an agent
// without an admin key has a code, which only the board itself shows, and whoever
// sends it gets an admin key. From then on the agent is claimed, and has no code.
//
// The code is in a file, so that it stays what the package printed through a
// restart. It is taken off the disk before the key is stored: a power cut between
// the two leaves an agent with a new code, never one whose code counts twice. What
// no disk takes is kept in memory, where it counts until the process ends.
//
// The server's keyChanges.mu covers all but file and now, which do not change, and open,
// which is looked at while a flush holds that.
type claim struct {
	file string // "": this agent needs no claim
	now  func() time.Time
	log  *slog.Logger

	code  string // digits; "" while the agent is claimed
	wrong int    // codes that were tried since it was made
	until time.Time

	open atomic.Pointer[time.Time] // until then the button lets the next one in without a code; nil: not at all
}

// newClaim goes on with the code of the file, or makes one. An agent that is
// claimed has none.
func newClaim(opt Options, claimed bool) *claim {
	c := &claim{file: opt.ClaimFile, now: opt.now, log: opt.Log}
	if c.now == nil {
		c.now = time.Now
	}
	if c.file == "" {
		return c
	}
	if claimed {
		c.end() // what a power cut may have left
		return c
	}
	if err := c.load(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("the claim code changes", "err", err)
		}
		c.renew()
	}
	return c
}

// settle lets an agent that is claimed have no code, and any other have one.
func (c *claim) settle(claimed bool) {
	switch {
	case c.file == "" || claimed == (c.code == ""):
	case !claimed:
		c.wrong = 0
		c.renew()
	default:
		c.end()
	}
}

// end leaves no code.
func (c *claim) end() {
	c.code, c.wrong = "", 0
	c.open.Store(nil)
	if err := c.takeAway(); err != nil {
		c.log.Error("a claim code that is worth nothing stays on the disk", "err", err)
	}
}

// renew makes another code. The old one is worth nothing from here on.
func (c *claim) renew() {
	n, _ := rand.Int(rand.Reader, big.NewInt(100_000_000)) // never fails: crypto/rand ends the program instead
	c.code = n.String()
	c.code = strings.Repeat("0", claimDigits-len(c.code)) + c.code
	c.keep()
}

// keep writes the code to the disk.
func (c *claim) keep() {
	if err := c.save(); err != nil {
		c.log.Error("keep the claim code: it changes with the next start", "err", err)
	}
}

// shown is the code as people read it.
func (c *claim) shown() string {
	if c.code == "" {
		return ""
	}
	return c.code[:claimDigits/2] + "-" + c.code[claimDigits/2:]
}

// pause is how long no code is looked at.
func (c *claim) pause() time.Duration { return max(0, c.until.Sub(c.now())) }

// check refuses a code that is not the right one. The last of the tries makes a
// new code, and a pause: 10 of 100 million a minute are all that anyone gets,
// however many addresses they come from.
func (c *claim) check(code string) error {
	code, ok := claimCode(code)
	if !ok {
		return pointed("#/code", "it is %d digits, such as 4821-7735", claimDigits)
	}
	if wait := c.pause(); wait > 0 {
		return paused(wait, "too many wrong codes were tried: there is a new one, which counts after a while")
	}
	if subtle.ConstantTimeCompare([]byte(code), []byte(c.code)) == 1 {
		return nil
	}
	if c.wrong >= claimTries {
		c.wrong = 0 // the pause is over
	}
	if c.wrong++; c.wrong < claimTries {
		c.note()
		return newProblem(http.StatusForbidden, "wrong-code", "Wrong claim code", `this is not the code; "sudo fieldpost claim" on the board shows it`)
	}
	c.until = c.now().Add(claimPause)
	c.renew()
	return paused(claimPause, "this is not the code, once too often: there is a new one")
}

func paused(wait time.Duration, why string) *problem {
	return newProblem(http.StatusTooManyRequests, "backoff", "Too many wrong claim codes", `%s; "sudo fieldpost claim" on the board shows it`, why).after(wait)
}

// claimCode is a code without what people put between its digits.
func claimCode(text string) (string, bool) {
	text = strings.NewReplacer("-", "", " ", "").Replace(text)
	if len(text) != claimDigits || strings.Trim(text, "0123456789") != "" {
		return "", false
	}
	return text, true
}

// claimed reports whether strangers have nothing to claim: there is an admin's
// key, in the config or the store.
func (s *Server) claimed() bool { return s.claim.file == "" || s.access.keys.hasAdmin() }

// claimAnswer is what the board may know of the claim.
type claimAnswer struct {
	Claimed bool    `json:"claimed"`
	Code    string  `json:"code,omitempty"`
	Wait    float64 `json:"wait,omitempty"`  // seconds in which no code is taken
	Open    float64 `json:"open,omitempty"`  // seconds for which it takes no code, since the button was held
	Panel   string  `json:"panel,omitempty"` // its address; "" where there is no TCP listener
}

func getClaim(s *Server, _ *request) (any, error) {
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	a := claimAnswer{Claimed: s.claimed(), Panel: s.panel()}
	if !a.Claimed {
		a.Code, a.Wait, a.Open = s.claim.shown(), s.claim.pause().Seconds(), s.claim.openFor().Seconds()
	}
	return a, nil
}

// postClaim gives an admin key for the code, or for none while the agent's button has
// opened the claim. Of two who send it one gets the key.
func postClaim(s *Server, r *request) (any, error) {
	var in struct {
		Code string `json:"code"`
		Name string `json:"name"`
	}
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	if in.Name != "" && !nameForm.MatchString(in.Name) {
		return nil, pointed("#/name", nameRule)
	}
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	if s.claimed() {
		return nil, conflict(`this agent is claimed; "sudo fieldpost keys create --name N --role admin" on the board makes a key`)
	}
	if in.Name == "" {
		in.Name = s.freeName("panel")
	}
	if in.Code == "" {
		if err := s.withoutCode(r); err != nil {
			return nil, err
		}
		return s.spend(r, in.Name, "claimed without a code")
	}
	had := s.claim.code
	if err := s.claim.check(in.Code); err != nil {
		if asProblem(err).Status != http.StatusUnprocessableEntity {
			s.access.audit.refused(r.who.addr, "wrong claim code")
		}
		if s.claim.code != had {
			s.access.audit.newCode()
		}
		return nil, err
	}
	return s.spend(r, in.Name, "claimed")
}

// spend makes the key that the code stands for, and tells how it was got.
func (s *Server) spend(r *request, name, did string) (any, error) {
	if err := s.claim.takeAway(); err != nil {
		return nil, notStored(err)
	}
	a, err := s.makeKey(r.Context(), r.who, did, keyRow{Name: name, Role: roleAdmin.String()})
	if err != nil {
		s.claim.keep()
		return nil, err
	}
	s.log.Info("the agent was "+did, "key", name, "address", r.who.address())
	return a, nil
}

// unclaimed tells strangers of an agent that nobody has claimed what to do about
// it. Other errors, and those of one that is claimed, stay as they are.
func (s *Server) unclaimed(r *http.Request, err error) error {
	var p *problem
	if !errors.As(err, &p) || p.Status != http.StatusUnauthorized || s.claimed() {
		return err
	}
	slug := "unclaimed"
	if s.claim.openFor() > 0 && s.near(r) == nil {
		slug = "claim-open" // the page then asks for no code
	}
	u := newProblem(p.Status, slug, "This agent is not claimed yet", `%s; nobody has claimed this agent yet: its page takes the code that "sudo fieldpost claim" on the board shows`, p.Detail)
	u.header = p.header
	return u
}
