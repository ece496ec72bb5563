package queue

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// The model test drives a store with random appends, rows, acknowledgements,
// evictions, moves and kills, cut at any step that writes, and compares it after
// each reopening with a model that knows only what was acknowledged.

var errKilled = errors.New("killed")

// model is what must be readable.
type model struct {
	rings   map[string][]string // the data of seq i+1
	ns      map[string][]uint64
	rows    map[string]string
	acked   map[string]map[uint64]bool // by ring, of the cursor
	last    uint64
	limbo   *Batch // its Append did not return: all of it or nothing is there
	deleted map[string]uint64
	thinned uint64 // the ring thin, up to here
}

type modelRun struct {
	t    *testing.T
	rng  *rand.Rand
	opt  Options
	s    *Store
	m    model
	boot int

	mu    sync.Mutex
	steps int // until the kill; below 0: none
	at    string
}

func modelReopens() int {
	switch {
	case raceDetector:
		return 500
	case testing.Short():
		return 300
	}
	return 10_000
}

// tmpfs gives a folder in memory, where a flush costs nothing.
func tmpfs(t *testing.T) string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		dir, err := os.MkdirTemp("/dev/shm", "fieldpost-queue-")
		if err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

func TestModel(t *testing.T) {
	const each = 100 // reopenings of one store
	runs := modelReopens() / each
	var kills sync.Map
	for i := range runs {
		t.Run(fmt.Sprint("seed ", i), func(t *testing.T) {
			m := &modelRun{t: t, rng: rand.New(rand.NewPCG(uint64(i), 7)), steps: -1, boot: 1}
			m.opt = testOptions(filepath.Join(tmpfs(t), "store"))
			m.opt.Serial = "board"
			m.opt.JournalBytes = []int64{128 << 10, 64 << 10, 256 << 10}[i%3]
			m.opt.SegmentEvents = []int{70, 300}[i%2]
			m.opt.Rings = map[string]Limits{"alarms": {Keep: 40}, "samples": {Size: 64 << 10}, "thin": {Thin: true}}
			m.opt.Fault = m.fault
			m.m = model{rings: map[string][]string{}, ns: map[string][]uint64{}, rows: map[string]string{}, acked: map[string]map[uint64]bool{}, deleted: map[string]uint64{}}
			for range each {
				m.reopen()
				m.work()
				m.end()
				kills.Store(m.at, true)
			}
		})
	}
	var steps []string
	kills.Range(func(k, _ any) bool { steps = append(steps, k.(string)); return true })
	slices.Sort(steps)
	t.Logf("%d reopenings; ended at: %q", runs*each, steps)
}

// fault counts the steps that write down to the kill. After it nothing writes.
func (m *modelRun) fault(step string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.steps < 0 {
		return nil
	}
	if m.steps == 0 {
		if m.at == "" {
			m.at = step
		}
		return errKilled
	}
	m.steps--
	return nil
}

func (m *modelRun) setKill(steps int) {
	m.mu.Lock()
	m.steps, m.at = steps, ""
	m.mu.Unlock()
}

func (m *modelRun) killed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at != ""
}

func (m *modelRun) reopen() {
	m.setKill(-1)
	m.opt.Boot = fmt.Sprint("boot-", m.boot)
	s, err := Open(m.opt)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
	m.settle()
	m.check()
}

// settle finds out whether the batch in limbo survived.
func (m *modelRun) settle() {
	b := m.m.limbo
	m.m.limbo = nil
	if b == nil || m.s.NextN() == m.m.last+1 && len(b.Entries) > 0 {
		return
	}
	if len(b.Entries) == 0 { // rows alone leave no number: they may have been written
		for _, r := range b.Rows {
			if v, ok := m.s.Get(r.Table, r.Key); ok != (r.Value != nil) || ok && string(v) != string(r.Value) {
				return
			}
		}
		m.applyRows(b)
		return
	}
	m.apply(b)
}

func (m *modelRun) applyRows(b *Batch) {
	for _, r := range b.Rows {
		if r.Table == tableThinned {
			t, err := parseThinned(r)
			if err != nil {
				m.t.Fatal(err)
			}
			m.m.thinned = t.Gone[len(t.Gone)-1].To
		} else if r.Value == nil {
			delete(m.m.rows, r.Key)
		} else {
			m.m.rows[r.Key] = string(r.Value)
		}
	}
}

func (m *modelRun) apply(b *Batch) {
	for _, e := range b.Entries {
		m.m.last++
		m.m.rings[e.Ring] = append(m.m.rings[e.Ring], string(e.Data))
		m.m.ns[e.Ring] = append(m.m.ns[e.Ring], m.m.last)
	}
	m.applyRows(b)
}

// work does some random things, the last of which may be cut.
func (m *modelRun) work() {
	m.setKill(m.rng.IntN(40))
	for range 2 + m.rng.IntN(12) {
		switch k := m.rng.IntN(20); {
		case k < 12:
			m.append()
		case k < 15:
			m.ack()
		case k < 18:
			_ = m.s.Move() // a cut move is what is being tried
		case k == 18 && m.rng.IntN(5) == 0:
			m.delete()
		case k == 18:
			m.thin()
		default:
			m.readSome()
		}
		if m.killed() {
			return
		}
	}
}

