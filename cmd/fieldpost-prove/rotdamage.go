package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// rotKind is one way of a disk to rot. It gets the file whole and gives what is
// left of it; nil means that the file is gone.
type rotKind struct {
	name string
	do   func(raw []byte, page int, rng *rand.Rand) []byte
	rest bool // it takes all behind the page too
	all  bool // it takes the whole file
}

// rotKinds is the table of them. Those of single pages come twice, since there
// are more of them on real cards.
func rotKinds() []rotKind {
	at := func(raw []byte, page int) []byte {
		return raw[min(page*rotPage, len(raw)):min((page+1)*rotPage, len(raw))]
	}
	onPage := func(fn func(p []byte, rng *rand.Rand)) func([]byte, int, *rand.Rand) []byte {
		return func(raw []byte, page int, rng *rand.Rand) []byte {
			if p := at(raw, page); len(p) > 0 {
				fn(p, rng)
			}
			return raw
		}
	}
	flip := onPage(func(p []byte, rng *rand.Rand) { p[rng.IntN(len(p))] ^= 1 << rng.IntN(8) })
	return []rotKind{
		{name: "page zeroed", do: onPage(func(p []byte, _ *rand.Rand) { clear(p) })},
		{name: "bit flipped", do: flip},
		{name: "bit flipped in the page's head", do: onPage(func(p []byte, rng *rand.Rand) { p[rng.IntN(min(len(p), 64))] ^= 1 << rng.IntN(8) })},
		{name: "sector zeroed", do: onPage(func(p []byte, rng *rand.Rand) {
			from := min(512*rng.IntN(8), max(0, len(p)-1))
			clear(p[from:min(from+512, len(p))])
		})},
		{name: "another page in its place", do: func(raw []byte, page int, rng *rand.Rand) []byte {
			if pages := len(raw) / rotPage; pages > 1 {
				copy(at(raw, page), at(raw, (page+1+rng.IntN(pages-1))%pages))
			}
			return raw
		}},
		{name: "random bytes", do: onPage(func(p []byte, rng *rand.Rand) {
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
		})},
		{name: "bit flipped in a value", do: flipValue},
		{name: "cut at the page", rest: true, do: func(raw []byte, page int, _ *rand.Rand) []byte { return raw[:min(page*rotPage, len(raw))] }},
		{name: "empty", all: true, do: func([]byte, int, *rand.Rand) []byte { return []byte{} }},
		{name: "deleted", all: true, do: func([]byte, int, *rand.Rand) []byte { return nil }},
	}
}

// flipValue flips a bit of a byte that is not zero: free space is not hit.
func flipValue(raw []byte, page int, rng *rand.Rand) []byte {
	p := raw[min(page*rotPage, len(raw)):min((page+1)*rotPage, len(raw))]
	var at []int
	for i, c := range p {
		if c != 0 {
			at = append(at, i)
		}
	}
	if len(at) > 0 {
		p[at[rng.IntN(len(at))]] ^= 1 << rng.IntN(8)
	}
	return raw
}

// rotState is one damage of one store.
type rotState struct {
	number int
	spot   rotSpot
	kind   rotKind
	boot   string // that the store is opened in: its own, or the next
	seed   uint64
}

// state is the damage of a number: the same for the same seed. Pages are taken in
// turn, or at random where not all of them can be.
func (f *rotFacts) state(seed uint64, number int, inTurn bool) rotState {
	rng := rand.New(rand.NewPCG(seed, uint64(number)*0x9e3779b97f4a7c15))
	s := rotState{number: number, spot: f.Pages[number%len(f.Pages)], boot: "boot-2", seed: rng.Uint64()}
	if !inTurn {
		s.spot = f.Pages[rng.IntN(len(f.Pages))]
	}
	kinds := rotKinds()
	s.kind = kinds[rng.IntN(len(kinds))]
	// A file that lost its end or all is a state of the file, and not of each of its
	// pages: fewer of them.
	if (s.kind.all || s.kind.rest) && rng.IntN(3) > 0 {
		s.kind = kinds[rng.IntN(7)]
	}
	// Rot of the journal shows when it is read from the disk again, after a boot;
	// within one the kernel has what was written.
	if rng.IntN(2) == 0 || filepath.Dir(s.spot.File) == "." {
		s.boot = "boot-3"
	}
	return s
}

func (s rotState) String() string {
	return fmt.Sprintf("state %d, %s page %d %s, then opened in %s", s.number, s.spot.File, s.spot.Page, s.kind.name, s.boot)
}

// explains is what may be lost: what the damage took the only copy of.
func (f *rotFacts) explains(s rotState) rotSet {
	loss := f.Loss[s.spot.File]
	switch {
	case s.kind.all:
	case s.kind.rest:
		loss = loss[min(s.spot.Page, len(loss)):]
	default:
		return loss[s.spot.Page]
	}
	var all rotSet
	for _, l := range loss {
		all = append(all, l...)
	}
	return all
}

// strike damages a copy of the store.
func (s rotState) strike(dir string) error {
	path := filepath.Join(dir, s.spot.File)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	left := s.kind.do(raw, s.spot.Page, rand.New(rand.NewPCG(s.seed, 1)))
	if err := os.Remove(path); err != nil || left == nil { // it may be a link to the store that stays whole
		return err
	}
	return os.WriteFile(path, left, 0o600)
}
