package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// crashVerdict is what came of one state.
type crashVerdict struct {
	start  time.Duration // from Open to the first acknowledged event
	lost   int
	broken []string
}

func (v *crashVerdict) failed(format string, args ...any) {
	v.broken = append(v.broken, fmt.Sprintf(format, args...))
}

// crashNew is the C of the first event that is posted after a cut: none of the
// workload has it.
const crashNew = 1 << 40

// checkStore opens the store of a mounted state as the agent does after a power
// cut, stores something new in it, and compares all that can be read with what
// the world was told. With restart it closes and opens it once more.
func checkStore(ctx context.Context, opt queue.Options, must *crashMust, restart bool) *crashVerdict {
	v := &crashVerdict{}
	for life := range uint64(2) {
		began := time.Now()
		s, err := openCrashStore(opt)
		for errors.Is(err, queue.ErrLocked) && time.Since(began) < startBound { // a program that is just being started has our descriptors until its exec
			time.Sleep(time.Millisecond)
			s, err = openCrashStore(opt)
		}
		if err != nil {
			v.failed("the store does not open: %v", err)
			return v
		}
		epoch := s.Epoch()
		v.post(ctx, s, must, crashNew+1000*life)
		if life == 0 {
			v.start = time.Since(began)
			v.repost(ctx, s, must)
		}
		v.read(s, must)
		v.rows(s, must)
		if err := s.Close(); err != nil {
			v.failed("the store does not close: %v", err)
		}
		if life == 1 && s.Epoch() != epoch {
			v.failed("a clean restart began epoch %08x after %08x", s.Epoch(), epoch)
		}
		if !restart {
			break
		}
	}
	return v
}

// post stores an event in each ring: the store must take them at once.
func (v *crashVerdict) post(ctx context.Context, s *crashStore, must *crashMust, c uint64) {
	var ids []crashID
	for i, ring := range crashPosts() {
		ids = append(ids, crashID{Ring: ring, C: c + uint64(i)})
	}
	must.add(crashNote{What: noteTry, IDs: ids})
	got, err := s.post(ctx, ids, "")
	if err != nil {
		v.failed("nothing can be stored: %v", err)
		return
	}
	v.broken = append(v.broken, must.add(crashNote{What: noteAck, IDs: got})...)
}

// repost sends again what was posted with a key, as a client does that was cut
// off: what was acknowledged gets its old answer, and nothing is stored twice.
func (v *crashVerdict) repost(ctx context.Context, s *crashStore, must *crashMust) {
	keys := make([]string, 0, len(must.asked))
	for key := range must.asked {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return int(int64(must.asked[b][0].C) - int64(must.asked[a][0].C)) })
	for _, key := range keys[:min(len(keys), 6)] {
		got, err := s.post(ctx, must.asked[key], key)
		if err != nil {
			v.failed("repeat of key %s: %v", key, err)
			continue
		}
		want, ok := must.keyed[key]
		if ok && !slices.Equal(got, want) {
			v.failed("key %s was answered %v, and now %v", key, want, got)
		}
		if !ok {
			v.broken = append(v.broken, must.add(crashNote{What: noteAck, IDs: got, Key: key})...)
		}
	}
}

// read reads every ring and compares.
func (v *crashVerdict) read(s *crashStore, must *crashMust) {
	var rows map[uint64]crashID // read first: the holes of samples name them
	for _, ring := range slices.Backward(crashRings()) {
		log := &ringRead{ring: ring, seqs: map[uint64]crashID{}, rows: rows}
		if ring == crashRows() {
			rows = log.seqs
		}
		for after, end := uint64(0), false; !end; {
			page, err := s.Read(ring, after, queue.Max{})
			if err != nil {
				v.failed("ring %s can't be read after %d: %v", ring, after, err)
				break
			}
			for _, it := range page.Items {
				if it.Hole != nil {
					log.hole(v, *it.Hole)
					continue
				}
				c, ok := crashContent(ring, it.Data)
				log.record(v, crashID{Ring: ring, C: c, Epoch: it.Epoch, N: it.N, Seq: it.Seq}, ok)
			}
			after, end = page.Next, page.End
		}
		log.compare(v, must)
	}
	v.merged(s)
}

// merged reads all rings by n: each n once, in order, and as many as there are.
func (v *crashVerdict) merged(s *crashStore) {
	last := uint64(0)
	for after, end := uint64(0), false; !end; {
		page, err := s.ReadAll(crashRings(), after, queue.Max{})
		if err != nil {
			v.failed("all rings can't be read after %d: %v", after, err)
			return
		}
		for _, it := range page.Items {
			if it.Hole == nil && it.N <= last {
				v.failed("n %d of ring %s stands after %d", it.N, it.Ring, last)
			}
			if it.Hole == nil {
				last = it.N
			}
		}
		after, end = page.Next, page.End
	}
}

