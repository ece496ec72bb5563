package edge

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"

	"fieldpost/queue"
)

// reportRanges is how many missing ranges, and ids in conflict, a report names.
const reportRanges = 100

// Verifier proves what a receiver has: of each agent, epoch and ring, events and
// gaps together must be all that the ledger says was given. It takes about ten
// bytes of memory an event. The zero value is not ready; it is for one goroutine.
type Verifier struct {
	seed   maphash.Seed
	only   []string // rings to prove; nil: all
	epochs map[epochKey]*epochBook
	events uint64
}

type epochKey struct {
	agent string
	epoch uint32
}

// epochBook is what was received of one epoch.
type epochBook struct {
	hashes map[uint64]*[hashChunk]uint64 // by n: a hash of each event's contents; 0: not received
	rings  map[string]*ringBook
	closed bool // a later epoch is known: a ledger told the last of it
}

// hashChunk is small: numbers that lie far apart, as in a filtered stream, must
// not cost much more than their share.
const hashChunk = 64

type ringBook struct {
	received, gaps        spans
	first, last           uint64 // as ledgers told
	told                  bool
	duplicates, conflicts uint64
	conflicting           []string // the first ids of them
}

// NewVerifier makes an empty one, for the rings that the receiver was sent. With
// none named it is for all that a ledger tells of, but for guarded ones of which
// nothing was received: they are not forwarded unless they are named.
func NewVerifier(rings ...string) *Verifier {
	return &Verifier{seed: maphash.MakeSeed(), only: rings, epochs: make(map[epochKey]*epochBook)}
}

// proves reports whether the ring belongs into the report.
func (v *Verifier) proves(name string, r *ringBook) bool {
	if len(v.only) > 0 {
		return slices.Contains(v.only, name)
	}
	none := len(r.received) == 0 && len(r.gaps) == 0
	return !none || !Guarded(name) && r.last >= r.first
}

