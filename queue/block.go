package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A block is the value of one key of a segment: consecutive seqs of one epoch.
//
//	"FPB1" | crc32c of the rest (4) | version (1) | codec (1) | packing (1) | 0
//	| epoch (4) | count (2) | 0 (2) | first seq (8) | first n (8) | body length (4) | body
//	body, plain or zstd: a head a record {n as a difference, crc32c of the data (4),
//	boot, mono as a difference, length}, then the data, as they are or packed
//
// The magic and the checksum let a salvage find it in any bytes. The first seq
// stands in the key too.
const (
	blockMagic   = "FPB1"
	blockV1      = 1
	packPlain    = 0
	packCodec    = 1
	dataHeader   = 40
	blockRecords = 64
	blockBytes   = 16 << 10
)

var errBlock = errors.New("damaged block")

// stored is one record of a block.
type stored struct {
	n     uint64
	seq   uint64
	stamp Stamp
	crc   uint32
	data  []byte
}

// block is a decoded block.
type block struct {
	epoch   uint32
	records []stored // seqs are consecutive
}

func (b *block) first() uint64 { return b.records[0].seq }
func (b *block) last() uint64  { return b.records[len(b.records)-1].seq }

// appendBlock encodes a block; scratch is room to work in, given back grown.
func appendBlock(dst, scratch []byte, b *block, pk packer) (out, room []byte) {
	body, packing := appendBody(scratch[:0], b, pk.codec)
	at := len(dst)
	dst = append(dst, zeros[:dataHeader]...)
	dst, codec := pk.press.shrink(dst, body)
	h := dst[at:]
	copy(h, blockMagic)
	h[8], h[9], h[10] = blockV1, codec, packing
	binary.LittleEndian.PutUint32(h[12:], b.epoch)
	binary.LittleEndian.PutUint16(h[16:], uint16(len(b.records)))
	binary.LittleEndian.PutUint64(h[20:], b.first())
	binary.LittleEndian.PutUint64(h[28:], b.records[0].n)
	binary.LittleEndian.PutUint32(h[36:], uint32(len(h)-dataHeader))
	binary.LittleEndian.PutUint32(h[4:], checksum(h[8:]))
	return dst, body
}

// appendBody encodes what stands behind a block's header, and says how the data
// are packed.
func appendBody(dst []byte, b *block, codec Codec) (body []byte, packing byte) {
	n, mono := b.records[0].n, int64(0)
	for _, r := range b.records {
		dst = binary.AppendUvarint(dst, r.n-n)
		dst = binary.LittleEndian.AppendUint32(dst, r.crc)
		dst = binary.AppendUvarint(dst, uint64(r.stamp.Boot))
		dst = binary.AppendVarint(dst, r.stamp.Mono-mono)
		dst = binary.AppendUvarint(dst, uint64(len(r.data)))
		n, mono = r.n, r.stamp.Mono
	}
	if codec != nil {
		payloads := make([][]byte, len(b.records))
		for i, r := range b.records {
			payloads[i] = r.data
		}
		return codec.Pack(dst, payloads), packCodec
	}
	for _, r := range b.records {
		dst = append(dst, r.data...)
	}
	return dst, packPlain
}

// blockFrame checks the header and checksum of the block at the start of b,
// which may be longer, and gives its length.
func blockFrame(b []byte) (length int, ok bool) {
	if len(b) < dataHeader || string(b[:4]) != blockMagic {
		return 0, false
	}
	body := binary.LittleEndian.Uint32(b[36:])
	if uint64(body) > uint64(len(b)-dataHeader) {
		return 0, false
	}
	length = dataHeader + int(body)
	return length, binary.LittleEndian.Uint32(b[4:]) == checksum(b[8:length])
}

// blockRange gives the first seq, count and first n of a block by its header.
func blockRange(b []byte) (first uint64, count int, n uint64, ok bool) {
	if len(b) < dataHeader || string(b[:4]) != blockMagic {
		return 0, 0, 0, false
	}
	return binary.LittleEndian.Uint64(b[20:]), int(binary.LittleEndian.Uint16(b[16:])), binary.LittleEndian.Uint64(b[28:]), true
}

// parseBlockValue decodes a block; the data point into b or into memory of the
// codec's.
func parseBlockValue(b []byte, pk packer) (*block, error) {
	length, ok := blockFrame(b)
	if !ok || length != len(b) {
		return nil, errBlock
	}
	if b[8] != blockV1 {
		return nil, fmt.Errorf("read block: version %d: %w", b[8], ErrNewer)
	}
	body, err := pk.press.open(b[9], b[dataHeader:], blockMost)
	if errors.Is(err, ErrNewer) {
		return nil, fmt.Errorf("read block: %w", err)
	}
	if err != nil {
		return nil, errBlock
	}
	out := &block{epoch: binary.LittleEndian.Uint32(b[12:])}
	count := int(binary.LittleEndian.Uint16(b[16:]))
	seq := binary.LittleEndian.Uint64(b[20:])
	n := binary.LittleEndian.Uint64(b[28:])
	r := reader{b: body}
	if count == 0 || count > len(r.b) {
		return nil, errBlock
	}
	out.records = make([]stored, count)
	lengths := make([]int, count)
	mono := int64(0)
	for i := range out.records {
		rec := &out.records[i]
		n += r.uvarint()
		rec.n, rec.seq = n, seq+uint64(i)
		rec.crc = r.uint32()
		rec.stamp.Boot = uint32(r.uvarint())
		mono += r.varint()
		rec.stamp.Mono = mono
		lengths[i] = int(r.uvarint())
	}
	if r.bad {
		return nil, errBlock
	}
	if err := out.fill(r.b, lengths, b[10], pk.codec); err != nil {
		return nil, err
	}
	return out, nil
}

// fill gives the records their data.
func (b *block) fill(body []byte, lengths []int, packing byte, codec Codec) error {
	switch {
	case packing == packPlain:
		r := reader{b: body}
		for i := range b.records {
			b.records[i].data = r.take(lengths[i])
		}
		if r.bad || len(r.b) != 0 {
			return errBlock
		}
	case packing == packCodec && codec != nil:
		var data [][]byte
		err := guard(func() (err error) { // a codec that panics costs this block, not the program
			data, err = codec.Unpack(body, len(lengths))
			return err
		})
		if err != nil || len(data) != len(lengths) {
			return fmt.Errorf("unpack block: %v: %w", err, errBlock)
		}
		for i := range b.records {
			b.records[i].data = data[i]
		}
	default:
		return fmt.Errorf("unpack block: packing %d is not known here: %w", packing, ErrNewer) // whole, so no damage
	}
	for i, r := range b.records {
		if len(r.data) != lengths[i] || checksum(r.data) != r.crc {
			return errBlock
		}
	}
	return nil
}