// rows compares the mailbox and the cursor.
func (v *crashVerdict) rows(s *crashStore, must *crashMust) {
	box, ok := s.Mailbox(crashMailbox)
	switch {
	case !ok && must.mailKnown:
		v.lost++
		v.failed("the mailbox is gone, which was at %d", must.mail)
	case ok && !(must.mailKnown && box.N == must.mail || slices.Contains(must.mailTried, box.N)):
		v.failed("the mailbox is at %d; %d was acknowledged and %d tried since", box.N, must.mail, must.mailTried)
	}
	for _, ring := range crashRings() {
		have := s.Cursor(crashCursor).Ranges(ring)
		for _, r := range have {
			if !spanHolds(must.may[ring], r) {
				v.failed("the cursor has %v of ring %s; only %v was acknowledged to it", r, ring, must.may[ring])
			}
		}
		for _, r := range must.must[ring] {
			if !spanHolds(have, r) {
				v.failed("the cursor of ring %s has %v, and %v of it was durable", ring, have, r)
			}
		}
	}
}

// ringRead is what a reader of one whole ring got, from its first number on.
type ringRead struct {
	ring  string
	next  uint64 // what must come next, less one
	first uint64 // the first record; 0 where there is none
	seqs  map[uint64]crashID
	holes []queue.Hole
	bad   []crashID          // records whose content is nobody's
	rows  map[uint64]crashID // of the ring that it thins into
}

// hole takes a hole.
func (l *ringRead) hole(v *crashVerdict, h queue.Hole) {
	if h.From != l.next+1 || h.To < h.From {
		v.failed("ring %s: a hole %d..%d stands after %d", l.ring, h.From, h.To, l.next)
	}
	l.next = max(l.next, h.To)
	l.holes = append(l.holes, h)
}

// record takes an event of the workload, whose content is right where ok.
func (l *ringRead) record(v *crashVerdict, id crashID, ok bool) {
	l.pass(v, id)
	l.seqs[id.Seq] = id
	if !ok {
		l.bad = append(l.bad, id)
	}
}

// other takes an event that is not of the workload: nobody may know its id as
// one's that is.
func (l *ringRead) other(v *crashVerdict, id crashID, must *crashMust) {
	l.pass(v, id)
	if c, ok := must.byN[epochN{id.Epoch, id.N}]; ok {
		v.failed("the id %08x-%d has two contents: %d and another", id.Epoch, id.N, c)
	}
}

// pass moves over one number.
func (l *ringRead) pass(v *crashVerdict, id crashID) {
	if id.Seq != l.next+1 {
		v.failed("ring %s: seq %d stands after %d", l.ring, id.Seq, l.next)
	}
	l.next = max(l.next, id.Seq)
	if l.first == 0 {
		l.first = id.Seq
	}
}

// compare holds what was read against what must be there.
func (l *ringRead) compare(v *crashVerdict, must *crashMust) {
	for _, id := range l.bad {
		v.failed("ring %s: seq %d has a content that nobody posted", l.ring, id.Seq)
	}
	for _, id := range l.seqs {
		v.broken = append(v.broken, must.number(id)...)
	}
	if l.ring == edge.RingSamples {
		for seq, id := range l.seqs {
			if spanHolds(must.thinned, queue.Range{From: seq, To: seq}) {
				v.failed("ring %s: %v is back, which was thinned", l.ring, id)
			}
		}
	}
	told := must.told[l.ring]
	seqs := make([]uint64, 0, len(told))
	for seq := range told {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	missing, first := 0, crashID{}
	for _, seq := range seqs {
		want := told[seq]
		have, ok := l.seqs[seq]
		if ok && have == want || !ok && l.gone(seq, must) {
			continue
		}
		if missing++; missing == 1 {
			first = want
		}
		if ok && have != want {
			v.failed("ring %s: seq %d is %v, and was told as %v", l.ring, seq, have, want)
		}
	}
	if missing > 0 {
		v.lost += missing
		v.failed("ring %s: %d events that were told are not there, %v first; the ring is 1..%d with the holes %v", l.ring, missing, first, l.next, l.holes)
	}
	for _, h := range l.holes {
		if !l.legitimate(h, must) {
			v.failed("ring %s of 1..%d: hole %d..%d with cause %s", l.ring, l.next, h.From, h.To, h.Cause)
		}
	}
}

// oldest is the first record, or the last number where damage took all records of the
// newest segment.
func (l *ringRead) oldest() uint64 {
	if l.first == 0 {
		return l.next
	}
	return l.first
}

// gone reports whether a hole tells of a seq, for a reason that may be.
func (l *ringRead) gone(seq uint64, must *crashMust) bool {
	return slices.ContainsFunc(l.holes, func(h queue.Hole) bool { return h.From <= seq && seq <= h.To && l.legitimate(h, must) })
}

// legitimate reports whether a hole may be, by the bounds of its ring and by what
// was damaged on purpose.
func (l *ringRead) legitimate(h queue.Hole, must *crashMust) bool {
	switch h.Cause {
	case queue.Damage:
		return spanHolds(must.damage[l.ring], queue.Range{From: h.From, To: h.To})
	case queue.Evicted:
		return l.ring == edge.RingAlarms && h.To+crashKeep <= l.next ||
			l.ring == edge.RingSamples && h.To < l.oldest() // by whole segments, of which the newest stays
	case queue.Thinned:
		for seq := h.Rows.From; seq <= h.Rows.To; seq++ { // it is durable with its rows, or not at all
			if _, ok := l.rows[seq]; !ok {
				return false
			}
		}
		return l.ring == edge.RingSamples && h.Rows.Ring == crashRows() && h.Rows.From > 0 && spanHolds(must.thin, queue.Range{From: h.From, To: h.To})
	}
	return false
}
