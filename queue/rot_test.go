package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// rotStore makes a store with two closed segments, a newest one and rows, and
// stops it.
func rotStore(t *testing.T, clean bool) Options {
	t.Helper()
	opt := testOptions(filepath.Join(tmpfs(t), "store"))
	s := open(t, opt)
	for i := 1; i <= 250; i += 10 {
		put(t, s, "events", texts(i, i+9)...)
		if err := s.Move(); err != nil {
			t.Fatal(err)
		}
	}
	s.Cursor("cloud").Ack("events", Range{1, 100})
	if _, err := s.Append(Batch{Rows: []Row{MailboxRow(Mailbox{Name: "app", N: 100}), {"keys", "a", []byte("one")}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	if clean {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		kill(s)
	}
	return opt
}

// wholeAfter opens the store, appends, and wants all records there, now and after
// one more start.
func wholeAfter(t *testing.T, opt Options) {
	t.Helper()
	for i := range 2 {
		s := open(t, opt)
		if r := put(t, s, "events", fmt.Sprintf("record %d", 251+i)); r.Seqs[0] != uint64(251+i) {
			t.Fatalf("seq %d was given", r.Seqs[0])
		}
		got, holes := all(t, s, "events")
		if len(holes) > 0 || fmt.Sprint(got) != fmt.Sprint(texts(1, 251+i)) {
			t.Fatalf("start %d: %d records, holes %+v", i+1, len(got), holes)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
}

// Any single bit of state.db may flip: no number is given twice, nobody's
// position moves ahead, and no row reads as something that it never was.
func TestFlippedBitsOfState(t *testing.T) {
	master := rotStore(t, true)
	raw, err := os.ReadFile(filepath.Join(master.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	step := 97
	if testing.Short() {
		step = 997
	}
	for bit := 0; bit < len(raw)*8; bit += step {
		if raw[bit/8] == 0 && bit%7 > 0 { // most of the file is free
			continue
		}
		opt := master
		opt.Dir = filepath.Join(tmpfs(t), "store")
		copyStore(t, master.Dir, opt.Dir)
		raw[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(filepath.Join(opt.Dir, "state.db"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		raw[bit/8] ^= 1 << (bit % 8)
		s := open(t, opt)
		if m, ok := s.Mailbox("app"); ok && m.N > 100 {
			t.Fatalf("bit %d: mailbox at %d", bit, m.N)
		}
		if v, ok := s.Get("keys", "a"); ok && string(v) != "one" {
			t.Fatalf("bit %d: row %q", bit, v)
		}
		for _, r := range s.Cursor("cloud").Ranges("events") {
			if r.To > 100 {
				t.Fatalf("bit %d: cursor %+v", bit, r)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatalf("bit %d: %v", bit, err)
		}
		wholeAfter(t, opt)
		os.RemoveAll(opt.Dir)
	}
}

// freePage is the page of a bbolt file's list of free pages.
func freePage(t *testing.T, path string) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := inspection{f: f}
	_, free, err := in.meta()
	if err != nil {
		t.Fatal(err)
	}
	return int64(free)
}

// A list of free pages that is wrong has bbolt write over pages in use.
func TestWrongListOfFreePages(t *testing.T) {
	for _, file := range []string{"state.db", "newest"} {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, clean stop %v", file, clean), func(t *testing.T) {
				opt := rotStore(t, clean)
				path := filepath.Join(opt.Dir, file)
				if file == "newest" {
					files := segmentFiles(t, opt.Dir)
					path = files[len(files)-1]
				}
				page := freePage(t, path)
				flip(t, path, page*blockSize+boltHead) // the first id: another page
				if err := inspect(path); !errors.Is(err, errDamaged) {
					t.Fatalf("it was not found: %v", err)
				}
				wholeAfter(t, opt)
				s := open(t, opt)
				if v, _ := s.Get("keys", "a"); string(v) != "one" {
					t.Fatalf("row %q", v)
				}
			})
		}
	}
}

// A list of free pages that can't be read at all keeps bbolt from opening the
// file for writing; its rows are whole.
func TestZeroedListOfFreePages(t *testing.T) {
	opt := rotStore(t, true)
	path := filepath.Join(opt.Dir, "state.db")
	zero(t, path, freePage(t, path)*blockSize, blockSize)
	s := open(t, opt)
	if v, _ := s.Get("keys", "a"); string(v) != "one" {
		t.Fatalf("row %q", v)
	}
	if m, ok := s.Mailbox("app"); !ok || m.N != 100 || s.Cursor("cloud").Next("events") != 101 {
		t.Fatalf("mailbox %+v %v, cursor at %d", m, ok, s.Cursor("cloud").Next("events"))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wholeAfter(t, opt)
}

// With one meta page gone bbolt takes the other, which is one commit older: what
// the last commit brought must not be written over, nor count as lost.
func TestLostMetaPage(t *testing.T) {
	for page := range int64(2) {
		for segment := range 3 {
			for _, clean := range []bool{true, false} {
				t.Run(fmt.Sprintf("page %d of segment %d, clean stop %v", page, segment, clean), func(t *testing.T) {
					opt := rotStore(t, clean)
					zero(t, segmentFiles(t, opt.Dir)[segment], page*blockSize, blockSize)
					wholeAfter(t, opt)
				})
			}
		}
	}
}

// Damage that only the last move finds does not keep the store from a clean stop.
func TestCloseSalvages(t *testing.T) {
	opt := rotStore(t, true)
	files := segmentFiles(t, opt.Dir)
	path := files[len(files)-1]
	flip(t, path, freePage(t, path)*blockSize+boltHead)
	s := open(t, opt)
	put(t, s, "events", "record 251")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	if got, holes := all(t, s, "events"); len(got) != 251 || len(holes) > 0 {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
	if s.Health().Unmoved != 0 {
		t.Fatal("the stop left records in the journal")
	}
}

// inspect takes every file that bbolt makes, and finds a key out of its order.
func TestInspect(t *testing.T) {
	path := filepath.Join(tmpfs(t), "any.db")
	if err := inspect(path); err != nil {
		t.Fatalf("no file: %v", err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 40 {
		err := db.Update(func(tx *bolt.Tx) error {
			for i := range 3 {
				b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "bucket %d", i))
				if err != nil {
					return err
				}
				for k := range 30 {
					key := binary.BigEndian.AppendUint64(nil, uint64(round*k*i%977))
					if err := b.Put(key, bytes.Repeat([]byte("v"), (round*k)%9000)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := inspect(path); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := 2; i < len(raw)/blockSize; i++ {
		if binary.LittleEndian.Uint16(raw[i*blockSize+8:]) == boltBranch {
			flip(t, path, int64(i*blockSize+boltHead+8)) // the first child's page
			if inspect(path) != nil {
				found++
			}
			flip(t, path, int64(i*blockSize+boltHead+8))
		}
	}
	if found == 0 {
		t.Fatal("no wrong child was found")
	}
}

// A salvage takes blocks wherever they lie. What clients store is JSON text, and
// the head of a block has a control character that no JSON has: the image of a
// block in a record can't be taken for one.
func TestNoTextHoldsABlock(t *testing.T) {
	press, err := newPress()
	if err != nil {
		t.Fatal(err)
	}
	blk := &block{epoch: 0x20202020, records: []stored{{n: 0x2020202020202020, seq: 0x2020202020202020, data: []byte("{}"), crc: checksum([]byte("{}"))}}}
	value, _ := appendBlock(nil, nil, blk, packer{nil, press})
	if length, ok := blockFrame(value); !ok || length != len(value) {
		t.Fatal("not a block")
	}
	if c := value[8]; c >= ' ' || c == '\t' || c == '\n' || c == '\r' {
		t.Fatalf("a text may hold the head of a block: its version is %d", c)
	}
	forged := append([]byte(nil), value...)
	forged[8] = ' ' // the nearest that a text can come
	binary.LittleEndian.PutUint32(forged[4:], checksum(forged[8:]))
	if _, err := parseBlockValue(forged, packer{nil, press}); err == nil {
		t.Fatal("a block of a text's version was taken")
	}
}

// TestDamageBelowTheFloor: a segment whose records are all gone stays until the
// next move; nobody may look into it, whatever became of it.
func TestDamageBelowTheFloor(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.Rings = map[string]Limits{"events": {Keep: 150}}
	opt.MoveRecords = 1 << 20
	s := open(t, opt)
	put(t, s, "events", texts(1, 200)...)
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "events", texts(201, 310)...)
	kill(s)
	files := segmentFiles(t, opt.Dir)
	zero(t, files[0], 0, 4*blockSize)
	s = open(t, opt)
	read := make(chan Page, 1)
	go func() {
		page, err := s.ReadAll([]string{"events"}, 0, Max{})
		if err != nil {
			t.Error(err)
		}
		read <- page
	}()
	select {
	case page := <-read:
		if last := page.Items[len(page.Items)-1]; len(page.Items) != 151 || last.Seq != 310 {
			t.Errorf("%d items, the last is %d", len(page.Items), last.Seq)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the reader looks for ever")
	}
}
