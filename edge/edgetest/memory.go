package edgetest

import (
	"sync"

	"fieldpost/queue"
)

// Memory is a store in RAM with a failure dial, to run a Pump against.
type Memory struct {
	mu      sync.Mutex
	entries []queue.Entry
	seqs    map[string]uint64
	rows    map[string]map[string][]byte
	flushes []int // entries of each
	err     error
	limit   int
	gate    chan struct{} // while not nil, Append waits for a token
	waiting chan struct{}
}

// NewMemory is an empty store of epoch 0x0e0e0e0e.
func NewMemory() *Memory {
	return &Memory{seqs: map[string]uint64{}, rows: map[string]map[string][]byte{}, waiting: make(chan struct{}, 1<<16)}
}

// Fail makes every Append fail with err, until it is nil.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Limit makes batches of more than n entries fail with queue.ErrTooLarge.
func (m *Memory) Limit(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = n
}

// Hold makes each Append wait. Waiting gets a token when one does; step lets one
// go on, and free all of them from then on.
func (m *Memory) Hold() (step, free func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := make(chan struct{})
	m.gate = gate
	free = sync.OnceFunc(func() {
		m.mu.Lock()
		m.gate = nil
		m.mu.Unlock()
		close(gate)
	})
	return func() { gate <- struct{}{} }, free
}

// Waiting gets a token each time that an Append begins.
func (m *Memory) Waiting() <-chan struct{} { return m.waiting }

// Entries is what was stored.
func (m *Memory) Entries() []queue.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]queue.Entry(nil), m.entries...)
}

// Flushes is how many entries each flush had.
func (m *Memory) Flushes() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int(nil), m.flushes...)
}

// Append is queue.Store's.
func (m *Memory) Append(b queue.Batch) (queue.Receipt, error) {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	select {
	case m.waiting <- struct{}{}:
	default:
	}
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return queue.Receipt{}, m.err
	}
	if m.limit > 0 && len(b.Entries) > m.limit {
		return queue.Receipt{}, queue.ErrTooLarge
	}
	r := queue.Receipt{Epoch: m.Epoch(), First: uint64(len(m.entries)) + 1}
	for _, e := range b.Entries {
		m.seqs[e.Ring]++
		r.Seqs = append(r.Seqs, m.seqs[e.Ring])
		e.Data = append([]byte(nil), e.Data...)
		m.entries = append(m.entries, e)
	}
	for _, row := range b.Rows {
		if m.rows[row.Table] == nil {
			m.rows[row.Table] = map[string][]byte{}
		}
		if row.Value == nil {
			delete(m.rows[row.Table], row.Key)
		} else {
			m.rows[row.Table][row.Key] = row.Value
		}
	}
	m.flushes = append(m.flushes, len(b.Entries))
	return r, nil
}

// Epoch is queue.Store's.
func (m *Memory) Epoch() uint32 { return 0x0e0e0e0e }

// NextN is queue.Store's.
func (m *Memory) NextN() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.entries)) + 1
}

// NextSeq is queue.Store's.
func (m *Memory) NextSeq(ring string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seqs[ring] + 1
}

// Get is queue.Store's.
func (m *Memory) Get(table, key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.rows[table][key]
	return v, ok
}

// Each is queue.Store's, in no order.
func (m *Memory) Each(table, from string, fn func(key string, value []byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range m.rows[table] {
		if k >= from && !fn(k, v) {
			break
		}
	}
	return nil
}