// Add takes a line that a receiver kept: an event, or an array of events. An
// empty line is nothing. A line with a fault in it adds nothing that comes after
// the fault.
func (v *Verifier) Add(line []byte) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	if line[0] != '[' {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		return v.add(&e)
	}
	var evs []Event
	if err := json.Unmarshal(line, &evs); err != nil {
		return err
	}
	for i := range evs {
		if err := v.add(&evs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v *Verifier) book(agent string, epoch uint32) *epochBook {
	k := epochKey{agent, epoch}
	b := v.epochs[k]
	if b == nil {
		b = &epochBook{hashes: make(map[uint64]*[hashChunk]uint64), rings: make(map[string]*ringBook)}
		v.epochs[k] = b
	}
	return b
}

func (b *epochBook) ring(name string) *ringBook {
	r := b.rings[name]
	if r == nil {
		r = &ringBook{}
		b.rings[name] = r
	}
	return r
}

func (v *Verifier) add(e *Event) error {
	if e.N == 0 && e.Kind == System && e.Name == "ledger" {
		return v.ledger(e) // an export ends with one, which is not stored
	}
	if e.Ring == "" || e.Seq == 0 {
		return fmt.Errorf("read event %s: it has no ring or seq", e.ID())
	}
	b := v.book(e.Agent, e.Epoch)
	r := b.ring(e.Ring)
	if e.Hole != nil {
		if e.Hole.To == ^uint64(0) {
			return fmt.Errorf("read gap %s: it has no end", e.ID())
		}
		r.gaps.add(e.Hole.From, e.Hole.To)
		return nil
	}
	if e.N == 0 || e.Seq == ^uint64(0) {
		return fmt.Errorf("read event %s: numbers begin at 1", e.ID())
	}
	v.events++
	h, err := v.hash(e)
	if err != nil {
		return fmt.Errorf("read event %s: %w", e.ID(), err)
	}
	b.receive(e, r, h)
	if e.Kind == System && e.Name == "ledger" && e.Origin == nil {
		return v.ledger(e)
	}
	return nil
}

// receive counts an event with the hash h of its contents.
func (b *epochBook) receive(e *Event, r *ringBook, h uint64) {
	chunk := b.hashes[e.N/hashChunk]
	if chunk == nil {
		chunk = new([hashChunk]uint64)
		b.hashes[e.N/hashChunk] = chunk
	}
	switch old := &chunk[e.N%hashChunk]; {
	case *old == h:
		r.duplicates++
	case *old != 0:
		r.conflict(e) // one id with two contents
	default:
		*old = h
		if r.received.add(e.Seq, e.Seq) {
			r.conflict(e) // one seq with two ids
		}
	}
}

func (r *ringBook) conflict(e *Event) {
	if r.conflicts++; len(r.conflicting) < reportRanges {
		r.conflicting = append(r.conflicting, e.ID())
	}
}

// hash is of what must be the same each time that an event is received: not of
// time, clock and bound, which are worked out on reading. It is never 0.
func (v *Verifier) hash(e *Event) (uint64, error) {
	var h maphash.Hash
	h.SetSeed(v.seed)
	var b [8]byte
	text := func(s string) {
		binary.LittleEndian.PutUint64(b[:], uint64(len(s)))
		h.Write(b[:])
		h.WriteString(s)
	}
	text(e.Ring)
	binary.LittleEndian.PutUint64(b[:], e.Seq)
	h.Write(b[:])
	text(e.Name)
	text(string(e.Kind))
	text(e.Boot)
	binary.LittleEndian.PutUint64(b[:], uint64(e.Mono))
	h.Write(b[:])
	text(e.From)
	text(e.Cause)
	if e.Origin != nil {
		h.Write(e.Origin.appendJSON(nil))
	}
	data, err := canonical(e.Data)
	if err != nil {
		return 0, err
	}
	h.Write(data)
	return max(h.Sum64(), 1), nil
}

// canonical is data with the keys of its objects in order and no white space: a
// receiver may keep events in a form of its own.
func canonical(data json.RawMessage) ([]byte, error) {
	if len(data) == 0 || data[0] != '{' && data[0] != '[' {
		return data, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// saw reports whether anything of an epoch was received.
func (v *Verifier) saw(agent, epoch string) bool {
	id, ok := hex32(epoch)
	return ok && v.epochs[epochKey{agent, id}] != nil
}

// ledger takes what a ledger event tells.
func (v *Verifier) ledger(e *Event) error {
	var d ledgerData
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return fmt.Errorf("read ledger %s: %w", e.ID(), err)
	}
	tell := func(d *ledgerData, closed bool) error {
		epoch, ok := hex32(d.Epoch)
		if !ok {
			return fmt.Errorf("read ledger %s: epoch %q", e.ID(), clip(d.Epoch))
		}
		b := v.book(e.Agent, epoch)
		b.closed = b.closed || closed
		for name, s := range d.Rings {
			if s.First == 0 || s.Last == ^uint64(0) {
				return fmt.Errorf("read ledger %s: ring %q", e.ID(), clip(name))
			}
			b.ring(name).tell(s)
		}
		return nil
	}
	// Of epochs before the first that it saw, a receiver need not prove anything.
	seen := len(d.Before)
	for seen > 0 && !v.saw(e.Agent, d.Before[seen-1].Epoch) {
		seen--
	}
	for i := range d.Before[:seen] {
		if err := tell(&d.Before[i], true); err != nil {
			return err
		}
	}
	return tell(&d, false)
}

func (r *ringBook) tell(s ledgerSpan) {
	if !r.told || s.First < r.first {
		r.first = s.First
	}
	r.last = max(r.last, s.Last)
	r.told = true
}

// RingReport is what was found of one ring in one epoch.
type RingReport struct {
	Agent      string        `json:"agent"`
	Epoch      string        `json:"epoch"`
	Ring       string        `json:"ring"`
	First      uint64        `json:"first"`
	Last       uint64        `json:"last"`
	Received   uint64        `json:"received"`             // seqs with an event
	Gaps       uint64        `json:"gaps"`                 // seqs that only a gap tells of
	Missing    uint64        `json:"missing"`              // seqs with neither
	Ranges     []queue.Range `json:"ranges,omitempty"`     // the first 100 that are missing
	Duplicates uint64        `json:"duplicates,omitempty"` // received again, the same
	Conflicts  uint64        `json:"conflicts,omitempty"`  // one id with two contents, or one seq with two ids
	IDs        []string      `json:"ids,omitempty"`        // the first 100 ids in conflict
	Ledger     bool          `json:"ledger"`               // a ledger told of it
	Closed     bool          `json:"closed"`               // told by a ledger, nothing missing, no conflict
}

// VerifyReport is what was found in all.
type VerifyReport struct {
	Rings      []RingReport `json:"rings"` // by agent, epoch and ring
	Events     uint64       `json:"events"`
	Missing    uint64       `json:"missing"`
	Duplicates uint64       `json:"duplicates"`
	Conflicts  uint64       `json:"conflicts"`
	Closed     bool         `json:"closed"` // each ring is, and there is one
}

// Report is the proof as of now.
func (v *Verifier) Report() VerifyReport {
	out := VerifyReport{Rings: []RingReport{}, Events: v.events}
	for k, b := range v.epochs {
		for name, r := range b.rings {
			if !v.proves(name, r) {
				continue
			}
			rep := r.report(b.closed)
			rep.Agent, rep.Epoch, rep.Ring = k.agent, string(appendHex32(nil, k.epoch)), name
			out.Rings = append(out.Rings, rep)
		}
	}
	slices.SortFunc(out.Rings, func(a, b RingReport) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Ring, b.Ring))
	})
	out.Closed = len(out.Rings) > 0
	for _, r := range out.Rings {
		out.Missing += r.Missing
		out.Duplicates += r.Duplicates
		out.Conflicts += r.Conflicts
		out.Closed = out.Closed && r.Closed
	}
	return out
}

// report closes a ring: what was given is what a ledger told, and in a running
// epoch also what came after the last ledger.
func (r *ringBook) report(closed bool) RingReport {
	first, last := r.first, r.last
	if !r.told { // then nothing is proven: what was seen is all there is to go by
		first = min(r.received.low(), r.gaps.low())
	}
	if !closed || !r.told {
		for _, s := range []spans{r.received, r.gaps} {
			if n := len(s); n > 0 {
				last = max(last, s[n-1].To)
			}
		}
	}
	rep := RingReport{
		First: first, Last: last, Received: r.received.count(), Gaps: r.gaps.without(r.received),
		Duplicates: r.duplicates, Conflicts: r.conflicts, IDs: slices.Clone(r.conflicting), Ledger: r.told,
	}
	rep.Missing, rep.Ranges = missing(first, last, r.received, r.gaps, reportRanges)
	rep.Closed = r.told && rep.Missing == 0 && r.conflicts == 0
	return rep
}