func (m *modelRun) append() {
	rings := []string{"events", "alarms", "samples", "thin", fmt.Sprint("run-", m.rng.IntN(3))}
	b := Batch{}
	for range m.rng.IntN(12) {
		data := make([]byte, m.rng.IntN(300))
		if m.rng.IntN(50) == 0 {
			data = make([]byte, 17<<10) // larger than a block of a segment
		}
		for i := range data {
			data[i] = byte(m.rng.Uint32())
		}
		b.Entries = append(b.Entries, Entry{Ring: rings[m.rng.IntN(len(rings))], Stamp: Stamp{m.s.Boot(), m.rng.Int64N(1e15)}, Data: data})
	}
	for range m.rng.IntN(3) {
		row := Row{Table: "keys", Key: fmt.Sprint("k", m.rng.IntN(8))}
		if m.rng.IntN(4) > 0 {
			row.Value = []byte(fmt.Sprint(m.rng.Uint32()))
		}
		if !slices.ContainsFunc(b.Rows, func(r Row) bool { return r.Key == row.Key }) {
			b.Rows = append(b.Rows, row)
		}
	}
	m.store(b)
}

// thin lets rows stand for some of the oldest records of a ring.
func (m *modelRun) thin() {
	left := uint64(len(m.m.rings["thin"])) - m.m.thinned
	if left == 0 {
		return
	}
	to := m.m.thinned + 1 + m.rng.Uint64N(left)
	b := Batch{Rows: []Row{Thinning{Ring: "thin", Into: "thin-1m", Gone: []Gone{{m.m.thinned + 1, to, Thinned}}}.Row()}}
	for range 1 + m.rng.IntN(3) {
		b.Entries = append(b.Entries, Entry{Ring: "thin-1m", Data: fmt.Appendf(nil, "up to %d", to)})
	}
	m.store(b)
}

func (m *modelRun) store(b Batch) {
	r, err := m.s.Append(b)
	if err != nil {
		if !errors.Is(err, errKilled) {
			m.t.Fatalf("append: %v", err)
		}
		m.m.limbo = &b
		return
	}
	if r.First != m.m.last+1 {
		m.t.Fatalf("first n %d, want %d", r.First, m.m.last+1)
	}
	m.apply(&b)
	for i, e := range b.Entries {
		if k := len(m.m.rings[e.Ring]); r.Seqs[i] > uint64(k) {
			m.t.Fatalf("seq %d of %d in ring %s", r.Seqs[i], k, e.Ring)
		}
	}
}

func (m *modelRun) ack() {
	c := m.s.Cursor("cloud")
	for name, recs := range m.m.rings {
		if len(recs) == 0 {
			continue
		}
		from := 1 + uint64(m.rng.IntN(len(recs)))
		to := min(from+uint64(m.rng.IntN(20)), uint64(len(recs)))
		c.Ack(name, Range{from, to})
		if m.m.acked[name] == nil {
			m.m.acked[name] = map[uint64]bool{}
		}
		for seq := from; seq <= to; seq++ {
			m.m.acked[name][seq] = true
		}
	}
}

func (m *modelRun) delete() {
	for name, recs := range m.m.rings {
		if err := m.s.DeleteRing(name); err == nil || errors.Is(err, errKilled) || m.killed() {
			m.m.deleted[name] = uint64(len(recs))
		}
		return
	}
}

// readSome reads from a random place, as a reader beside the writer would.
func (m *modelRun) readSome() {
	if m.m.last == 0 {
		return
	}
	after := m.rng.Uint64N(m.m.last)
	page, err := m.s.ReadAll(slices.Collect(maps.Keys(m.m.rings)), after, Max{Records: 50})
	if err != nil {
		m.t.Fatalf("read all: %v", err)
	}
	last := after
	for _, it := range page.Items {
		if it.Hole == nil {
			if it.N <= last {
				m.t.Fatalf("n %d after %d", it.N, last)
			}
			last = it.N
			m.same(it.Record)
		}
	}
}

func (m *modelRun) same(r Record) {
	m.t.Helper()
	recs := m.m.rings[r.Ring]
	if r.Seq > uint64(len(recs)) || string(r.Data) != recs[r.Seq-1] || r.N != m.m.ns[r.Ring][r.Seq-1] {
		m.t.Fatalf("record %d of ring %s (n %d) is not what was appended", r.Seq, r.Ring, r.N)
	}
}

// end stops the store: cleanly, by SIGKILL, or by a power cut, which may tear
// what was not flushed.
func (m *modelRun) end() {
	if !m.killed() && m.rng.IntN(4) == 0 {
		m.setKill(-1)
		if err := m.s.Close(); err != nil {
			m.t.Fatalf("close: %v", err)
		}
		m.at = "clean stop"
		return
	}
	m.mu.Lock()
	at := m.at
	if at == "" {
		m.at = "between steps"
	}
	m.steps = 0
	m.mu.Unlock()
	kill(m.s)
	if m.rng.IntN(2) == 0 {
		m.boot++
		for _, h := range m.s.halves {
			if at == "journal flush" && h.bad {
				m.tear(h.path, h.pos)
			}
		}
	}
}

// tear writes over random sectors of what the last, cut flush may have written.
func (m *modelRun) tear(path string, pos int64) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	const sector = 512
	garbage := make([]byte, sector)
	for at := pos; at < m.opt.JournalBytes && at < pos+(64<<10); at += sector {
		if m.rng.IntN(3) == 0 {
			if _, err := f.WriteAt(garbage, at); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}
