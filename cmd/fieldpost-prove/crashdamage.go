package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"

	bolt "go.etcd.io/bbolt"
)

// damageSegments damages a page with blocks in it, in most segments of two rings,
// and notes the most that this can cost.
func (w *crashWriter) damageSegments() error {
	rng := rand.New(rand.NewPCG(w.seed, 0xda))
	hit := 0
	for _, ring := range []string{edge.RingEvents, edge.RingSamples} {
		files, err := filepath.Glob(filepath.Join(w.mount, "data", "rings", ring, "*.seg"))
		if err != nil {
			return err
		}
		slices.Sort(files)
		for i, file := range files {
			if rng.IntN(4) == 0 && len(files) > 1 {
				continue
			}
			next := ^uint64(0)
			if i+1 < len(files) {
				if _, err := fmt.Sscanf(filepath.Base(files[i+1]), "%d.seg", &next); err != nil {
					return fmt.Errorf("read name of segment: %w", err)
				}
			}
			lost, err := damageSegment(file, next-1, rng)
			if err != nil {
				return err
			}
			for _, r := range lost {
				w.note(crashNote{What: noteDamage, Ring: ring, Range: r})
			}
			hit++
		}
	}
	if hit == 0 {
		return errors.New("damage segments: there are none")
	}
	return nil
}

// crashBlock is a block of a segment: where a copy of it lies in the file, and
// what seqs it has.
type crashBlock struct {
	from, to int
	seqs     queue.Range
}

// damageSegment writes over the head of a leaf page with blocks in it, so that the
// file's structure is broken, and gives the seqs of the blocks that lay there.
// last is the last seq that the segment may hold.
func damageSegment(path string, last uint64, rng *rand.Rand) ([]queue.Range, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("damage segment: %w", err)
	}
	blocks, leaves, err := segmentLayout(path, raw, last)
	if err != nil {
		return nil, fmt.Errorf("damage segment: %w", err)
	}
	byPage := map[int][]queue.Range{}
	var pages []int
	for _, id := range leaves {
		for _, b := range blocks {
			if b.from < (id+1)*diskPage && b.to > id*diskPage {
				byPage[id] = append(byPage[id], b.seqs)
			}
		}
		if len(byPage[id]) > 0 {
			pages = append(pages, id)
		}
	}
	if len(pages) == 0 {
		return nil, fmt.Errorf("damage segment %s: no page begins with blocks", filepath.Base(path))
	}
	id := pages[rng.IntN(len(pages))]
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_SYNC, 0)
	if err != nil {
		return nil, fmt.Errorf("damage segment: %w", err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, diskPage), int64(id)*diskPage)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("damage segment: %w", err)
	}
	return byPage[id], nil
}

// diskPage is the page of bbolt's files, the block of the file system and the
// page of memory.
const diskPage = 4096

// segmentLayout finds every copy of the blocks that a segment has, and the pages
// that begin a leaf.
func segmentLayout(path string, raw []byte, last uint64) (blocks []crashBlock, leaves []int, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		for id := 2; id < len(raw)/diskPage; {
			info, err := tx.Page(id)
			if err != nil || info == nil {
				break
			}
			if info.Type == "leaf" {
				leaves = append(leaves, id)
			}
			id++
			if info.Type != "free" { // what a free page says of itself is of another time
				id += info.OverflowCount
			}
		}
		c := tx.Bucket([]byte("blocks")).Cursor()
		for k, v := c.First(); k != nil; {
			seqs := queue.Range{From: binary.BigEndian.Uint64(k), To: last}
			value := v
			if k, v = c.Next(); k != nil {
				seqs.To = binary.BigEndian.Uint64(k) - 1
			}
			for at := 0; ; at++ { // a page that was copied leaves its blocks in the old place too
				i := bytes.Index(raw[at:], value)
				if i < 0 {
					break
				}
				at += i
				blocks = append(blocks, crashBlock{at, at + len(value), seqs})
			}
		}
		return nil
	})
	return blocks, leaves, err
}
