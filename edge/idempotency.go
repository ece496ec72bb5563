package edge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"

	"fieldpost/queue"
)

// Idempotency names a call, so that its repeat gets the first one's answer and
// stores nothing. The last 100,000 keys are remembered, for 24 h of uptime.
type Idempotency struct {
	Key  string   // "" for none; the caller puts the principal in it
	Body [32]byte // a hash of the call's body
}

const (
	// tableKeys has a row a key. Its value begins with the highest n it tells of,
	// so that the store can cut it with a lost tail.
	tableKeys = "idempotency"

	maxKeys  = 100_000
	keepKeys = day
	dropKeys = 8 // old ones that are dropped with each new one

	keyedVersion = 1
)

// idemKey is a hash of the key: rows of one size, whatever a client sends.
type idemKey [16]byte

func (k idemKey) row() string { return hex.EncodeToString(k[:]) }

// keyedCall is a running call with a key.
type keyedCall struct {
	key  idemKey
	body [32]byte
}

func newKeyedCall(id Idempotency) *keyedCall {
	sum := sha256.Sum256([]byte(id.Key))
	return &keyedCall{key: idemKey(sum[:16]), body: id.Body}
}

// keyring is the keys that are remembered, oldest first, and those in use.
type keyring struct {
	mu      sync.Mutex
	running map[idemKey]bool

	// Of who holds Pump.flusher.
	order []agedKey
}

type agedKey struct {
	key idemKey
	n   uint64
	st  queue.Stamp
}

// begin marks a call as running, or gives what it was answered before.
func (k *keyring) begin(call *keyedCall, s appender, c *Clock) (*answer, error) {
	k.mu.Lock()
	busy := k.running[call.key]
	if !busy {
		k.running[call.key] = true
	}
	k.mu.Unlock()
	if busy {
		return nil, ErrKeyRunning
	}
	// Looked up after it was marked: a call that ends in between has its row by then.
	value, ok := s.Get(tableKeys, call.key.row())
	if !ok {
		return nil, nil
	}
	old, ok := parseAnswer(value)
	if !ok || c.uptime(old.st) >= keepKeys {
		return nil, nil
	}
	k.end(call)
	if !bytes.Equal(old.body[:], call.body[:]) {
		return nil, ErrKeyReused
	}
	return old, nil
}

// end lets the key be used again; call may be nil.
func (k *keyring) end(call *keyedCall) {
	if call == nil {
		return
	}
	k.mu.Lock()
	delete(k.running, call.key)
	k.mu.Unlock()
}

func (k *keyring) runs(key idemKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running[key]
}

// load reads the keys that the store remembers, but for those of n from since on: who
// stored them has them. It stops when ctx is done. A large table takes seconds on a
// slow card, so nothing waits for it.
func (k *keyring) load(ctx context.Context, s appender, since uint64) (order []agedKey, err error) {
	err = s.Each(tableKeys, "", func(key string, value []byte) bool {
		raw, err := hex.DecodeString(key)
		a, ok := parseAnswer(value)
		if err == nil && len(raw) == len(idemKey{}) && ok && a.last() < since {
			order = append(order, agedKey{idemKey(raw), a.last(), a.st})
		}
		return ctx.Err() == nil
	})
	slices.SortFunc(order, func(a, b agedKey) int { return cmp.Compare(a.n, b.n) })
	return order, err
}

// rows are what a flush must write for a keyed request: its answer, and the end
// of old ones.
func (k *keyring) rows(r *request, b *batch, p *Pump) []queue.Row {
	a := answer{body: r.call.body, epoch: b.epoch, first: b.next(), count: uint64(len(r.entries)), st: p.opt.Clock.Stamp()}
	if len(r.entries) > 0 {
		a.st = r.entries[0].Stamp
	}
	for i := range r.entries {
		ring := r.entries[i].Ring
		if !slices.ContainsFunc(a.rings, func(f firstSeq) bool { return f.ring == ring }) {
			a.rings = append(a.rings, firstSeq{ring, p.opt.Store.NextSeq(ring) + b.inRing[ring]})
		}
	}
	rows := []queue.Row{{Table: tableKeys, Key: r.call.key.row(), Value: a.append(nil)}}
	return append(rows, k.expired(p)...)
}

