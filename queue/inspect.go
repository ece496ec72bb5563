package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
)

// A bbolt file as inspect sees it, all little endian as on every machine that we
// build for:
//
//	page    id (8) | flags (2) | count (2) | overflow (4) | ...
//	meta    magic (4) | version (4) | page size (4) | flags (4) | root (8) | sequence (8)
//	        | page of the free list (8) | pages in use (8) | transaction (8) | FNV-1a of these (8)
//	branch  elements {key's place (4), key's length (4), page (8)}, then the keys
//	leaf    elements {flags (4), key's place (4), key's length (4), value's length (4)}, then both
//	free    ids (8 each); with more than 65,534 the first of them is how many
//
// A place counts from its element on. A value with flag 1 is a bucket: root (8),
// sequence (8), and where the root is 0 its one page.
const (
	boltHead     = 16
	boltElement  = 16
	boltMagic    = 0xed0cdaed
	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltFreeList = 0x10
	boltNone     = ^uint64(0) // in place of a free list's page
	boltDepth    = 32         // more levels than any tree of ours has
)

// inspect walks all pages of a bbolt file before it is written to. bbolt trusts
// them: a wrong free list has it write over pages in use, and a wrong element has
// it copy the damage into new ones, where a salvage can't find what was whole. A
// file that is not there is sound.
func inspect(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect %s: %w", filepath.Base(path), err)
	}
	defer f.Close()
	in := inspection{f: f}
	if err := in.run(); err != nil {
		return fmt.Errorf("inspect %s: %w: %v", filepath.Base(path), errDamaged, err)
	}
	return nil
}

type inspection struct {
	f    *os.File
	high uint64 // pages in use
	used []bool // by page: free, or seen in the tree
}

func (in *inspection) run() error {
	st, err := in.f.Stat()
	if err != nil {
		return err
	}
	root, free, err := in.meta()
	if err != nil {
		return err
	}
	if in.high > uint64(st.Size())/blockSize {
		return fmt.Errorf("%d pages in use, and the file has %d bytes", in.high, st.Size())
	}
	in.used = make([]bool, in.high)
	if free != boltNone {
		if err := in.freeList(free); err != nil {
			return err
		}
	}
	return in.tree(root, nil, nil, 0)
}

