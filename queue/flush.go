package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A flush is a run of 4 KiB blocks of one journal half:
//
//	block   crc32c of the rest (4) | "FJ" | version (1) | first? (1) | generation (4)
//	        | flush number (8) | index in the run (2) | payload bytes (2) | payload
//	run     the payloads joined: length (4) and crc32c (4) of the stream as it is
//	        stored | codec (1) | reserved (3) | stream, plain or zstd
//	stream  epoch (4) | first n (8) | entries | rows
//
// All numbers are little endian. A run counts only whole: a torn one fails a
// block's checksum or the stream's.
const (
	blockSize    = 4096
	blockHeader  = 24
	blockPayload = blockSize - blockHeader
	runHeader    = 12
	journalV1    = 1

	codecPlain = 0
	codecZstd  = 1

	// pressFrom is the size of a stream from which it is compressed: below that the
	// disk takes it faster than it is made smaller.
	pressFrom = 64 << 10
)

// entry is one record on its way through the journal, in the tail and into a
// block. Its data lies in the stream of its flush.
type entry struct {
	ring  string
	seq   uint64
	stamp Stamp
	crc   uint32
	data  []byte
}

// flush is the content of one run.
type flush struct {
	number  uint64
	epoch   uint32
	first   uint64 // n of the first entry
	entries []entry
	rows    []Row
}

var errFlush = errors.New("not a flush")

// streamRoom is at least the bytes that a flush takes as a stream.
func streamRoom(f *flush) int {
	room := 64
	for i := range f.entries {
		room += 56 + len(f.entries[i].ring) + len(f.entries[i].data)
	}
	for _, r := range f.rows {
		room += 32 + len(r.Table) + len(r.Key) + len(r.Value)
	}
	return room
}

// appendStream encodes a flush and points the entries at their bytes in it, so
// that the tail holds one buffer a flush. dst must have streamRoom free.
func appendStream(dst []byte, f *flush) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, f.epoch)
	dst = binary.LittleEndian.AppendUint64(dst, f.first)
	dst = binary.AppendUvarint(dst, uint64(len(f.entries)))
	dst = binary.AppendUvarint(dst, uint64(len(f.rows)))
	var rings []string // few: a scan beats a map
	for i := range f.entries {
		e := &f.entries[i]
		at := 0
		for at < len(rings) && rings[at] != e.ring {
			at++
		}
		if at < len(rings) {
			dst = binary.AppendUvarint(dst, uint64(at+1))
		} else {
			rings = append(rings, e.ring)
			dst = append(dst, 0)
			dst = appendString(dst, e.ring)
			dst = binary.AppendUvarint(dst, e.seq)
		}
		dst = binary.AppendUvarint(dst, uint64(e.stamp.Boot))
		dst = binary.AppendVarint(dst, e.stamp.Mono)
		e.crc = checksum(e.data)
		dst = binary.LittleEndian.AppendUint32(dst, e.crc)
		dst = binary.AppendUvarint(dst, uint64(len(e.data)))
		at = len(dst)
		dst = append(dst, e.data...)
		e.data = dst[at:len(dst):len(dst)]
	}
	for _, r := range f.rows {
		dst = appendString(dst, r.Table)
		dst = appendString(dst, r.Key)
		if r.Value == nil {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, 1)
		dst = appendString(dst, string(r.Value))
	}
	return dst
}

// parseStream reads what appendStream wrote; data points into b.
func parseStream(b []byte) (*flush, error) {
	r := reader{b: b}
	f := &flush{epoch: r.uint32(), first: r.uint64()}
	entries, rows := r.count(), r.count()
	if r.bad {
		return nil, errFlush
	}
	f.entries = make([]entry, 0, entries)
	var rings []string
	var next []uint64
	for range entries {
		ref := r.uvarint()
		if ref == 0 {
			rings = append(rings, string(r.bytes()))
			next = append(next, r.uvarint())
			ref = uint64(len(rings))
		}
		if r.bad || ref > uint64(len(rings)) {
			return nil, errFlush
		}
		at := int(ref - 1)
		e := entry{ring: rings[at], seq: next[at]}
		next[at]++
		e.stamp.Boot = uint32(r.uvarint())
		e.stamp.Mono = r.varint()
		e.crc = r.uint32()
		e.data = r.bytes()
		f.entries = append(f.entries, e)
	}
	for range rows {
		row := Row{Table: string(r.bytes()), Key: string(r.bytes())}
		if r.byte() == 1 {
			row.Value = append([]byte{}, r.bytes()...)
		}
		f.rows = append(f.rows, row)
	}
	if r.bad || len(r.b) != 0 {
		return nil, errFlush
	}
	return f, nil
}

