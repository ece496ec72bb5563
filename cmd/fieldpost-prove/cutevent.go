package main

import (
	"fmt"
	"math/rand/v2"
)

// cutRings are the rings that the writers of a fault's run fill: the two that
// kinds choose, alarms, and one for each writer, which is made at run time.
var cutRings = [...]string{"events", "samples", "alarms", "lab"}

// eventKind is the kind that a ring's events have.
func eventKind(ring string) string {
	if ring == "samples" {
		return "sample"
	}
	return "message"
}

// markRing is the ring that the event m goes to.
func markRing(m mark) string {
	ring := cutRings[markRand(m).IntN(len(cutRings))]
	if ring == "lab" {
		return fmt.Sprintf("lab-%d", m.Client)
	}
	return ring
}

// markName is the event's name.
func markName(m mark) string { return fmt.Sprintf("writer/%d", m.Client) }

// markRand is random and the same for the same event.
func markRand(m mark) *rand.Rand { return rand.New(rand.NewPCG(uint64(m.Client), uint64(m.K))) }

// markData is the event's data: who sent it, and a text that depends on that, of
// some bytes mostly, of more than a block of the journal at times, of many blocks
// seldom. So the checker knows every byte that it must find.
func markData(m mark) []byte {
	r := markRand(m)
	r.IntN(len(cutRings)) // the ring's
	size := 10 + r.IntN(90)
	switch d := r.IntN(1000); {
	case d < 1:
		size = 20_000 + r.IntN(40_000)
	case d < 20:
		size = 2000 + r.IntN(4000)
	case d < 200:
		size = 100 + r.IntN(600)
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	text := make([]byte, size)
	for i := 0; i < len(text); {
		for bits, n := r.Uint64(), 0; n < 10 && i < len(text); n, i = n+1, i+1 {
			text[i] = letters[bits&63]
			bits >>= 6
		}
	}
	return fmt.Appendf(nil, `{"client":%d,"k":%d,"text":"%s"}`, m.Client, m.K, text)
}

// markInput is the event as a client sends it.
func markInput(dst []byte, m mark) []byte {
	ring := markRing(m)
	dst = fmt.Appendf(dst, `{"name":"%s"`, markName(m))
	switch ring {
	case "events":
	case "samples":
		dst = append(dst, `,"kind":"sample"`...)
	default:
		dst = fmt.Appendf(dst, `,"ring":"%s"`, ring)
	}
	dst = append(dst, `,"data":`...)
	return append(append(dst, markData(m)...), '}')
}
