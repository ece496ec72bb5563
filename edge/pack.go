package edge

import "errors"

// BlockCodec packs the payloads of a block.
type BlockCodec struct{}

// Pack packs.
func (BlockCodec) Pack(dst []byte, payloads [][]byte) []byte { return dst }

// Unpack unpacks.
func (BlockCodec) Unpack(packed []byte, count int) ([][]byte, error) {
	return nil, errors.New("unpack block: not built")
}
