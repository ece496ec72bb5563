package localapi

import (
	"context"
	"crypto/tls"
	"errors"
)

// front is what a connection meets first. A reload puts another in its place.
type front struct {
	gate *gate
	tls  *tls.Config // nil: plain
}

func newFront(opt Options) (*front, error) {
	g, err := newGate(opt)
	if err != nil {
		return nil, err
	}
	f := &front{gate: g}
	if opt.TLS != nil {
		f.tls = opt.TLS.Clone()
		f.tls.NextProtos = []string{"http/1.1"} // WebSocket needs it
	}
	return f, nil
}

// Prepare checks other options for a server that runs: Hosts, Origins, TrustedProxies,
// TLS (with or without it as before), Keys and Mailboxes; all else stays. It reads the
// secrets of the keys, and changes nothing. What it gives puts them in force: streams
// of keys that are no more end. Its error is that mailboxes are not stored yet; that
// is tried again with the next start.
func (s *Server) Prepare(opt Options) (apply func(context.Context) error, err error) {
	opt.Hostname = s.opt.Hostname
	f, err := newFront(opt)
	if err != nil {
		return nil, err
	}
	if (f.tls == nil) != (s.opt.TLS == nil) {
		return nil, errors.New("a listener can't begin or end to speak TLS")
	}
	given, err := givenKeys(opt.Keys)
	if err != nil {
		return nil, err
	}
	if err := checkGivenBoxes(opt.Mailboxes, s.lim.mailboxes); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		s.front.Store(f)
		s.giveKeys(given)
		return s.boxes.give(ctx, opt.Mailboxes)
	}, nil
}

// giveKeys puts other keys in the place of the config's.
func (s *Server) giveKeys(given []heldKey) {
	s.keyChanges.mu.Lock()
	defer s.keyChanges.mu.Unlock()
	ended := s.access.keys.give(given)
	s.claim.settle(s.access.keys.hasAdmin())
	for _, id := range ended {
		s.clients.endKey(id)
	}
}
