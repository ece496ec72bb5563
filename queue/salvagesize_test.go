package queue

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestSalvageIsBounded: a damaged segment that is small on the disk is salvaged in
// little memory, however well its records were compressed, and all of them are there.
func TestSalvageIsBounded(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.SegmentEvents, opt.SegmentBytes, opt.JournalBytes = 1<<16, 16<<20, 8<<20
	record := bytes.Repeat([]byte("21.5 C in the kitchen, "), 4000) // 92 kB, which compress well
	const records = 900
	fillWith(t, opt, record, records)
	files, err := filepath.Glob(filepath.Join(opt.Dir, "rings", "texts", "*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	clear(raw[:2*blockSize]) // both meta pages
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	press, err := newPress()
	if err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	blocks, err := salvageFile(files[0], nil, packer{nil, press})
	if err != nil || len(blocks) != records {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	if took := heapInUse() - before; took > 16<<20 {
		t.Errorf("a file of %d kB takes %d MB to salvage", len(raw)>>10, took>>20)
	}
	runtime.KeepAlive(blocks)

	s := open(t, opt)
	n := 0
	for after, end := uint64(0), false; !end; {
		page, err := s.Read("texts", after, Max{})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			if it.Hole != nil || !bytes.Equal(it.Data, fmt.Appendf(nil, "%d %s", n, record)) {
				t.Fatalf("record %d is other than it was", n)
			}
			n++
		}
		after, end = page.Next, page.End
	}
	if n != records {
		t.Fatalf("%d records of %d", n, records)
	}
}

// fillWith stores records of one text, numbered from 0, and closes the store.
func fillWith(t *testing.T, opt Options, text []byte, records int) {
	t.Helper()
	s := open(t, opt)
	for i := 0; i < records; i += 30 {
		var b Batch
		for k := range 30 {
			b.Entries = append(b.Entries, Entry{Ring: "texts", Stamp: Stamp{1, 1}, Data: fmt.Appendf(nil, "%d %s", i+k, text)})
		}
		if _, err := s.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestSalvageLeavesWhatWasLost: blocks that a card lost for a while, and whose
// numbers were given again in a later epoch, lie in free pages yet.
func TestSalvageLeavesWhatWasLost(t *testing.T) {
	pk := testPacker(t)
	var raw []byte
	add := func(epoch uint32, from, to uint64) {
		b := &block{epoch: epoch}
		for seq := from; seq <= to; seq++ {
			data := fmt.Appendf(nil, "%d of epoch %d", seq, epoch)
			b.records = append(b.records, stored{n: seq, seq: seq, crc: checksum(data), data: data})
		}
		raw = append(raw, blockOf(b, pk)...)
	}
	add(1, 1, 10)  // what survived of the first epoch
	add(1, 1, 16)  // the same block, filled on
	add(1, 17, 40) // and the next one
	add(2, 11, 20)
	add(2, 21, 30)
	path := filepath.Join(t.TempDir(), "damaged.seg")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	opt := testOptions(t.TempDir()).withDefaults()
	seg := &segment{path: path, first: 1}
	_, kept, err := rebuild(seg, "r", 1, 100, []uint32{1, 2}, t.TempDir(), &opt, pk)
	if err != nil || len(kept) != 1 || kept[0] != (Range{1, 30}) {
		t.Fatal(kept, err)
	}
	if err := seg.open(false, 0); err != nil {
		t.Fatal(err)
	}
	defer seg.idle()
	defer seg.release()
	records, _, err := seg.read(1, 100, pk)
	if err != nil || len(records) != 30 {
		t.Fatal(len(records), err)
	}
	for _, r := range records {
		if want := uint32(1 + (r.Seq-1)/10); r.Epoch != min(want, 2) {
			t.Errorf("seq %d is of epoch %d", r.Seq, r.Epoch)
		}
	}
}
