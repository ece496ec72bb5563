package gpio_test

import (
	"errors"
	"maps"
	"slices"

	"fieldpost/queue"
)

// Epoch, NextN, NextSeq, Append, Get and Each are queue.Store's: a disk that outlives
// the process.
func (p *process) Epoch() uint32 { return 7 }

func (p *process) NextN() uint64 {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.stored + 1
}

func (p *process) NextSeq(string) uint64 { return p.NextN() }

func (p *process) Append(b queue.Batch) (r queue.Receipt, err error) {
	err = errors.New("killed")
	p.op(func() {
		if p.w.full {
			err = queue.ErrFull
			return
		}
		err = nil
		r = queue.Receipt{Epoch: 7, First: p.w.stored + 1}
		for range b.Entries {
			p.w.stored++
			r.Seqs = append(r.Seqs, p.w.stored)
		}
		for _, row := range b.Rows {
			if p.w.rows[row.Table] == nil {
				p.w.rows[row.Table] = map[string][]byte{}
			}
			if p.w.rows[row.Table][row.Key] = row.Value; row.Value == nil {
				delete(p.w.rows[row.Table], row.Key)
			}
		}
	})
	if p.isDead() {
		err = errors.New("killed") // who was killed hears of nothing
	}
	return r, err
}

func (p *process) Get(table, key string) ([]byte, bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	v, ok := p.w.rows[table][key]
	return v, ok
}

func (p *process) Each(table, _ string, fn func(string, []byte) bool) error {
	p.w.mu.Lock()
	rows := maps.Clone(p.w.rows[table])
	p.w.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		if !fn(k, rows[k]) {
			break
		}
	}
	return nil
}