// blocksFor is how many blocks a stream takes.
func blocksFor(stream int) int {
	return (runHeader + stream + blockPayload - 1) / blockPayload
}

// appendRun cuts a stream, stored by the codec, into the blocks of one run.
func appendRun(dst, stream []byte, codec byte, gen uint32, number uint64) []byte {
	var head [runHeader]byte
	binary.LittleEndian.PutUint32(head[0:], uint32(len(stream)))
	binary.LittleEndian.PutUint32(head[4:], checksum(stream))
	head[8] = codec
	for i := range blocksFor(len(stream)) {
		at := len(dst)
		dst = append(dst, make([]byte, blockHeader)...)
		room := blockPayload
		if i == 0 {
			dst = append(dst, head[:]...)
			room -= runHeader
		}
		n := min(room, len(stream))
		dst = append(dst, stream[:n]...)
		stream = stream[n:]
		used := len(dst) - at - blockHeader
		dst = append(dst, zeros[:blockSize-(len(dst)-at)]...)
		b := dst[at:]
		b[4], b[5], b[6] = 'F', 'J', journalV1
		if i == 0 {
			b[7] = 1
		}
		binary.LittleEndian.PutUint32(b[8:], gen)
		binary.LittleEndian.PutUint64(b[12:], number)
		binary.LittleEndian.PutUint16(b[20:], uint16(i))
		binary.LittleEndian.PutUint16(b[22:], uint16(used))
		binary.LittleEndian.PutUint32(b[0:], checksum(b[4:]))
	}
	return dst
}

var zeros [256 << 10]byte

// blockHead is the header of a journal block whose checksum holds.
type blockHead struct {
	first   bool
	gen     uint32
	number  uint64
	index   int
	payload []byte
}

// parseBlock reads one block; ok is false where it was never written, is torn
// or damaged.
func parseBlock(b []byte) (h blockHead, ok bool) {
	if len(b) != blockSize || b[4] != 'F' || b[5] != 'J' {
		return h, false
	}
	used := int(binary.LittleEndian.Uint16(b[22:]))
	if used > blockPayload || binary.LittleEndian.Uint32(b) != checksum(b[4:]) {
		return h, false
	}
	h.first = b[7] == 1
	h.gen = binary.LittleEndian.Uint32(b[8:])
	h.number = binary.LittleEndian.Uint64(b[12:])
	h.index = int(binary.LittleEndian.Uint16(b[20:]))
	h.payload = b[blockHeader : blockHeader+used]
	return h, b[6] == journalV1
}

// readRun reads the run whose first block has the header h, by the block reader
// at, which gives the block i of the half. It gives the flush and the blocks it takes.
func readRun(h blockHead, i int, at func(int) []byte, press *press) (*flush, int, error) {
	if !h.first || h.index != 0 || len(h.payload) < runHeader {
		return nil, 0, errFlush
	}
	length := int(binary.LittleEndian.Uint32(h.payload))
	want := binary.LittleEndian.Uint32(h.payload[4:])
	codec := h.payload[8]
	if length < 0 || length > 1<<27 {
		return nil, 0, errFlush
	}
	blocks := blocksFor(length)
	stream := make([]byte, 0, length)
	stream = append(stream, h.payload[runHeader:]...)
	for k := 1; k < blocks; k++ {
		b, ok := parseBlock(at(i + k))
		if !ok || b.first || b.gen != h.gen || b.number != h.number || b.index != k || len(stream)+len(b.payload) > length {
			return nil, 0, errFlush
		}
		stream = append(stream, b.payload...)
	}
	if len(stream) != length || checksum(stream) != want {
		return nil, 0, errFlush
	}
	plain, err := press.open(codec, stream, flushMost)
	if err != nil {
		return nil, 0, fmt.Errorf("read flush %d: %v: %w", h.number, err, errFlush)
	}
	f, err := parseStream(plain)
	if err != nil {
		return nil, 0, err
	}
	f.number = h.number
	return f, blocks, nil
}
