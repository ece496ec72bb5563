package queue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

// testPacker stores payloads as they are.
func testPacker(t testing.TB) packer {
	p, err := newPress()
	if err != nil {
		t.Fatal(err)
	}
	return packer{press: p}
}

func blockOf(b *block, pk packer) []byte {
	out, _ := appendBlock(nil, nil, b, pk)
	return out
}

func FuzzBlock(f *testing.F) {
	long := &block{epoch: 7}
	for i := range blockRecords {
		long.records = append(long.records, stored{n: uint64(i + 3), seq: uint64(i + 9), crc: checksum([]byte("again and again")), data: []byte("again and again")})
	}
	b := &block{epoch: 7, records: []stored{{n: 3, seq: 9, stamp: Stamp{1, 2}, crc: checksum([]byte("x")), data: []byte("x")}}}
	pk := testPacker(f)
	f.Add(blockOf(b, pk))
	f.Add(blockOf(long, pk))
	f.Add([]byte(blockMagic))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := parseBlockValue(in, pk)
		if err != nil {
			return
		}
		again, err := parseBlockValue(blockOf(got, pk), pk)
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%v: %+v became %+v", err, got, again)
		}
	})
}

func FuzzStream(f *testing.F) {
	fl := &flush{number: 4, epoch: 5, first: 6, entries: []entry{{ring: "events", seq: 1, data: []byte("a")}}, rows: []Row{{"t", "k", []byte("v")}, {"t", "gone", nil}}}
	f.Add(appendStream(make([]byte, 0, streamRoom(fl)), fl))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := parseStream(in)
		if err != nil {
			return
		}
		for i := range got.entries { // a stream may lie about it; recovery checks by block
			got.entries[i].crc = checksum(got.entries[i].data)
		}
		again, err := parseStream(appendStream(make([]byte, 0, streamRoom(got)), got))
		if err != nil || !reflect.DeepEqual(got.rows, again.rows) || len(got.entries) != len(again.entries) {
			t.Fatalf("%v: %+v became %+v", err, got, again)
		}
	})
}

func FuzzRows(f *testing.F) {
	c := newCursor("c")
	c.Ack("events", Range{1, 5}, Range{8, 9})
	f.Add(c.encode())
	f.Add(spans{{1, 2, Evicted, Rows{}}, {5, 9, Damage, Rows{}}, {10, 12, Thinned, Rows{"samples-1m", 3, 4}}}.encode())
	f.Add((&sum{ring: "events", first: 1, last: 2}).encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if c, err := decodeCursor("c", in); err == nil {
			if _, err := decodeCursor("c", c.encode()); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := decodeSpans(in); err == nil {
			if again, err := decodeSpans(s.encode()); err != nil || !slices.Equal(s, again) {
				t.Fatal(err)
			}
		}
		var s sum
		_ = s.decode(in) // must not panic
	})
}

func TestRunIsReadBack(t *testing.T) {
	press := testPacker(t).press
	for _, size := range []int{0, 1, 4000, blockPayload - runHeader, blockPayload, 3 * blockPayload, 300 << 10} {
		f := &flush{number: 12, epoch: 3, first: 100, entries: []entry{{ring: "events", seq: 1, stamp: Stamp{1, -5}, data: bytes.Repeat([]byte{7}, size)}}}
		stream, codec := appendStream(make([]byte, 0, streamRoom(f)), f), byte(codecPlain)
		if pressed := size >= pressFrom; pressed {
			stream, codec = press.shrink(nil, stream)
			if codec != codecZstd || len(stream) > size/10 {
				t.Fatalf("size %d: %d bytes by codec %d", size, len(stream), codec)
			}
		}
		run := appendRun(nil, stream, codec, 9, f.number)
		if len(run) != blocksFor(len(stream))*blockSize {
			t.Fatalf("size %d: %d bytes", size, len(run))
		}
		at := func(i int) []byte { return run[i*blockSize : (i+1)*blockSize] }
		head, ok := parseBlock(at(0))
		if !ok || head.gen != 9 || head.number != 12 {
			t.Fatalf("size %d: head %+v", size, head)
		}
		got, blocks, err := readRun(head, 0, at, press)
		if err != nil || blocks*blockSize != len(run) || !bytes.Equal(got.entries[0].data, f.entries[0].data) {
			t.Fatalf("size %d: %v", size, err)
		}
		for range 20 { // any changed bit is noticed
			torn := bytes.Clone(run)
			torn[rand.IntN(len(torn))] ^= 1 << rand.IntN(8)
			at := func(i int) []byte { return torn[i*blockSize : (i+1)*blockSize] }
			if head, ok := parseBlock(at(0)); ok {
				if _, _, err := readRun(head, 0, at, press); err == nil {
					t.Fatalf("size %d: a changed bit was not noticed", size)
				}
			}
		}
	}
}

