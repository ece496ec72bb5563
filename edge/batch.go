package edge

import (
	"fieldpost/queue"
)

// batch is the flush that is being made. It belongs to Run's goroutine, and its
// memory is used again.
type batch struct {
	units   []unit
	entries []queue.Entry
	rows    []queue.Row
	buf     []byte
	epoch   uint32
	first   uint64            // n of the first entry
	inRing  map[string]uint64 // entries by ring so far; nil where no request has a key
}

func (b *batch) begin(units []unit, epoch uint32, first uint64) {
	clear(b.entries)
	clear(b.rows)
	b.entries, b.rows, b.buf, b.inRing = b.entries[:0], b.rows[:0], b.buf[:0], nil
	b.epoch, b.first = epoch, first
	for _, u := range units {
		if u.r != nil && u.r.call != nil {
			b.inRing = make(map[string]uint64)
			break
		}
	}
}

// next is the n of the entry that is added next.
func (b *batch) next() uint64 { return b.first + uint64(len(b.entries)) }

// add numbers a unit and adds it.
func (b *batch) add(u unit, p *Pump) error {
	if u.t == nil {
		if u.r.call != nil {
			b.rows = append(b.rows, p.keys.rows(u.r, b, p)...)
		}
		for i := range u.r.entries {
			b.put(u.r.entries[i])
		}
		b.rows = append(b.rows, u.r.rows...)
		return nil
	}
	t := u.t
	t.resolve()
	t.ev.Epoch, t.ev.N = b.epoch, b.next()
	from := len(b.buf)
	var err error
	if b.buf, err = AppendPayload(b.buf, &t.ev); err != nil {
		return err
	}
	data := b.buf[from:len(b.buf):len(b.buf)]
	b.put(queue.Entry{Ring: t.ev.Ring, Stamp: p.opt.Clock.stamp(t.ev.Mono), Data: data})
	b.rows = append(b.rows, t.rows...)
	return nil
}

func (b *batch) put(e queue.Entry) {
	b.entries = append(b.entries, e)
	if b.inRing != nil {
		b.inRing[e.Ring]++
	}
}

// fill gives tickets and requests what the store gave them.
func (b *batch) fill(units []unit, rec queue.Receipt, c *Clock) {
	at := 0
	for _, u := range units {
		if u.r != nil {
			n := len(u.r.entries)
			u.r.epoch, u.r.first = rec.Epoch, rec.First+uint64(at)
			u.r.seqs = append(u.r.seqs[:0], rec.Seqs[at:at+n]...)
			at += n
			continue
		}
		e, st := &u.t.ev, b.entries[at].Stamp
		e.Epoch, e.N, e.Seq = rec.Epoch, rec.First+uint64(at), rec.Seqs[at]
		e.Time, e.Clock, e.Bound = c.Time(st)
		e.Boot = c.BootID(st.Boot)
		at++
	}
}
