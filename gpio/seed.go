package gpio

import (
	"hash/fnv"
	"math/rand/v2"
)

// Stream is the chance of one thing in a simulation: a series of its own, made of the
// one seed of the run and the thing's name. So one thing more does not change what
// happens to another.
func Stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
