package localapi

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"fieldpost/edge"
	"fieldpost/queue"
)

// nameForm is what the names of keys, mailboxes and rings look like.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// maxPatterns and maxPattern bound a list of patterns.
const (
	maxPatterns = 64
	maxPattern  = edge.MaxName
)

// nameRule says so.
const nameRule = "use small letters, digits, - and _, at most 64"

// checkPatterns refuses what can't be a list of names.
func checkPatterns(pointer string, patterns []string) error {
	if len(patterns) > maxPatterns {
		return pointed(pointer, "at most %d patterns", maxPatterns)
	}
	for _, p := range patterns {
		if p == "" || len(p) > maxPattern || !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return pointed(pointer, "%q is not a name or pattern", p)
		}
	}
	return nil
}

// pointed is a problem with one part of a body.
func pointed(pointer, format string, args ...any) *problem {
	p := invalid(format, args...)
	p.Detail = strings.TrimPrefix(pointer, "#/") + ": " + p.Detail
	p.Errors = []fieldError{{Pointer: pointer, Detail: p.Detail}}
	return p
}

func getKeys(s *Server, _ *request) (any, error) {
	return map[string]any{"keys": s.access.keys.list()}, nil
}

// newKeyAnswer is the one time that a key is shown.
type newKeyAnswer struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Role  string   `json:"role"`
	Names []string `json:"names,omitempty"`
	Key   string   `json:"key"`
}

// keyChanges keeps changes of keys one at a time, so that a name is given once.
type keyChanges struct{ mu sync.Mutex }

func postKey(s *Server, r *request) (any, error) {
	var in struct {
		Name  string   `json:"name"`
		Role  string   `json:"role"`
		Names []string `json:"names"`
	}
	if err := r.decode(&in); err != nil {
		return nil, err
	}
	if !nameForm.MatchString(in.Name) {
		return nil, pointed("#/name", nameRule)
	}
	if _, err := parseRole(in.Role); err != nil {
		return nil, pointed("#/role", "%v", err)
	}
	if err := checkPatterns("#/names", in.Names); err != nil {
		return nil, err
	}
	if in.Names != nil && len(in.Names) == 0 {
		return nil, pointed("#/names", "an empty list sees nothing; leave it out for all names")
	}
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	if err := s.still(r.who); err != nil {
		return nil, err
	}
	return s.makeKey(r.Context(), r.who, "created", keyRow{Name: in.Name, Role: in.Role, Names: in.Names})
}

// still refuses who was let in by a key that is no more by now: a body that comes slowly
// would make a key that outlives it. The caller holds keyChanges.mu.
func (s *Server) still(who principal) error {
	if who.socket || s.access.keys.opens(who) {
		return nil
	}
	return unauthorized("the key is not known")
}

// makeKey makes the key that want describes, stores it with the event that tells
// what was done, and lets it open. The caller holds keyChanges.mu.
func (s *Server) makeKey(ctx context.Context, who principal, did string, want keyRow) (any, error) {
	all := s.access.keys.list()
	if len(all) >= s.lim.keys {
		return nil, conflict("there are %d keys, which is the most there can be; delete one first", len(all))
	}
	if slices.ContainsFunc(all, func(k keyRow) bool { return k.Name == want.Name || k.ID == want.Name }) || want.Name == "local" {
		return nil, conflict("there is a key %q; choose another name or delete it first", want.Name)
	}
	secret, row := newSecret(want.Name, want.Role, want.Names)
	value, err := json.Marshal(row)
	if err != nil {
		return nil, err
	}
	if err := s.access.audit.keys(ctx, who, did, row, queue.Row{Table: tableKeys, Key: row.ID, Value: value}); err != nil {
		return nil, err
	}
	held, _ := readKeyRow(row.ID, value)
	s.access.keys.add(held)
	s.claim.settle(s.access.keys.hasAdmin())
	return created{newKeyAnswer{row.ID, row.Name, row.Role, row.Names, secret}}, nil
}

// freeName is a name that no key has: name, or name-2 and so on.
func (s *Server) freeName(name string) string {
	free := name
	for i := 2; ; i++ {
		if _, taken := s.access.keys.get(free); !taken {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, i)
	}
}

func deleteKey(s *Server, r *request) (any, error) {
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	if err := s.still(r.who); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	row, ok := s.access.keys.get(id)
	if !ok {
		return nil, notFound("there is no key %q", id)
	}
	if row.Made == "config" {
		return nil, conflict("the key %q is in the config; take it out there", row.Name)
	}
	if err := s.access.audit.keys(r.Context(), r.who, "deleted", row, queue.Row{Table: tableKeys, Key: row.ID}); err != nil {
		return nil, err
	}
	s.access.keys.remove(row.ID)
	s.claim.settle(s.access.keys.hasAdmin())
	s.clients.endKey(row.ID)
	return none{}, nil
}
