package edge

import (
	"fmt"
	"sync"

	"fieldpost/queue"
)

// maxKept bounds the buffers that are kept for the next request.
const maxKept = 1 << 20

// request is what one call of Post or Commit stores. The caller's goroutine encodes it,
// so that this is done while the flush before it runs.
type request struct {
	entries []queue.Entry
	rows    []queue.Row
	call    *keyedCall // nil without an idempotency key
	buf     []byte     // what the entries' data is in
	size    int

	done  chan struct{}
	err   error
	epoch uint32
	first uint64
	seqs  []uint64
}

// requests keeps the buffers of requests that are done.
var requests = sync.Pool{New: func() any { return new(request) }}

func newRequest(c *Clock, evs []Event, rows []queue.Row) (*request, error) {
	if len(evs) > MaxPost {
		return nil, fmt.Errorf("store %d events at once, %d at most: %w", len(evs), MaxPost, queue.ErrTooLarge)
	}
	r := requests.Get().(*request)
	r.done, r.rows, r.err, r.call = make(chan struct{}), rows, nil, nil
	now := c.Stamp()
	for i := range evs {
		st := now
		switch {
		case evs[i].at != (queue.Stamp{}):
			st = evs[i].at
		case evs[i].Mono != 0:
			st = c.stamp(evs[i].Mono)
		}
		from := len(r.buf)
		var err error
		if r.buf, err = AppendPayload(r.buf, &evs[i]); err != nil {
			r.recycle()
			return nil, err
		}
		r.entries = append(r.entries, queue.Entry{Ring: evs[i].Ring, Stamp: st, Data: r.buf[from:len(r.buf):len(r.buf)]})
	}
	r.size = len(r.buf)
	for _, row := range rows {
		r.size += len(row.Table) + len(row.Key) + len(row.Value)
	}
	if r.size > MaxPostBytes {
		defer r.recycle()
		return nil, fmt.Errorf("store %d bytes at once, %d at most: %w", r.size, MaxPostBytes, queue.ErrTooLarge)
	}
	return r, nil
}

// fill gives the events their numbers and times.
func (r *request) fill(evs []Event, c *Clock) {
	var at queue.Stamp
	var like Event
	for i := range evs {
		e := &evs[i]
		if st := r.entries[i].Stamp; i == 0 || st != at {
			at = st
			like.Time, like.Clock, like.Bound = c.Time(st)
			like.Boot, like.Mono = c.BootID(st.Boot), st.Mono
		}
		e.Epoch, e.N, e.Seq = r.epoch, r.first+uint64(i), r.seqs[i]
		e.Time, e.Clock, e.Bound, e.Boot, e.Mono = like.Time, like.Clock, like.Bound, like.Boot, like.Mono
	}
}

// recycle keeps the buffers. Nothing may use r after it.
func (r *request) recycle() {
	if cap(r.buf) > maxKept {
		return
	}
	clear(r.entries)
	*r = request{entries: r.entries[:0], buf: r.buf[:0], seqs: r.seqs[:0]}
	requests.Put(r)
}
