package queue

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// whole is a block that was found in a damaged file. It is decoded when it is
// written again: what is compressed can be hundreds of times as large.
type whole struct {
	first uint64
	count int
	age   int // the place of its epoch in the epoch table; -1: it is not there
	value []byte
}

// salvageFile finds every whole block in the bytes of a damaged file, wherever
// it lies: a block carries its own magic, length and checksum. Of a block that
// was written again as it filled, the fullest counts; but one of a later epoch
// counts before it.
func salvageFile(path string, epochs []uint32, pk packer) ([]whole, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("salvage %s: %w", filepath.Base(path), err)
	}
	defer f.Close()
	raw := readWhatCan(f)
	found := map[uint64]whole{}
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte(blockMagic))
		if i < 0 {
			break
		}
		at += i
		length, ok := blockFrame(raw[at:])
		if !ok {
			at++
			continue
		}
		value := raw[at : at+length : at+length]
		if blk, err := parseBlockValue(value, pk); err == nil {
			w := whole{blk.first(), len(blk.records), slices.Index(epochs, blk.epoch), value}
			old, ok := found[w.first]
			if !ok || w.age > old.age || w.age == old.age && w.count > old.count {
				found[w.first] = w
			}
		}
		at += length
	}
	return slices.SortedFunc(maps.Values(found), func(a, b whole) int { return cmp.Compare(a.first, b.first) }), nil
}

// readWhatCan reads a file that may have bad sectors: they read as zeros. A
// segment has at most Options.SegmentBytes and a page or two; more is not read.
func readWhatCan(f *os.File) []byte {
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	raw := make([]byte, min(st.Size(), 256<<20))
	for at := 0; at < len(raw); {
		n, err := f.ReadAt(raw[at:], int64(at))
		at += n
		if err == io.EOF {
			break
		}
		if err != nil {
			at = (at/blockSize + 1) * blockSize
		}
	}
	return raw
}

// rebuild writes what can be salvaged of a segment, cut to the seqs from..to, as
// a new file and puts it in the place of the damaged one, which is kept aside.
// It gives the new file's sum and the ranges that are in it. A sum with last 0
// means that nothing was left: then there is no file.
func rebuild(seg *segment, ring string, from, to uint64, epochs []uint32, aside string, opt *Options, pk packer) (sum, []Range, error) {
	blocks, err := salvageFile(seg.path, epochs, pk)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return sum{}, nil, err
	}
	fresh := &segment{path: seg.path + ".new"}
	defer fresh.idle()
	if err := os.Remove(fresh.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sum{}, nil, fmt.Errorf("salvage %s: %w", filepath.Base(seg.path), err)
	}
	f := filler{dropped: func(seg *segment) { _ = seg.remove() }, dir: filepath.Dir(fresh.path), ring: ring, packer: pk, events: 1 << 30, bytes: 1 << 40, mapped: opt.SegmentBytes, fault: opt.Fault}
	kept, err := f.putAgain(fresh, blocks, from, to)
	if err != nil {
		return sum{}, nil, err
	}
	if len(kept) == 0 {
		return sum{}, nil, setAside(seg.path, ring, aside, false)
	}
	if err := setAside(seg.path, ring, aside, true); err != nil {
		return sum{}, nil, err
	}
	if err := os.Rename(fresh.path, seg.path); err != nil {
		return sum{}, nil, fmt.Errorf("salvage %s: %w", filepath.Base(seg.path), err)
	}
	return fresh.sum, kept, SyncFolder(filepath.Dir(seg.path))
}

// salvageBytes is how much of a salvaged segment is written in one transaction, and
// so in memory at once.
const salvageBytes = 2 << 20

// putAgain writes the records of blocks with the seqs from..to into a new segment,
// and gives their ranges.
func (f *filler) putAgain(fresh *segment, blocks []whole, from, to uint64) (kept []Range, err error) {
	var records []stored
	var epochs []uint32
	last, held := from-1, 0
	later := laterEpochs(blocks)
	for i, w := range blocks {
		blk, err := parseBlockValue(w.value, f.packer)
		if err != nil {
			return nil, fmt.Errorf("salvage %s: %w", filepath.Base(fresh.path), err)
		}
		end := later(w.age)
		for _, r := range blk.records {
			if r.seq <= last || r.seq > to || r.seq >= end {
				continue
			}
			records, epochs = append(records, r), append(epochs, blk.epoch)
			if k := len(kept); k > 0 && kept[k-1].To+1 == r.seq {
				kept[k-1].To = r.seq
			} else {
				kept = append(kept, Range{r.seq, r.seq})
			}
			last = r.seq
			held += len(r.data)
		}
		if len(records) == 0 || held < salvageBytes && i+1 < len(blocks) {
			continue
		}
		if fresh.first == 0 {
			fresh.first = kept[0].From
		}
		if _, err := f.putInto(fresh, epochs, records); err != nil {
			return nil, err
		}
		clear(records)
		records, epochs, held = records[:0], epochs[:0], 0
	}
	return kept, nil
}

// laterEpochs gives the lowest seq of a block of a later epoch than one. From there
// on what older blocks have was lost once, and its numbers were given again.
func laterEpochs(blocks []whole) func(age int) uint64 {
	begins := map[int]uint64{}
	for _, w := range blocks { // in the order of seq
		if _, ok := begins[w.age]; !ok {
			begins[w.age] = w.first
		}
	}
	return func(age int) uint64 {
		least := ^uint64(0)
		for other, first := range begins {
			if other > age {
				least = min(least, first)
			}
		}
		return least
	}
}

