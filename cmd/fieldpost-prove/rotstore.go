package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// rotPage is the unit of damage: the page of bbolt and of the journal.
const rotPage = 4096

// rotRings are the rings of a store that rots, each with its share of the
// records and its bound.
var rotRings = []struct {
	name  string
	share int
	keep  uint64
}{{"events", 3, 0}, {"samples", 2, 0}, {"alarms", 1, 1500}}

// rotSize says how large a store is.
type rotSize struct {
	Records  int   // of all rings
	Unmoved  int   // of them, those that only the journal has, half of them in each half
	Batch    int   // records in a flush
	Segment  int64 // bytes
	Journal  int64 // bytes of a half
	Segments int   // events in a segment
}

// The two sizes: about 1,000 pages, and a million events.
var (
	rotSmall = rotSize{Records: 47_040, Unmoved: 700, Batch: 35, Segment: 256 << 10, Journal: 160 << 10, Segments: 65_536}
	rotLarge = rotSize{Records: 1_000_000, Unmoved: 9_000, Batch: 1000, Segment: 16 << 20, Journal: 8 << 20, Segments: 65_536}
)

// rotFacts is what is known of a store before it is damaged.
type rotFacts struct {
	Dir    string
	Size   rotSize
	Clean  bool
	Epochs []uint32
	Rings  map[string]*rotRing
	Pages  []rotSpot           // every page of every file, by file
	Loss   map[string][]rotSet // by file: what each of its pages has the only copy of
	Newest map[string]int      // by journal file: the page where its newest flush begins, or its pages
	LastN  uint64
	Mail   uint64            // where the mailbox stands
	Acked  map[string]uint64 // by ring: acknowledged up to here on the cursor
	Rows   map[string]string // the table of rows
	Older  map[string]string // what the rows were before they were last written
}

type rotRing struct {
	Last  uint64
	Floor uint64   // all up to here was evicted
	Epoch []uint64 // by epoch: its first seq
}

// rotSpot is one page of one file.
type rotSpot struct {
	File string
	Page int
}

// rotSet is a set of seqs: ranges of one ring each.
type rotSet []rotRange

type rotRange struct {
	Ring     string
	From, To uint64
}

func (s rotSet) has(ring string, seq uint64) bool {
	return slices.ContainsFunc(s, func(r rotRange) bool { return r.Ring == ring && r.From <= seq && seq <= r.To })
}

// count is the seqs in it, each once: the ranges of one page's blocks don't overlap.
func (s rotSet) count() (n uint64) {
	for _, r := range s {
		n += r.To - r.From + 1
	}
	return n
}

// rotBoard is a board of the given boot whose clocks are the machine's.
func rotBoard(boot string) edge.Board {
	began := time.Now()
	return edge.Board{BootID: boot, Serial: "rot", Model: "rot",
		Mono:     func() int64 { return int64(time.Since(began)) + int64(time.Second) },
		Wall:     time.Now,
		Adjtimex: func() (bool, time.Duration, error) { return false, 0, nil }}
}

func (z rotSize) options(dir, boot string) queue.Options {
	opt := queue.Options{Dir: dir, Boot: boot, Serial: "rot", Headroom: -1, Codec: edge.BlockCodec{},
		MoveEvery: time.Hour, MoveRecords: 1 << 30, JournalBytes: z.Journal, SegmentEvents: z.Segments, SegmentBytes: z.Segment,
		Rings: map[string]queue.Limits{}}
	for _, r := range rotRings {
		opt.Rings[r.name] = queue.Limits{Keep: r.keep}
	}
	return opt
}

// rotText is the data of a record: every seq of every ring has its own.
func rotText(ring string, seq uint64) []byte {
	h := seq * 0x9e3779b97f4a7c15
	return fmt.Appendf(nil, `{"ring":"%s","seq":%d,"value":%d.%d,"unit":"C","note":"%016x %016x %016x","source":"rot"}`,
		ring, seq, seq%40, h%10, h, h*31, h^seq)
}

// rotName is what a record is published under.
func rotName(seq uint64) string { return fmt.Sprintf("rot/%d", seq%7) }

