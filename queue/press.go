package queue

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// press makes blocks and large flushes smaller, with zstd. It may be used from
// several goroutines at once; they take turns. It runs none of its own, and nobody
// closes it: a reader may still be at work when the store is closed.
type press struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

const (
	// pressWindow bounds what an encoder remembers, and so its memory; a block is
	// smaller, and in a flush of telemetry what repeats lies close together.
	pressWindow = 256 << 10
	// flushMost is the most that a flush may become when it is opened again: it is at
	// most a journal half before it is pressed.
	flushMost = 64 << 20
	// blockMost is that of a block: one of blockBytes, or of a record of MaxRecord.
	blockMost = 1 << 20
)

func newPress() (*press, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(pressWindow), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false)) // what it makes has checksums of ours
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(flushMost), zstd.WithDecodeAllCapLimit(true)) // no more than it is given room for
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &press{enc: enc, dec: dec}, nil
}

// shrink appends src to dst, pressed where that makes it smaller, and says how.
func (p *press) shrink(dst, src []byte) (out []byte, codec byte) {
	at := len(dst)
	out = p.enc.EncodeAll(src, dst)
	if len(out)-at < len(src) {
		return out, codecZstd
	}
	return append(out[:at], src...), codecPlain
}

// shrinkFlush presses the stream of a flush where that is worth its while. What is
// given stays as it is: the tail goes on to hold it.
func (p *press) shrinkFlush(stream []byte) (out []byte, codec byte) {
	if len(stream) < pressFrom {
		return stream, codecPlain
	}
	return p.shrink(make([]byte, 0, len(stream)), stream)
}

// open undoes shrink, of what was at most so large. What is plain is given as it is.
func (p *press) open(codec byte, src []byte, most int) ([]byte, error) {
	switch codec {
	case codecPlain:
		return src, nil
	case codecZstd:
		var head zstd.Header
		if err := head.Decode(src); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		size := most // what is smallest does not say
		if head.HasFCS {
			if head.FrameContentSize > uint64(most) {
				return nil, fmt.Errorf("decompress: %d bytes, at most %d: %w", head.FrameContentSize, most, zstd.ErrDecoderSizeExceeded)
			}
			size = int(head.FrameContentSize)
		}
		out, err := p.dec.DecodeAll(src, make([]byte, 0, size))
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("codec %d is not known: %w", codec, ErrNewer)
}

// packer is all that it takes to write and read blocks.
type packer struct {
	codec Codec
	press *press
}