// keepAside is how many damaged files are kept for who wants to look.
const keepAside = 4

// setAside keeps a damaged file in the folder aside. With stay the name stays in
// place too, so that no instant has neither the old nor the new file.
func setAside(path, ring, aside string, stay bool) error {
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	old, err := os.ReadDir(aside)
	if err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	for i := 0; i <= len(old)-keepAside; i++ {
		if err := os.Remove(filepath.Join(aside, old[i].Name())); err != nil {
			return fmt.Errorf("set aside: %w", err)
		}
	}
	to := filepath.Join(aside, ring+"-"+filepath.Base(path))
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set aside: %w", err)
	}
	if stay {
		if err = os.Link(path, to); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if err := os.Rename(path, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set aside: %w", err)
	}
	return nil
}

// salvage begins to salvage a segment in the background. Readers of it wait.
func (s *Store) salvage(r *ring, seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.salvageLocked(r, seg, false)
}

// salvageLocked does it with s.mu held. Once the store is being closed only the
// last move may: nothing else may touch the files then.
func (s *Store) salvageLocked(r *ring, seg *segment, move bool) {
	if seg == nil || seg.salvage != nil || !slices.Contains(r.segments, seg) {
		return
	}
	_, to := r.segmentAt(seg.first)
	// A move may be writing what the tail has into this very file: it is kept with
	// the rest, and counts as lost nowhere.
	upTo := min(max(to, r.last), r.nextSegment(seg)-1)
	to = min(to, r.tailLow()-1) // the journal brings the rest again, whole
	if to < seg.first && seg.doom() {
		s.log.Error("segment is damaged and set aside", "ring", r.name, "segment", filepath.Base(seg.path))
		if err := setAside(seg.path, r.name, s.aside(), false); err != nil {
			s.log.Error("segment can't be set aside", "ring", r.name, "error", err)
			return
		}
		r.segments = slices.DeleteFunc(slices.Clone(r.segments), func(g *segment) bool { return g == seg })
		return
	}
	if !s.alive() && !move { // the next start finds it
		return
	}
	seg.doom()
	seg.salvage = make(chan struct{})
	s.health.Salvaging++
	s.log.Error("segment is damaged: what is whole in it is being salvaged", "ring", r.name, "segment", filepath.Base(seg.path))
	s.wg.Add(1)
	go s.salvageSegment(r, seg, to, upTo, s.epochIDs())
}

// nextSegment is where the segment behind one begins, or the highest seq there is.
func (r *ring) nextSegment(seg *segment) uint64 {
	if i := slices.Index(r.segments, seg); i >= 0 && i+1 < len(r.segments) {
		return r.segments[i+1].first
	}
	return ^uint64(0)
}

// told reports whether the seqs from..to are all in holes.
func (r *ring) told(from, to uint64) bool {
	for from <= to {
		h, ok := r.holes.find(from)
		if !ok {
			return false
		}
		from = h.to + 1
	}
	return true
}

// salvageMissing begins to salvage the segment that should have a seq and does
// not: its pages lie about what it has. It does so once: what is missing then is
// lost.
func (s *Store) salvageMissing(r *ring, seg *segment, seq uint64) (begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg == nil || seg.salvaged {
		return false
	}
	if at, to := r.segmentAt(seq); at != seg || to < seq {
		return false
	}
	s.salvageLocked(r, seg, false)
	return seg.salvage != nil || !slices.Contains(r.segments, seg)
}

// salvageSegment rebuilds one segment and puts it in its place, once nobody has
// it open, one after the other: each takes a segment's size in RAM. Where the disk
// takes no writes it tries again every 5 s until it does.
func (s *Store) salvageSegment(r *ring, seg *segment, to, upTo uint64, epochs []uint32) {
	defer s.wg.Done()
	for wait := time.Millisecond; ; {
		if seg.unused() {
			s.oneSalvage.Lock()
			sum, kept, err := rebuild(seg, r.name, seg.first, upTo, epochs, s.aside(), &s.opt, s.packer)
			s.oneSalvage.Unlock()
			if err == nil {
				s.endSalvage(r, seg, sum, kept, to)
				return
			}
			s.log.Error("segment can't be salvaged yet", "ring", r.name, "error", err)
			wait = 5 * time.Second
		}
		select {
		case <-s.stop:
			return
		case <-time.After(wait):
		}
	}
}

// endSalvage puts the rebuilt segment in the ring. What it lacks is a hole.
func (s *Store) endSalvage(r *ring, seg *segment, sum sum, kept []Range, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(r.segments, seg); i >= 0 {
		if sum.last > 0 {
			r.segments = slices.Clone(r.segments)
			r.segments[i] = &segment{path: seg.path, first: seg.first, salvaged: true}
		} else {
			r.segments = slices.Delete(slices.Clone(r.segments), i, i+1)
		}
	}
	if _, now := r.segmentAt(seg.first); now >= seg.first {
		to = min(to, now) // a move may have put a new segment behind it meanwhile
	}
	r.loseBetween(seg.first, to, kept)
	s.health.Salvaging--
	close(seg.salvage)
	s.log.Info("segment salvaged", "ring", r.name, "segment", filepath.Base(seg.path), "ranges", len(kept))
	s.tell()
}
