package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// fillSegments makes a store of 100,000 records in 8 segments and stops it cleanly.
func fillSegments(t *testing.T, dir string) Options {
	t.Helper()
	opt := testOptions(dir)
	opt.JournalBytes, opt.MoveRecords, opt.SegmentEvents, opt.SegmentBytes = 8<<20, 10_000, 12_500, 16<<20
	s := open(t, opt)
	for i := 0; i < 100_000; {
		var b Batch
		for range 1000 {
			i++
			b.Entries = append(b.Entries, Entry{Ring: "events", Stamp: Stamp{s.Boot(), int64(i)}, Data: recordText(i)})
		}
		if _, err := s.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files := segmentFiles(t, dir); len(files) != 8 {
		t.Fatalf("%d segments: %v", len(files), files)
	}
	return opt
}

// recordText is what no codec makes smaller, so that a block takes its pages.
func recordText(i int) []byte {
	return append(fmt.Appendf(nil, "record %d ", i), noise(uint64(i), 180)...)
}

func noise(seed uint64, n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte(binary.BigEndian.AppendUint64(make([]byte, 24), seed))).Read(out) // it can't fail
	return out
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "rings", "events", "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// copyStore copies a store's files.
func copyStore(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// blockPage gives a page in the middle of a block that the tree has, which goes on in
// the page after it: of a block that was filled on, an older copy stays in a free page,
// and one that a move had no more records for may end in its first page.
func blockPage(t *testing.T, path string) int64 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	free := freePages(t, path)
	inside := func(page int) bool {
		return !free[page] && binary.LittleEndian.Uint64(raw[page*blockSize:]) != uint64(page) // a page that begins a node has its number
	}
	for at := len(raw) / 3; ; at++ {
		i := bytes.Index(raw[at:], []byte(blockMagic))
		if i < 0 {
			t.Fatal("no block in the file")
		}
		at += i
		if page := at / blockSize; !free[page] && inside(page+1) && inside(page+2) {
			return int64(page+1) * blockSize
		}
	}
}

func freePages(t *testing.T, path string) []bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := inspection{f: f}
	_, list, err := in.meta()
	if err == nil {
		in.used = make([]bool, in.high)
		err = in.freeList(list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return append(in.used, make([]bool, 1<<12)...) // what lies behind the pages in use was never written
}

func TestDamageCostsItsBlocks(t *testing.T) {
	master := filepath.Join(tmpfs(t), "store")
	opt := fillSegments(t, master)
	tests := []struct {
		name    string
		segment int
		most    uint64 // records that it may cost
		damage  func(t *testing.T, path string)
	}{
		{"a page in a block", 3, 2 * blockRecords, func(t *testing.T, path string) { zero(t, path, blockPage(t, path), blockSize) }},
		{"a bit in a value", 2, blockRecords, func(t *testing.T, path string) { flip(t, path, blockPage(t, path)+100) }},
		{"both meta pages", 4, 0, func(t *testing.T, path string) { zero(t, path, 0, 2*blockSize) }},
		{"a page in the newest", 7, 2 * blockRecords, func(t *testing.T, path string) { zero(t, path, blockPage(t, path), blockSize) }},
		{"cut in half", 1, 12_500, func(t *testing.T, path string) { cut(t, path, 2) }},
		{"the newest cut in half", 7, 12_500, func(t *testing.T, path string) { cut(t, path, 2) }},
		{"zeroed", 5, 12_500, func(t *testing.T, path string) { st, _ := os.Stat(path); zero(t, path, 0, st.Size()) }},
		{"the newest zeroed", 7, 12_500, func(t *testing.T, path string) { st, _ := os.Stat(path); zero(t, path, 0, st.Size()) }},
		{"empty", 6, 12_500, func(t *testing.T, path string) { cut(t, path, 0) }},
		{"gone", 0, 12_500, func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, clean stop %v", test.name, clean), func(t *testing.T) {
				opt := opt
				opt.Dir = filepath.Join(tmpfs(t), "store")
				copyStore(t, master, opt.Dir)
				if !clean {
					s := open(t, opt)
					put(t, s, "alarms", "not clean")
					kill(s)
				}
				test.damage(t, segmentFiles(t, opt.Dir)[test.segment])
				begun := time.Now()
				s := open(t, opt)
				r := put(t, s, "events", "acknowledged")
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("first acknowledgement after %v", took)
				}
				if r.Seqs[0] != 100_001 {
					t.Fatalf("seq %d", r.Seqs[0])
				}
				lost := countDamage(t, s)
				if lost > test.most {
					t.Fatalf("%d records lost, at most %d may be", lost, test.most)
				}
				if test.most > 0 && lost == 0 {
					t.Fatal("the damage cost nothing: the test does not damage")
				}
				if again := countDamage(t, s); again != lost {
					t.Fatalf("read again: %d lost, first %d", again, lost)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, opt)
				if again := countDamage(t, s); again != lost {
					t.Fatalf("after reopening: %d lost, first %d", again, lost)
				}
			})
		}
	}
}

