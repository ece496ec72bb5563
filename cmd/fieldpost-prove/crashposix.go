package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// posixDisk is a file system in memory that keeps over a cut what POSIX promises,
// and no more: a file's content as it was at its last fsync, and a folder's names
// as they were at the folder's. ext4 and xfs give more: a new file's name comes
// with its content there, so that on them nobody would miss the folder's fsync.
type posixDisk struct {
	Path string // where it is mounted

	server *fuse.Server
	count  *blockCount
	rng    *rand.Rand

	mu    sync.Mutex
	nodes []*posixNode // by id; the root is the first
	ops   int
	most  int // states to keep; 0: none
	seen  int // that might have been kept
	held  []posixState
}

// posixPage is a page of a file, which is not changed any more; nil is zeros.
type posixPage = *[diskPage]byte

// posixContent is a file's content.
type posixContent struct {
	pages []posixPage
	size  int64
}

func (c posixContent) clone() posixContent {
	return posixContent{slices.Clone(c.pages), c.size}
}

// posixImage is a file or folder twice: as programs see it, and as it is kept.
type posixImage struct {
	folder      bool
	data, kept  posixContent
	names, safe map[string]int // of a folder: the ids of what is in it, now and kept
}

// posixState is the whole disk after some operation.
type posixState struct {
	at    int
	nodes []posixImage
}

// newPosixDisk mounts an empty one in dir.
func newPosixDisk(dir string, rng *rand.Rand) (*posixDisk, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", errNoDisk)
	}
	d := &posixDisk{Path: filepath.Join(dir, "posix"), rng: rng}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	var err error
	if d.count, err = newBlockCount(); err != nil {
		return nil, err
	}
	d.server, err = fs.Mount(d.Path, d.node(true), &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: "fieldpost-prove", Name: "posix", MaxWrite: 1 << 20, DisableXAttrs: true,
	}})
	if err != nil {
		d.count.close()
		return nil, fmt.Errorf("%w: serve file system: %w", errNoDisk, err)
	}
	return d, nil
}

// node makes a file or folder.
func (d *posixDisk) node(folder bool) *posixNode {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &posixNode{disk: d, id: len(d.nodes)}
	n.folder = folder
	if folder {
		n.names, n.safe = map[string]int{}, map[string]int{}
	}
	d.nodes = append(d.nodes, n)
	return n
}

// did counts an operation. Of the states behind each, most are kept, any as likely
// as any other (reservoir sampling). d.mu must be held since before the operation.
func (d *posixDisk) did() {
	d.ops++
	d.count.set(d.ops)
	if d.most == 0 {
		return
	}
	d.seen++
	at := len(d.held)
	if at == d.most {
		if at = d.rng.IntN(d.seen); at >= d.most {
			return
		}
	} else {
		d.held = append(d.held, posixState{})
	}
	s := posixState{at: d.ops, nodes: make([]posixImage, len(d.nodes))}
	for i, n := range d.nodes {
		s.nodes[i] = posixImage{folder: n.folder, data: n.data.clone(), kept: n.kept.clone(), names: maps.Clone(n.names), safe: maps.Clone(n.safe)}
	}
	d.held[at] = s
}

// hold begins to keep states.
func (d *posixDisk) hold(most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most = most
}

// states gives those that were kept, the earliest first.
func (d *posixDisk) states() []posixState {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortFunc(d.held, func(a, b posixState) int { return a.at - b.at })
	return d.held
}

// Close unmounts it.
func (d *posixDisk) Close() error {
	err := d.server.Unmount()
	d.count.close()
	if rerr := os.Remove(d.count.path); err == nil {
		err = rerr
	}
	return err
}

// write puts what a cut leaves of a state into a folder: with rng nil only what
// must be kept, else of each name and page what is kept or what is newer.
func (s *posixState) write(dir string, rng *rand.Rand) error {
	return s.writeFolder(0, dir, rng)
}

func (s *posixState) writeFolder(id int, dir string, rng *rand.Rand) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	n := s.nodes[id]
	names := maps.Clone(n.safe)
	if rng != nil {
		for _, name := range slices.Sorted(maps.Keys(n.names)) { // new or another file
			if rng.IntN(2) == 0 {
				names[name] = n.names[name]
			}
		}
		for _, name := range slices.Sorted(maps.Keys(n.safe)) { // removed
			if _, ok := n.names[name]; !ok && rng.IntN(2) == 0 {
				delete(names, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		path := filepath.Join(dir, name)
		if s.nodes[names[name]].folder {
			if err := s.writeFolder(names[name], path, rng); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, s.nodes[names[name]].cut(rng), 0o600); err != nil {
			return fmt.Errorf("write state: %w", err)
		}
	}
	return nil
}

// cut is a file's content after a cut.
func (n *posixImage) cut(rng *rand.Rand) []byte {
	c := n.kept
	if rng != nil {
		c = c.clone()
		if rng.IntN(2) == 0 {
			c.resize(n.data.size)
		}
		for i := range c.pages {
			if i < len(n.data.pages) && rng.IntN(2) == 0 {
				c.pages[i] = n.data.pages[i]
			}
		}
	}
	out := make([]byte, len(c.pages)*diskPage)
	for i, p := range c.pages {
		if p != nil {
			copy(out[i*diskPage:], p[:])
		}
	}
	return out[:c.size]
}

// resize cuts or grows a content.
func (c *posixContent) resize(size int64) {
	pages := int((size + diskPage - 1) / diskPage)
	for len(c.pages) < pages {
		c.pages = append(c.pages, nil)
	}
	c.pages = c.pages[:pages]
	if rest := size % diskPage; rest > 0 && size < c.size && c.pages[pages-1] != nil {
		p := *c.pages[pages-1]
		clear(p[rest:])
		c.pages[pages-1] = &p
	}
	c.size = size
}

// put writes data at off. Pages are never changed in place: a state has them too.
func (c *posixContent) put(data []byte, off int64) {
	if end := off + int64(len(data)); end > c.size {
		c.resize(end)
	}
	for len(data) > 0 {
		i, from := off/diskPage, off%diskPage
		p := new([diskPage]byte)
		if old := c.pages[i]; old != nil {
			*p = *old
		}
		n := copy(p[from:], data)
		c.pages[i] = p
		data, off = data[n:], off+int64(n)
	}
}

// get reads into dest from off on.
func (c *posixContent) get(dest []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	dest = dest[:min(int64(len(dest)), c.size-off)]
	for at := 0; at < len(dest); {
		i, from := (off+int64(at))/diskPage, (off+int64(at))%diskPage
		room := min(diskPage-int(from), len(dest)-at)
		if p := c.pages[i]; p != nil {
			copy(dest[at:at+room], p[from:])
		} else {
			clear(dest[at : at+room])
		}
		at += room
	}
	return len(dest)
}