func TestSpans(t *testing.T) {
	var s spans
	s = s.fill(span{from: 5, to: 9, cause: Damage})
	s = s.fill(span{from: 1, to: 12, cause: Evicted})
	if want := (spans{{from: 1, to: 4, cause: Evicted}, {from: 5, to: 9, cause: Damage}, {from: 10, to: 12, cause: Evicted}}); !slices.Equal(s, want) {
		t.Fatalf("%v", s)
	}
	s = s.fill(span{from: 13, to: 20, cause: Evicted})
	s = s.fill(span{from: 30, to: 31, cause: Evicted})
	if h, ok := s.find(20); !ok || h.from != 10 {
		t.Fatalf("%v", h)
	}
	if _, ok := s.find(21); ok {
		t.Fatal("21 is in a hole")
	}
	if run := s.runBefore(15); len(run) != 3 || run[0].from != 1 || run[2].to != 15 {
		t.Fatalf("%v", run)
	}
	if run := s.runBefore(25); run != nil {
		t.Fatalf("%v", run)
	}
}

func TestRanges(t *testing.T) {
	var s ranges
	for _, r := range []Range{{5, 6}, {1, 2}, {9, 9}, {3, 4}, {0, 3}, {8, 7}} {
		s = s.add(r)
	}
	if want := (ranges{{1, 6}, {9, 9}}); !slices.Equal(s, want) {
		t.Fatalf("%v", s)
	}
	if s.next() != 7 || !s.has(9) || s.has(8) {
		t.Fatal("next or has is wrong")
	}
	if cut := s.cut(4); !slices.Equal(cut, ranges{{1, 4}}) {
		t.Fatalf("%v", cut)
	}
	for i := range uint64(100) {
		s = s.add(Range{20 + 10*i, 22 + 10*i})
	}
	if len(s) != maxRanges || !s.has(1) || s.has(9) {
		t.Fatalf("%d ranges, %v", len(s), s[:2])
	}
}

func TestEachMergesOverlay(t *testing.T) {
	s := open(t, testOptions(t.TempDir()))
	for i, key := range []string{"b", "d", "a", "e", "c"} {
		if _, err := s.Append(Batch{Rows: []Row{{"t", key, []byte(fmt.Sprint(i))}}}); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if err := s.Move(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	if err := s.Each("t", "b", func(k string, _ []byte) bool { got = append(got, k); return k != "d" }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[b c d]" {
		t.Fatal(got)
	}
}

// TestBlockIsBounded: a block that was made to become more than any block is takes
// no more memory than it has itself; those of all sizes are read.
func TestBlockIsBounded(t *testing.T) {
	pk := testPacker(t)
	for _, size := range []int{1, 5, 100, 255, 256, 257, 70_000, MaxRecord} {
		data := bytes.Repeat([]byte{7}, size)
		made := blockOf(&block{epoch: 1, records: []stored{{n: 1, seq: 1, crc: checksum(data), data: data}}}, pk)
		blk, err := parseBlockValue(made, pk)
		if err != nil || !bytes.Equal(blk.records[0].data, data) {
			t.Fatalf("a record of %d bytes: %v", size, err)
		}
	}
	zeros := make([]byte, 32<<20)
	one, bomb := pk.press.enc.EncodeAll(zeros[:100<<10], nil), pk.press.enc.EncodeAll(zeros, nil)
	before := heapTaken()
	for _, body := range [][]byte{bomb, append(one, bomb...)} {
		if out, err := pk.press.open(codecZstd, body, blockMost); err == nil {
			t.Errorf("%d bytes became %d", len(body), len(out))
		}
	}
	if took := heapTaken() - before; took > 4<<20 {
		t.Errorf("it took %d MB", took>>20)
	}
}

// heapTaken is what was ever taken.
func heapTaken() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
