package localapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"slices"
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
// is tried again with the next call, and the next start.
// changed are "keys" and "api.tls", where those have other secrets or another
// certificate: a config may name them as before.
func (s *Server) Prepare(opt Options) (apply func(context.Context) error, changed []string, err error) {
	opt.Hostname = s.opt.Hostname
	f, err := newFront(opt)
	if err != nil {
		return nil, nil, err
	}
	if (f.tls == nil) != (s.opt.TLS == nil) {
		return nil, nil, errors.New("a listener can't begin or end to speak TLS")
	}
	given, err := givenKeys(opt.Keys)
	if err != nil {
		return nil, nil, err
	}
	if err := checkGivenBoxes(opt.Mailboxes, s.lim.mailboxes); err != nil {
		return nil, nil, err
	}
	if s.access.keys.differs(given) {
		changed = append(changed, "keys")
	}
	if f.tls != nil && !sameCertificates(s.front.Load().tls, f.tls) {
		changed = append(changed, "api.tls")
	}
	return func(ctx context.Context) error {
		s.front.Store(f)
		s.giveKeys(given)
		return s.boxes.give(ctx, opt.Mailboxes)
	}, changed, nil
}

// sameCertificates reports whether two configs show the same.
func sameCertificates(a, b *tls.Config) bool {
	return slices.EqualFunc(a.Certificates, b.Certificates, func(x, y tls.Certificate) bool {
		return slices.EqualFunc(x.Certificate, y.Certificate, bytes.Equal)
	})
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