// meta finds the root and the free list, as the newest of the two meta pages that
// is whole tells them.
func (in *inspection) meta() (root, free uint64, err error) {
	var newest uint64
	found := false
	for i := range int64(2) {
		var p [boltHead + 64]byte
		if _, err := in.f.ReadAt(p[:], i*blockSize); err != nil {
			continue
		}
		m := p[boltHead:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		if binary.LittleEndian.Uint32(m) != boltMagic || binary.LittleEndian.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if tx := binary.LittleEndian.Uint64(m[48:]); !found || tx > newest {
			found, newest = true, tx
			root, free, in.high = binary.LittleEndian.Uint64(m[16:]), binary.LittleEndian.Uint64(m[32:]), binary.LittleEndian.Uint64(m[40:])
		}
	}
	if !found {
		return 0, 0, errors.New("no meta page is whole")
	}
	return root, free, nil
}

// take marks pages, each of which may be marked once.
func (in *inspection) take(id, pages uint64) error {
	if id < 2 || id >= in.high || pages > in.high-id {
		return fmt.Errorf("page %d and %d more of %d", id, pages-1, in.high)
	}
	for i := id; i < id+pages; i++ {
		if in.used[i] {
			return fmt.Errorf("page %d stands in two places", i)
		}
		in.used[i] = true
	}
	return nil
}

// page reads a page with its overflow, and marks them.
func (in *inspection) page(id uint64) (raw []byte, flags, count uint16, err error) {
	if id >= in.high {
		return nil, 0, 0, fmt.Errorf("page %d of %d", id, in.high)
	}
	var head [boltHead]byte
	if _, err := in.f.ReadAt(head[:], int64(id)*blockSize); err != nil {
		return nil, 0, 0, err
	}
	if own := binary.LittleEndian.Uint64(head[:]); own != id {
		return nil, 0, 0, fmt.Errorf("page %d says that it is %d", id, own)
	}
	pages := uint64(binary.LittleEndian.Uint32(head[12:])) + 1
	if err := in.take(id, pages); err != nil {
		return nil, 0, 0, err
	}
	raw = make([]byte, pages*blockSize)
	if _, err := in.f.ReadAt(raw, int64(id)*blockSize); err != nil {
		return nil, 0, 0, err
	}
	return raw, binary.LittleEndian.Uint16(head[8:]), binary.LittleEndian.Uint16(head[10:]), nil
}

func (in *inspection) freeList(id uint64) error {
	raw, flags, count, err := in.page(id)
	if err != nil {
		return err
	}
	ids, n := raw[boltHead:], uint64(count)
	if n == 0xffff {
		n, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if flags != boltFreeList || n > uint64(len(ids))/8 {
		return fmt.Errorf("page %d is no free list", id)
	}
	for i := range n {
		if err := in.take(binary.LittleEndian.Uint64(ids[8*i:]), 1); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
	}
	return nil
}

// tree walks the pages below id, whose keys must be in from..to, to not included.
func (in *inspection) tree(id uint64, from, to []byte, depth int) error {
	raw, flags, count, err := in.page(id)
	if err != nil {
		return err
	}
	if depth > boltDepth {
		return fmt.Errorf("page %d: the tree has no end", id)
	}
	if err := in.node(raw, flags, count, from, to, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (in *inspection) node(raw []byte, flags, count uint16, from, to []byte, depth int) error {
	if flags != boltLeaf && (flags != boltBranch || count == 0) || boltHead+int(count)*boltElement > len(raw) {
		return fmt.Errorf("flags %d, %d elements", flags, count)
	}
	key := func(i int) ([]byte, []byte, error) { // and what stands behind it
		e := raw[boltHead+i*boltElement:]
		at, n := uint64(binary.LittleEndian.Uint32(e)), uint64(binary.LittleEndian.Uint32(e[4:]))
		if flags == boltLeaf {
			at, n = uint64(binary.LittleEndian.Uint32(e[4:])), uint64(binary.LittleEndian.Uint32(e[8:]))
		}
		if at+n > uint64(len(e)) || at < boltElement {
			return nil, nil, fmt.Errorf("element %d lies outside", i)
		}
		return e[at : at+n], e[at+n:], nil
	}
	var last []byte
	for i := range int(count) {
		k, rest, err := key(i)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(k, last) <= 0 || from != nil && bytes.Compare(k, from) < 0 || to != nil && bytes.Compare(k, to) >= 0 {
			return fmt.Errorf("key %.32q is not in order", k)
		}
		last = k
		if flags == boltLeaf {
			err = in.leaf(raw[boltHead+i*boltElement:], rest, depth)
		} else {
			next := to
			if i+1 < int(count) {
				if next, _, err = key(i + 1); err != nil {
					return err
				}
			}
			err = in.tree(binary.LittleEndian.Uint64(raw[boltHead+i*boltElement+8:]), k, next, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaf looks at an element of a leaf, whose value stands in rest.
func (in *inspection) leaf(element, rest []byte, depth int) error {
	flags, n := binary.LittleEndian.Uint32(element), uint64(binary.LittleEndian.Uint32(element[12:]))
	if n > uint64(len(rest)) || flags > 1 {
		return fmt.Errorf("a value of %d bytes, flags %d", n, flags)
	}
	if flags == 0 {
		return nil
	}
	if n < boltHead {
		return errors.New("a bucket without a head")
	}
	if root := binary.LittleEndian.Uint64(rest); root != 0 {
		return in.tree(root, nil, nil, depth+1)
	}
	inline := rest[boltHead:n]
	if len(inline) < boltHead || depth > boltDepth {
		return errors.New("a bucket without its page")
	}
	return in.node(inline, binary.LittleEndian.Uint16(inline[8:]), binary.LittleEndian.Uint16(inline[10:]), nil, nil, depth+1)
}