// countDamage reads the ring; what is readable and the holes must be 1..N. It
// gives what was lost.
func countDamage(t *testing.T, s *Store) (lost uint64) {
	t.Helper()
	next := uint64(1)
	for after := uint64(0); ; {
		page, err := s.Read("events", after, Max{})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			if it.Hole != nil {
				if it.Hole.From != next || it.Hole.Cause != Damage {
					t.Fatalf("hole %+v at %d", *it.Hole, next)
				}
				lost += it.Hole.To - it.Hole.From + 1
				next = it.Hole.To + 1
				continue
			}
			if it.Seq != next {
				t.Fatalf("%d after %d", it.Seq, next-1)
			}
			if it.Seq <= 100_000 && !bytes.Equal(it.Data, recordText(int(it.Seq))) {
				t.Fatalf("record %d is %q", it.Seq, it.Data)
			}
			next++
		}
		if page.End {
			break
		}
		after = page.Next
	}
	if next != 100_002 {
		t.Fatalf("ends at %d", next-1)
	}
	return lost
}

func zero(t *testing.T, path string, at, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, n), at); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, path string, by int64) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	to := int64(0)
	if by > 0 {
		to = st.Size() / by
	}
	if err := os.Truncate(path, to); err != nil {
		t.Fatal(err)
	}
}

// Who reads all rings on from a position is the first to find a segment damaged:
// he waits for its salvage, and no record of its ring is passed over.
func TestReadAllFindsTheDamage(t *testing.T) {
	opt := fillSegments(t, filepath.Join(tmpfs(t), "store"))
	files := segmentFiles(t, opt.Dir)
	cut(t, files[len(files)/2], 0)
	s := open(t, opt)
	page, err := s.ReadAll([]string{"events", "alarms"}, 2000, Max{Records: 5})
	if err != nil || len(page.Items) != 5 || page.Items[0].Seq != 2001 {
		t.Fatalf("%+v %v", page.Items, err)
	}
}

// A file that is cut while it is open faults under bbolt's map.
func TestCutUnderTheReader(t *testing.T) {
	opt := fillSegments(t, filepath.Join(tmpfs(t), "store"))
	s := open(t, opt)
	put(t, s, "events", "acknowledged")
	if _, err := s.One("events", 20_000); err != nil {
		t.Fatal(err)
	}
	cut(t, segmentFiles(t, opt.Dir)[1], 2)
	if lost := countDamage(t, s); lost == 0 || lost > 12_500 {
		t.Fatalf("%d lost", lost)
	}
}

// Records appended while others run are told apart from damage.
func TestDamagedJournal(t *testing.T) {
	opt := testOptions(tmpfs(t))
	s := open(t, opt)
	for i := 1; i <= 12; i++ {
		put(t, s, "events", fmt.Sprintf("record %d", i))
	}
	epoch := s.Epoch()
	path := s.halves[s.active].path
	kill(s)
	zero(t, path, 4*blockSize, blockSize) // the fifth flush
	s = open(t, opt)
	if r := put(t, s, "events", "record 13"); r.Seqs[0] != 13 || r.Epoch == epoch {
		t.Fatalf("%+v, old epoch %08x", r, epoch)
	}
	got, holes := all(t, s, "events")
	if len(got) != 12 || len(holes) != 1 || holes[0].From != 5 || holes[0].To != 5 || holes[0].Cause != Damage {
		t.Fatalf("%q %+v", got, holes)
	}
}

// After a clean stop the journal is empty, and bbolt alone reads every record.
func TestBboltAloneReadsAll(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	for i := 1; i <= 333; i++ {
		put(t, s, "events", fmt.Sprintf("record %d", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := os.Remove(filepath.Join(opt.Dir, fmt.Sprintf("journal-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	pk := testPacker(t)
	var got []string
	for _, path := range segmentFiles(t, opt.Dir) {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("blocks")).ForEach(func(k, v []byte) error {
				blk, err := parseBlockValue(v, pk)
				if err != nil {
					return err
				}
				if binary.BigEndian.Uint64(k) != blk.first() {
					return errBlock
				}
				for _, r := range blk.records {
					got = append(got, string(r.data))
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(texts(1, 333)) {
		t.Fatalf("%d records", len(got))
	}
}

// A leaf that hides some of its blocks is salvaged when they are missed: who reads
// on from a position behind them is given nothing from before it.
func TestReadAllBehindWhatWasHidden(t *testing.T) {
	master := filepath.Join(tmpfs(t), "store")
	opt := fillSegments(t, master)
	path := segmentFiles(t, master)[3]
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hidden := 0
	for page := 2; page < len(raw)/blockSize && hidden < 8; page++ {
		p := raw[page*blockSize:]
		count := binary.LittleEndian.Uint16(p[10:])
		e := p[boltHead+int(count-1)*boltElement:]
		if binary.LittleEndian.Uint64(p) != uint64(page) || p[8] != boltLeaf || count < 2 || count > 200 || binary.LittleEndian.Uint32(e[8:]) != 8 {
			continue
		}
		at := binary.LittleEndian.Uint32(e[4:])
		last := binary.BigEndian.Uint64(e[at:]) // the first seq of the leaf's last block
		opt := opt
		opt.Dir = filepath.Join(tmpfs(t), "store")
		copyStore(t, master, opt.Dir)
		short := append([]byte(nil), raw...)
		binary.LittleEndian.PutUint16(short[page*blockSize+10:], count-1)
		if err := os.WriteFile(segmentFiles(t, opt.Dir)[3], short, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, opt)
		page, err := s.ReadAll([]string{"events"}, last+5, Max{Records: 3})
		if err != nil || len(page.Items) == 0 || page.Items[0].Seq != last+6 {
			t.Fatalf("after n %d: %+v %v", last+5, page.Items, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		hidden++
	}
	if hidden == 0 {
		t.Fatal("no leaf with two blocks")
	}
}
