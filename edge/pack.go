package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"fieldpost/queue"
)

// BlockCodec packs the payloads of one block: a head (version, kind, name and
// from) that several share is stored once, and a checksum that is right is left
// out and worked out again. A payload that it does not understand is stored as
// it is, so that any bytes come back exactly.
//
//	version 1 | per payload: tag | ...
//	tag 0: length, bytes                     as it is
//	tag 1: length, head, length, the rest    a new head
//	tag k: length, the rest                  the head k-2
type BlockCodec struct{}

var _ queue.Codec = BlockCodec{}

const (
	packVersion = 1

	tagRaw  = 0
	tagNew  = 1
	tagHead = 2 // and up

	maxHeads = 64   // heads that a block remembers
	maxHead  = 1024 // bytes of one: bounds what a few damaged bytes can unpack to

	maxUnpacked = 64 << 20 // bytes: no block comes near it
)

var errPack = errors.New("unpack block: damaged")

// Pack appends the packed payloads to dst.
func (BlockCodec) Pack(dst []byte, payloads [][]byte) []byte {
	dst = append(dst, packVersion)
	var known [maxHeads][]byte
	heads := known[:0]
	for _, p := range payloads {
		n := headSize(p)
		if n == 0 {
			dst = binary.AppendUvarint(append(dst, tagRaw), uint64(len(p)))
			dst = append(dst, p...)
			continue
		}
		head, rest := p[:n], p[n:len(p)-checksumSize]
		if at := indexOf(heads, head); at >= 0 {
			dst = binary.AppendUvarint(dst, uint64(at+tagHead))
		} else {
			if len(heads) < maxHeads {
				heads = append(heads, head)
			}
			dst = binary.AppendUvarint(append(dst, tagNew), uint64(n))
			dst = append(dst, head...)
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(rest))), rest...)
	}
	return dst
}

func indexOf(heads [][]byte, head []byte) int {
	for i := len(heads) - 1; i >= 0; i-- { // a device that repeats itself is found at once
		if bytes.Equal(heads[i], head) {
			return i
		}
	}
	return -1
}

// headSize is the size of p's head; 0 where p is no payload of this version with
// a right checksum.
func headSize(p []byte) int {
	if len(p) < 2+checksumSize || p[0] != payloadVersion {
		return 0
	}
	body := p[:len(p)-checksumSize]
	r := payloadReader{rest: body[2:]}
	if body[1]&kindMask == 0 {
		r.text()
	}
	r.text()
	r.text()
	n := len(body) - len(r.rest)
	if r.bad || n > maxHead || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(p[len(body):]) {
		return 0
	}
	return n
}

// Unpack gives back what Pack got. The payloads share one block of memory.
func (BlockCodec) Unpack(packed []byte, count int) ([][]byte, error) {
	if len(packed) == 0 || packed[0] != packVersion || count < 0 || count > len(packed) {
		return nil, errPack
	}
	size, err := unpackedSize(packed, count)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 0, size)
	out := make([][]byte, count)
	u := unpacker{r: payloadReader{rest: packed[1:]}}
	for i := range out {
		head, rest, raw := u.next()
		from := len(buf)
		buf = append(append(buf, head...), rest...)
		if !raw {
			buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[from:], castagnoli))
		}
		out[i] = buf[from:len(buf):len(buf)]
	}
	return out, nil
}

// unpackedSize walks the block once: its payloads are bounded before any memory
// is taken for them.
func unpackedSize(packed []byte, count int) (int, error) {
	size := 0
	u := unpacker{r: payloadReader{rest: packed[1:]}}
	for range count {
		head, rest, raw := u.next()
		size += len(head) + len(rest)
		if !raw {
			size += checksumSize
		}
		if u.r.bad || size > maxUnpacked {
			return 0, errPack
		}
	}
	if len(u.r.rest) != 0 {
		return 0, errPack
	}
	return size, nil
}

// unpacker walks a block.
type unpacker struct {
	r     payloadReader
	known [maxHeads][]byte
	heads int
}

func (u *unpacker) next() (head, rest []byte, raw bool) {
	switch tag := u.r.uvarint(); tag {
	case tagRaw:
		return nil, u.r.text(), true
	case tagNew:
		head = u.r.text()
		if len(head) > maxHead {
			u.r.bad = true
			return nil, nil, false
		}
		if u.heads < maxHeads {
			u.known[u.heads] = head
			u.heads++
		}
	default:
		if tag-tagHead >= uint64(u.heads) {
			u.r.bad = true
			return nil, nil, false
		}
		head = u.known[tag-tagHead]
	}
	return head, u.r.text(), false
}
