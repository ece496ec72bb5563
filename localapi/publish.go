package localapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strconv"

	"fieldpost/edge"
)

// maxIdempotencyKey is the most bytes of an Idempotency-Key.
const maxIdempotencyKey = 255

// receiptAnswer is what a publisher gets: the numbers of its events.
type receiptAnswer []edge.Event

// AppendJSON writes {"events":[{"id","n","ring","seq"}]}.
func (a receiptAnswer) AppendJSON(dst []byte) []byte {
	if cap(dst) == 0 {
		dst = make([]byte, 0, 64+72*len(a))
	}
	dst = appendReceipts(append(dst, `{"events":`...), a)
	return append(dst, '}')
}

func appendReceipts(dst []byte, evs []edge.Event) []byte {
	dst = append(dst, '[')
	for i := range evs {
		ev := &evs[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendHex(append(dst, `{"id":"`...), ev.Epoch)
		dst = strconv.AppendUint(append(dst, '-'), ev.N, 10)
		dst = strconv.AppendUint(append(dst, `","n":`...), ev.N, 10)
		dst = append(append(dst, `,"ring":"`...), ev.Ring...) // a ring's name needs no escape
		dst = strconv.AppendUint(append(dst, `","seq":`...), ev.Seq, 10)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendHex(dst []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&15])
	}
	return dst
}

func postEvents(s *Server, r *request) (any, error) {
	lines := isLines(r.mime())
	bound := s.lim.events
	if lines {
		bound = s.lim.ndjson
	}
	body, err := r.body(bound)
	if err != nil {
		return nil, err
	}
	key, err := r.idempotency(body)
	if err != nil {
		return nil, err
	}
	p := s.publisher(r.who)
	var evs []edge.Event
	if lines {
		evs, err = p.lines(body)
	} else {
		evs, err = p.oneOrMany(body)
	}
	if err != nil {
		return nil, err
	}
	stored, err := s.Pump.Post(r.Context(), evs, key)
	if err != nil {
		return nil, notStored(err)
	}
	s.meters.published.Add(len(stored))
	return created{receiptAnswer(stored)}, nil
}

func isLines(mime string) bool {
	switch mime {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines":
		return true
	}
	return false
}

// idempotency is the request's key, within what its principal uses.
func (r *request) idempotency(body []byte) (k edge.Idempotency, err error) {
	h := r.Header.Get("Idempotency-Key")
	if h == "" {
		return k, nil
	}
	if len(h) > maxIdempotencyKey {
		return k, badRequest("Idempotency-Key: at most %d bytes", maxIdempotencyKey)
	}
	return edge.Idempotency{Key: r.who.name + "/" + h, Body: sha256.Sum256(body)}, nil
}

// publisher turns what a client sends into events that may be stored.
type publisher struct {
	s    *Server
	who  principal
	from string // the principal as author

	checked string // the ring that was last found fine
}

func (s *Server) publisher(who principal) publisher {
	return publisher{s: s, who: who, from: who.from()}
}

// lines reads NDJSON. Empty lines are skipped.
func (p *publisher) lines(body []byte) ([]edge.Event, error) {
	n := bytes.Count(body, []byte{'\n'}) + 1
	if n > p.s.lim.lines+1 { // the last may end with a newline
		return nil, tooLarge("a body may have %d lines", p.s.lim.lines)
	}
	evs := make([]edge.Event, 0, n)
	for i := 1; len(body) > 0; i++ {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(evs) >= p.s.lim.lines {
			return nil, tooLarge("a body may have %d lines", p.s.lim.lines)
		}
		if len(line) > p.s.lim.line {
			return nil, tooLarge("line %d: a line may have %d bytes", i, p.s.lim.line)
		}
		ev, err := p.input(line)
		if err != nil {
			return nil, located("line "+strconv.Itoa(i), err)
		}
		evs = append(evs, ev)
	}
	if len(evs) == 0 {
		return nil, badRequest("the body has no event")
	}
	return evs, nil
}

// oneOrMany reads one event, or an array of them.
func (p *publisher) oneOrMany(body []byte) ([]edge.Event, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, badRequest("the body has no event")
	}
	if body[0] != '[' {
		ev, err := p.input(body)
		if err != nil && bytes.Contains(body, []byte("}\n{")) {
			return nil, located("for one event a line, send Content-Type: application/x-ndjson", err)
		}
		if err != nil {
			return nil, err
		}
		return []edge.Event{ev}, nil
	}
	var evs []edge.Event
	err := scanArray(body, func(i int, value []byte) error {
		if i >= p.s.lim.lines {
			return tooLarge("an array may have %d events", p.s.lim.lines)
		}
		ev, err := p.input(value)
		if err != nil {
			return located("event "+strconv.Itoa(i), err)
		}
		evs = append(evs, ev)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(evs) == 0 {
		return nil, badRequest("the array has no event")
	}
	return evs, nil
}

// located says where in a body a problem is.
func located(where string, err error) error {
	p := *asProblem(err)
	p.Detail = where + ": " + p.Detail
	return &p
}

// input reads one event.
func (p *publisher) input(b []byte) (edge.Event, error) {
	ev, err := edge.ParseInput(b)
	if err != nil {
		return ev, inputProblem(err)
	}
	return ev, p.admit(&ev)
}

func inputProblem(err error) error {
	if errors.Is(err, edge.ErrTooBig) {
		return tooLarge("%v", err)
	}
	return badRequest("%v", err)
}

// admit decides whether a client may publish an event, and signs it.
func (p *publisher) admit(ev *edge.Event) error {
	if !p.who.sees(ev.Name) {
		return forbidden("the key %q may not publish %q", p.who.name, ev.Name)
	}
	if ev.Origin != nil && p.who.role != roleForward && p.who.role != roleAdmin {
		return forbidden("origin needs the role forward")
	}
	if ev.Origin == nil && p.s.opt.Reserved != nil && p.s.opt.Reserved(ev.Ring) {
		return forbidden("ring %q is written by the agent alone: it holds what was summed up of another", ev.Ring)
	}
	if ev.Ring != "" && ev.Ring != p.checked {
		if err := p.s.publishable(ev.Ring); err != nil {
			return err
		}
		p.checked = ev.Ring
	}
	ev.From = p.from
	return nil
}

// publishable refuses rings that are the agent's own, and more rings than a
// client should bring about.
func (s *Server) publishable(ring string) error {
	if edge.Guarded(ring) {
		return forbidden("ring %q is written by the agent alone", ring)
	}
	if !nameForm.MatchString(ring) {
		return badRequest("ring %q: use small letters, digits, - and _, at most 64", ring)
	}
	if _, ok := s.Store.Ring(ring); ok {
		return nil
	}
	if n := len(s.Store.Rings()); n >= s.lim.rings {
		return conflict("there are %d rings, which is the most that clients can bring about", n)
	}
	return nil
}