// rotEntry is the record of a seq as it is appended.
func rotEntry(ring string, seq uint64, boot uint32) (queue.Entry, error) {
	data, err := edge.AppendPayload(nil, &edge.Event{Kind: edge.Message, Name: rotName(seq), From: "client:rot", Data: rotText(ring, seq)})
	return queue.Entry{Ring: ring, Stamp: queue.Stamp{Boot: boot, Mono: int64(seq) * 1e6}, Data: data}, err
}

// rotBuilder makes a store and notes what is in it.
type rotBuilder struct {
	facts   *rotFacts
	store   *queue.Store
	flushes []rotSet    // of each flush, by its number less one
	held    atomic.Bool // moves fail: what is in the journal stays there
	next    int
}

var errRotHeld = errors.New("the builder holds the move")

// buildRot makes a store of two epochs in dir. It is left as a kill leaves it,
// with records in both halves of the journal, or cleanly stopped.
func buildRot(dir string, size rotSize, clean bool) (*rotFacts, error) {
	live := dir + ".live"
	f := &rotFacts{Dir: dir, Size: size, Clean: clean, Rings: map[string]*rotRing{}, Loss: map[string][]rotSet{}, Newest: map[string]int{},
		Acked: map[string]uint64{}, Rows: map[string]string{}, Older: map[string]string{}}
	for _, r := range rotRings {
		f.Rings[r.name] = &rotRing{}
	}
	b := &rotBuilder{facts: f}
	half := (size.Records - size.Unmoved) / 2
	if err := b.run(live, "boot-1", half, false); err != nil {
		return nil, err
	}
	// A copy of an open store that does nothing is what a kill leaves.
	if err := copyFolder(live, dir); err != nil {
		return nil, err
	}
	if err := errors.Join(b.store.Close(), os.RemoveAll(live), os.Rename(dir, live)); err != nil {
		return nil, err
	}
	if err := b.run(live, "boot-2", size.Records-half, !clean); err != nil {
		return nil, err
	}
	for _, e := range b.store.Epochs() {
		f.Epochs = append(f.Epochs, e.ID)
		for name, r := range f.Rings {
			r.Epoch = append(r.Epoch, max(e.Rings[name], 1))
		}
	}
	f.LastN = b.store.NextN() - 1
	for name, r := range f.Rings {
		info, _ := b.store.Ring(name)
		r.Last, r.Floor = info.Last, info.First-1
	}
	if clean {
		if err := b.store.Close(); err != nil {
			return nil, err
		}
	}
	if err := copyFolder(live, dir); err != nil {
		return nil, err
	}
	b.held.Store(false)
	if !clean {
		if err := b.store.Close(); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(live); err != nil {
		return nil, err
	}
	return f, b.survey()
}

// run opens the store in a boot and appends. With hold the last records stay in
// the journal: those of one half are sealed and can't be moved.
func (b *rotBuilder) run(dir, boot string, records int, hold bool) error {
	opt := b.facts.Size.options(dir, boot)
	opt.Fault = func(step string) error {
		if step == "segment commit" && b.held.Load() {
			return errRotHeld
		}
		return nil
	}
	s, err := queue.Open(opt)
	if err != nil {
		return err
	}
	b.store = s
	moved := records
	if hold {
		moved -= b.facts.Size.Unmoved
	}
	for done := 0; done < records; {
		n := min(b.facts.Size.Batch, records-done)
		if done < moved {
			n = min(n, moved-done)
		}
		if err := b.append(n, done+n == moved || done%(10*b.facts.Size.Batch) == 0); err != nil {
			return err
		}
		before := done
		done += n
		turn := moved + (records-moved)/2
		switch {
		case done == moved, done < moved && done/5000 != before/5000:
			if err := s.Move(); err != nil {
				return err
			}
			b.held.Store(hold && done == moved)
		case hold && before < turn && done >= turn: // that half is sealed, and stays so
			if err := s.Move(); !errors.Is(err, errRotHeld) {
				return fmt.Errorf("hold a move: %v", err)
			}
		}
	}
	return nil
}

// append adds one flush, and now and then rows, cursor and mailbox moves.
func (b *rotBuilder) append(n int, rows bool) error {
	var batch queue.Batch
	var told rotSet
	for range n {
		ring := rotRingOf(b.next)
		b.next++
		r := b.facts.Rings[ring]
		r.Last++
		e, err := rotEntry(ring, r.Last, b.store.Boot())
		if err != nil {
			return err
		}
		batch.Entries = append(batch.Entries, e)
		told = append(told, rotRange{ring, r.Last, r.Last})
	}
	f := b.facts
	if rows {
		for i := range 5 {
			key, value := fmt.Sprintf("key %03d", (b.next/7+i*31)%200), fmt.Sprintf("value %d of %d %060d", b.next, i, b.next)
			if old, ok := f.Rows[key]; ok {
				f.Older[key] = old
			}
			f.Rows[key] = value
			batch.Rows = append(batch.Rows, queue.Row{Table: "rot", Key: key, Value: []byte(value)})
		}
		f.Mail = b.store.NextN() - 1
		batch.Rows = append(batch.Rows, queue.MailboxRow(queue.Mailbox{Name: "app", N: f.Mail}))
		for name, r := range f.Rings {
			f.Acked[name] = r.Last / 2
			b.store.Cursor("cloud").Ack(name, queue.Range{From: 1, To: r.Last / 2})
		}
	}
	if _, err := b.store.Append(batch); err != nil {
		return err
	}
	b.flushes = append(b.flushes, told)
	return nil
}

// rotRingOf spreads records over the rings by their shares.
func rotRingOf(i int) string {
	all := 0
	for _, r := range rotRings {
		all += r.share
	}
	i %= all
	for _, r := range rotRings {
		if i -= r.share; i < 0 {
			return r.name
		}
	}
	return rotRings[0].name
}

// survey lists every page and what only it holds.
func (b *rotBuilder) survey() error {
	f := b.facts
	return filepath.WalkDir(f.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(f.Dir, path)
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		pages := max(1, int((st.Size()+rotPage-1)/rotPage))
		for i := range pages {
			f.Pages = append(f.Pages, rotSpot{name, i})
		}
		f.Loss[name] = make([]rotSet, pages)
		switch {
		case strings.HasSuffix(name, ".seg"):
			return f.surveySegment(path, name)
		case strings.HasPrefix(name, "journal-"):
			return b.surveyJournal(path, name)
		}
		return nil
	})
}