// stored remembers the key of a request that was stored.
func (k *keyring) stored(r *request) {
	k.order = append(k.order, agedKey{r.call.key, r.first + uint64(len(r.entries)) - 1, r.entries[0].Stamp})
}

// expired gives the rows that drop what is too old or too many. A failed flush
// leaves a few keys in the store that nothing drops before the next start; they
// are found to be too old when they are asked for.
func (k *keyring) expired(p *Pump) (rows []queue.Row) {
	for len(rows) < dropKeys && len(k.order) > 0 {
		old := k.order[0]
		if len(k.order) < maxKeys && p.opt.Clock.uptime(old.st) < keepKeys {
			break
		}
		k.order = k.order[1:]
		if k.runs(old.key) {
			continue // its row is about to be written again
		}
		// The key may have been used again since: then that row is a newer one's.
		value, ok := p.opt.Store.Get(tableKeys, old.key.row())
		if a, fine := parseAnswer(value); ok && (!fine || a.last() == old.n) {
			rows = append(rows, queue.Row{Table: tableKeys, Key: old.key.row()})
		}
	}
	return rows
}

// answer is what a keyed call was answered, as its row keeps it.
type answer struct {
	body  [32]byte
	st    queue.Stamp
	epoch uint32
	first uint64
	count uint64
	rings []firstSeq // the seq of the call's first event in each ring
}

type firstSeq struct {
	ring string
	seq  uint64
}

func (a *answer) last() uint64 { return a.first + a.count - 1 }

func (a *answer) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, a.last())
	dst = append(append(dst, keyedVersion), a.body[:]...)
	dst = binary.BigEndian.AppendUint32(dst, a.st.Boot)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.st.Mono))
	dst = binary.BigEndian.AppendUint32(dst, a.epoch)
	dst = binary.AppendUvarint(dst, a.count)
	for _, f := range a.rings {
		dst = binary.AppendUvarint(appendText(dst, f.ring), f.seq)
	}
	return dst
}

func parseAnswer(b []byte) (*answer, bool) {
	const head = 8 + 1 + 32 + 4 + 8 + 4
	if len(b) < head || b[8] != keyedVersion {
		return nil, false
	}
	a := &answer{
		body:  [32]byte(b[9:41]),
		st:    queue.Stamp{Boot: binary.BigEndian.Uint32(b[41:]), Mono: int64(binary.BigEndian.Uint64(b[45:]))},
		epoch: binary.BigEndian.Uint32(b[53:]),
	}
	r := payloadReader{rest: b[head:]}
	a.count = r.uvarint()
	a.first = binary.BigEndian.Uint64(b) + 1 - a.count
	for len(r.rest) > 0 {
		ring := string(r.text())
		a.rings = append(a.rings, firstSeq{ring, r.uvarint()})
	}
	return a, !r.bad && a.count > 0
}

// replay fills the events in as the first call's were.
func (p *Pump) replay(evs []Event, a *answer) ([]Event, error) {
	if uint64(len(evs)) != a.count {
		return nil, ErrKeyReused
	}
	seqs := make(map[string]uint64, len(a.rings))
	for _, f := range a.rings {
		seqs[f.ring] = f.seq
	}
	for i := range evs {
		e := &evs[i]
		seq, ok := seqs[e.Ring]
		if !ok {
			return nil, ErrKeyReused
		}
		seqs[e.Ring] = seq + 1
		st := a.st
		if e.Mono != 0 {
			st.Mono = e.Mono
		}
		e.Epoch, e.N, e.Seq = a.epoch, a.first+uint64(i), seq
		e.Time, e.Clock, e.Bound = p.opt.Clock.Time(st)
		e.Boot, e.Mono = p.opt.Clock.BootID(st.Boot), st.Mono
	}
	return evs, nil
}
