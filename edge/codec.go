package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The binary form of an event, version 1. Lengths and n are uvarints, the last
// four bytes are the CRC-32C of all before them, little endian.
//
//	version 1 | kind and flags | [kind's text] | name | from |      the head
//	[cause: epoch, n | cause's text] | [origin] | data | checksum
//
// Numbers, stamp and ring are not in it: the store keeps them.
const (
	payloadVersion = 1

	kindMask  = 0x0f // 0: the text follows
	hasCause  = 0x10 // as epoch and n
	hasText   = 0x20 // a cause that is no id of this form
	hasOrigin = 0x40

	checksumSize = 4
)

// kindCodes gives each kind its code: its place here. The order is the format's.
var kindCodes = [...]Kind{1: Change, 2: Sample, 3: Message, 4: Acted, 5: Hook, 6: Loss, 7: System, 8: Gap}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errPayload = errors.New("decode event: damaged")

// AppendPayload appends the event's binary form, the bytes of queue.Entry.Data:
// kind, name, from, cause, origin and data. It fails for a gap that was made on
// reading, which is never stored.
func AppendPayload(dst []byte, e *Event) ([]byte, error) {
	if e.Hole != nil {
		return dst, errors.New("encode event: a gap made on reading is not stored")
	}
	start := len(dst)
	code := kindCode(e.Kind)
	flags := code
	epoch, n, isID := parseID(e.Cause)
	switch {
	case isID:
		flags |= hasCause
	case e.Cause != "":
		flags |= hasText
	}
	if e.Origin != nil {
		flags |= hasOrigin
	}
	dst = append(dst, payloadVersion, flags)
	if code == 0 {
		dst = appendText(dst, string(e.Kind))
	}
	dst = appendText(dst, e.Name)
	dst = appendText(dst, e.From)
	if isID {
		dst = binary.AppendUvarint(binary.BigEndian.AppendUint32(dst, epoch), n)
	} else if e.Cause != "" {
		dst = appendText(dst, e.Cause)
	}
	if e.Origin != nil {
		dst = e.Origin.append(dst)
	}
	dst = append(dst, e.Data...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli)), nil
}

func kindCode(k Kind) byte {
	for i, v := range kindCodes {
		if i > 0 && v == k {
			return byte(i)
		}
	}
	return 0
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (o *Origin) append(dst []byte) []byte {
	dst = appendText(dst, o.Agent)
	dst = appendText(dst, o.ID)
	dst = appendText(dst, o.Ring)
	dst = binary.AppendUvarint(dst, o.Seq)
	dst = binary.AppendVarint(dst, o.Time.Unix())
	return binary.AppendUvarint(dst, uint64(o.Time.Nanosecond()))
}

// DecodePayload sets kind, name, from, cause, origin and data of e from b, and
// leaves the rest of it. Data shares b's memory. Where e's texts are the same
// already they are kept, which saves a reader of many events the copies.
func DecodePayload(b []byte, e *Event) error { return decodePayload(b, e, nil) }

// decodePayload takes the texts that it has to copy from in, which may be nil.
func decodePayload(b []byte, e *Event, in *interner) error {
	if len(b) < 2+checksumSize {
		return errPayload
	}
	if b[0] != payloadVersion {
		return fmt.Errorf("decode event: format %d is not known", b[0])
	}
	body := b[:len(b)-checksumSize]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return errPayload
	}
	r := payloadReader{rest: body[2:]}
	flags := body[1]
	if code := flags & kindMask; code == 0 {
		keep((*string)(&e.Kind), r.text(), in)
	} else if int(code) < len(kindCodes) {
		e.Kind = kindCodes[code]
	} else {
		r.bad = true
	}
	keep(&e.Name, r.text(), in)
	keep(&e.From, r.text(), in)
	e.Cause, e.Origin = "", nil
	switch {
	case flags&hasCause != 0 && flags&hasText != 0, flags&0x80 != 0:
		r.bad = true
	case flags&hasCause != 0:
		epoch := r.uint32()
		e.Cause = EventID(epoch, r.uvarint())
	case flags&hasText != 0:
		e.Cause = string(r.text())
	}
	if flags&hasOrigin != 0 {
		e.Origin = r.origin()
	}
	if r.bad {
		return errPayload
	}
	e.Data = r.rest[:len(r.rest):len(r.rest)]
	return nil
}

// keep sets s to b without a copy where it is that already.
func keep(s *string, b []byte, in *interner) {
	if *s != string(b) {
		*s = in.text(b)
	}
}

// interner remembers a few short texts, so that events that share them don't
// each copy them. A nil one remembers nothing.
type interner [64]string

func (in *interner) text(b []byte) string {
	if in == nil || len(b) == 0 || len(b) > 64 {
		return string(b)
	}
	s := &in[(uint(len(b))+uint(b[0])*3+uint(b[len(b)/2])*5+uint(b[len(b)-1])*7)%uint(len(in))]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}

// payloadReader takes fields off rest; bad stays true after the first that is
// not there.
type payloadReader struct {
	rest []byte
	bad  bool
}

func (r *payloadReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *payloadReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *payloadReader) uint32() uint32 {
	if len(r.rest) < 4 {
		r.bad, r.rest = true, nil
		return 0
	}
	v := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return v
}

func (r *payloadReader) text() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	t := r.rest[:n]
	r.rest = r.rest[n:]
	return t
}

func (r *payloadReader) origin() *Origin {
	o := &Origin{Agent: string(r.text()), ID: string(r.text()), Ring: string(r.text()), Seq: r.uvarint()}
	sec, ns := r.varint(), r.uvarint()
	if ns >= uint64(time.Second) {
		r.bad = true
		return nil
	}
	o.Time = time.Unix(sec, int64(ns)).UTC()
	return o
}