// surveyJournal finds which flushes lie in which pages, by the head of each
// block: "FJ" at 4, the generation at 8, the flush's number at 12.
func (b *rotBuilder) surveyJournal(path, name string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	gen := uint32(0)
	block := func(i int) (uint32, uint64, bool) {
		at := raw[i*rotPage:]
		if len(at) < rotPage || at[4] != 'F' || at[5] != 'J' {
			return 0, 0, false
		}
		return binary.LittleEndian.Uint32(at[8:]), binary.LittleEndian.Uint64(at[12:]), true
	}
	for i := range len(raw) / rotPage {
		g, _, ok := block(i)
		if ok {
			gen = max(gen, g)
		}
	}
	f := b.facts
	f.Newest[name] = len(f.Loss[name])
	if f.Clean { // all of it is in segments
		return nil
	}
	unmoved, newest := uint64(len(b.flushes))-uint64(f.Size.Unmoved/f.Size.Batch), uint64(0)
	for i := range len(raw) / rotPage {
		g, number, ok := block(i)
		if !ok || g != gen || number <= unmoved || number > uint64(len(b.flushes)) {
			continue
		}
		f.Loss[name][i] = b.flushes[number-1]
		if number > newest {
			newest, f.Newest[name] = number, i
		}
	}
	return nil
}

// copyFolder copies a folder with all in it.
func copyFolder(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// save and loadRotFacts hand the facts to the workers.
func (f *rotFacts) save(path string) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func loadRotFacts(path string) (*rotFacts, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &rotFacts{}
	return f, json.Unmarshal(b, f)
}
