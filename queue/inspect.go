package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
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
	maxBoltKey   = 32768      // bbolt's MaxKeySize
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
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("inspect %s: %w", filepath.Base(path), err)
	}
	in := inspection{f: f, size: st.Size()}
	if err := in.run(); err != nil {
		return fmt.Errorf("inspect %s: %w: %v", filepath.Base(path), errDamaged, err)
	}
	return nil
}

type inspection struct {
	f    io.ReaderAt
	size int64
	high uint64 // pages in use
	used []bool // by page: free, or seen in the tree
}

func (in *inspection) run() error {
	root, free, err := in.meta()
	if err != nil {
		return err
	}
	if in.high > uint64(in.size)/blockSize {
		return fmt.Errorf("%d pages in use, and the file has %d bytes", in.high, in.size)
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

// node is a page with its overflow, or an inline one, of which what is looked at is
// read: the blocks of a segment are most of it, and no structure.
type node struct {
	in           *inspection
	at           int64 // where it begins in the file
	head         []byte
	size         int // with what is not read
	flags, count uint16
}

// bytes gives n bytes from a place in the node.
func (p *node) bytes(at, n int) ([]byte, error) {
	if at < 0 || n < 0 || n > p.size-at {
		return nil, fmt.Errorf("%d bytes at %d lie outside", n, at)
	}
	if at+n <= len(p.head) {
		return p.head[at : at+n], nil
	}
	out := make([]byte, n)
	if _, err := p.in.f.ReadAt(out, p.at+int64(at)); err != nil {
		return nil, err
	}
	return out, nil
}

// page reads a page's head and elements, and marks it with its overflow.
func (in *inspection) page(id uint64) (*node, error) {
	if id >= in.high {
		return nil, fmt.Errorf("page %d of %d", id, in.high)
	}
	p := &node{in: in, at: int64(id) * blockSize, head: make([]byte, blockSize)}
	if _, err := in.f.ReadAt(p.head, p.at); err != nil {
		return nil, err
	}
	if own := binary.LittleEndian.Uint64(p.head); own != id {
		return nil, fmt.Errorf("page %d says that it is %d", id, own)
	}
	pages := uint64(binary.LittleEndian.Uint32(p.head[12:])) + 1
	if err := in.take(id, pages); err != nil {
		return nil, err
	}
	p.size = int(pages) * blockSize
	p.flags, p.count = binary.LittleEndian.Uint16(p.head[8:]), binary.LittleEndian.Uint16(p.head[10:])
	return p, p.need(boltHead + int(p.count)*boltElement)
}

// need has the first n bytes of the node read.
func (p *node) need(n int) error {
	if n <= len(p.head) || n > p.size { // what lies outside is found by who looks
		return nil
	}
	head, err := p.bytes(0, n)
	p.head = head
	return err
}

func (in *inspection) freeList(id uint64) error {
	p, err := in.page(id)
	if err != nil {
		return err
	}
	if err := p.need(p.size); err != nil {
		return err
	}
	ids, n := p.head[boltHead:], uint64(p.count)
	if n == 0xffff {
		n, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if p.flags != boltFreeList || n > uint64(len(ids))/8 {
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
	p, err := in.page(id)
	if err != nil {
		return err
	}
	if depth > boltDepth {
		return fmt.Errorf("page %d: the tree has no end", id)
	}
	if err := p.walk(from, to, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// element gives the fields of an element.
func (p *node) element(i int) []byte { return p.head[boltHead+i*boltElement:][:boltElement] }

// key gives an element's key, and the place behind it.
func (p *node) key(i int) (key []byte, after int, err error) {
	e := p.element(i)
	at, n := binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:])
	if p.flags == boltLeaf {
		at, n = binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint32(e[8:])
	}
	if at < boltElement || uint64(at) > uint64(p.size) || n > maxBoltKey {
		return nil, 0, fmt.Errorf("element %d: a key of %d bytes at %d", i, n, at)
	}
	from := boltHead + i*boltElement + int(at)
	if key, err = p.bytes(from, int(n)); err != nil {
		return nil, 0, fmt.Errorf("element %d: %w", i, err)
	}
	return key, from + int(n), nil
}

func (p *node) walk(from, to []byte, depth int) error {
	if p.flags != boltLeaf && (p.flags != boltBranch || p.count == 0) || boltHead+int(p.count)*boltElement > p.size {
		return fmt.Errorf("flags %d, %d elements", p.flags, p.count)
	}
	var last []byte
	for i := range int(p.count) {
		k, after, err := p.key(i)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(k, last) <= 0 || from != nil && bytes.Compare(k, from) < 0 || to != nil && bytes.Compare(k, to) >= 0 {
			return fmt.Errorf("key %.32q is not in order", k)
		}
		last = k
		if p.flags == boltLeaf {
			err = p.leaf(p.element(i), after, depth)
		} else {
			next := to
			if i+1 < int(p.count) {
				if next, _, err = p.key(i + 1); err != nil {
					return err
				}
			}
			err = p.in.tree(binary.LittleEndian.Uint64(p.element(i)[8:]), k, next, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaf looks at an element of a leaf, whose value stands at a place in the node.
func (p *node) leaf(element []byte, at, depth int) error {
	flags, length := binary.LittleEndian.Uint32(element), binary.LittleEndian.Uint32(element[12:])
	if uint64(length) > uint64(p.size-at) || flags > 1 { // compared before it is an int, which may have 32 bits
		return fmt.Errorf("a value of %d bytes, flags %d", length, flags)
	}
	n := int(length)
	if flags == 0 {
		return nil
	}
	if n < boltHead {
		return errors.New("a bucket without a head")
	}
	head, err := p.bytes(at, boltHead)
	if err != nil {
		return err
	}
	if root := binary.LittleEndian.Uint64(head); root != 0 {
		return p.in.tree(root, nil, nil, depth+1)
	}
	if n < 2*boltHead || depth > boltDepth {
		return errors.New("a bucket without its page")
	}
	inline, err := p.bytes(at+boltHead, n-boltHead)
	if err != nil {
		return err
	}
	page := &node{in: p.in, head: inline, size: len(inline), flags: binary.LittleEndian.Uint16(inline[8:]), count: binary.LittleEndian.Uint16(inline[10:])}
	return page.walk(nil, nil, depth+1)
}
