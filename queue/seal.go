package queue

import (
	"encoding/binary"
	"hash/crc32"
)

// A value in state.db ends with a CRC-32C of its bucket, its key and itself.
// bbolt has no checksum on what is no meta page: a bit that flipped in a ring's
// last number would have numbers given twice, and one in a cursor would skip
// what nobody acknowledged. A row whose checksum fails counts as none.
const sealSize = 4

func sealOf(bucket, key, value []byte) uint32 {
	sum := crc32.Update(uint32(len(bucket)), castagnoli, bucket)
	sum = crc32.Update(sum^uint32(len(key)), castagnoli, key)
	return crc32.Update(sum, castagnoli, value)
}

// seal gives the value as it is stored.
func seal(bucket, key, value []byte) []byte {
	out := make([]byte, 0, len(value)+sealSize)
	return binary.LittleEndian.AppendUint32(append(out, value...), sealOf(bucket, key, value))
}

// unseal gives what was sealed, which points into stored; ok is false where
// there is nothing or it is damaged.
func unseal(bucket, key, stored []byte) (value []byte, ok bool) {
	n := len(stored) - sealSize
	if n < 0 {
		return nil, false
	}
	value = stored[:n:n]
	return value, binary.LittleEndian.Uint32(stored[n:]) == sealOf(bucket, key, value)
}
