package queue

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// half is one half of the journal: a file of pre-written blocks that is filled
// once a generation, from the front.
type half struct {
	path string
	size int64

	mu    sync.Mutex // guards f against the background writer, and wrote
	f     *os.File
	wrote int64 // the file has blocks up to here, so that a flush needs no new ones
	own   bool  // all of its blocks are durably its own: a flush changes nothing but them

	gen  uint32 // the generation that is in it, or 0
	pos  int64  // where the next run goes
	full bool   // sealed: waits for its move
	read bool   // open for reading alone
	bad  bool   // a write or flush failed: replaced after its move
}

// openHalf opens or makes the file. On a read-only file system it opens it for
// reading alone.
func openHalf(path string, size int64) (*half, error) {
	read := false
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return &half{path: path, size: size}, nil
		}
		read = true
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &half{path: path, size: size, f: f, wrote: st.Size(), read: read}, nil
}

// room is the number of blocks that still fit.
func (h *half) room() int { return int((h.size - h.pos) / blockSize) }

// write puts a run at pos and flushes it. It moves pos only when both worked.
func (h *half) write(run []byte, fault func(string) error) error {
	if err := fault("journal write"); err != nil {
		return err
	}
	h.mu.Lock()
	f := h.f
	if f == nil {
		h.mu.Unlock()
		return fmt.Errorf("write journal: %w", syscall.EROFS)
	}
	_, err := f.WriteAt(run, h.pos)
	h.wrote = max(h.wrote, h.pos+int64(len(run)))
	h.mu.Unlock()
	if err == nil {
		err = fault("journal flush")
	}
	if err == nil {
		err = datasync(f)
	}
	if err != nil {
		return fmt.Errorf("flush journal: %w", err)
	}
	h.pos += int64(len(run))
	return nil
}

// datasync flushes a file's content, and its size where that grew.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// verify reads the run that was written last from the disk past the page cache,
// which after a failed flush may hold what the disk does not. A file system
// without direct reads (tmpfs) gives a plain read.
func (h *half) verify(run []byte) error {
	f, err := os.OpenFile(h.path, os.O_RDONLY|syscall.O_DIRECT, 0)
	if errors.Is(err, syscall.EINVAL) {
		f, err = os.Open(h.path)
	}
	if err != nil {
		return fmt.Errorf("read back journal: %w", err)
	}
	defer f.Close()
	got := alignedBuffer(len(run))
	if _, err := f.ReadAt(got, h.pos-int64(len(run))); err != nil {
		return fmt.Errorf("read back journal: %w", err)
	}
	if !bytes.Equal(got, run) {
		return fmt.Errorf("read back journal: %w", syscall.EIO)
	}
	return nil
}

// prewrite writes zeros ahead of the runs, a piece a call, so that later flushes
// overwrite blocks that the file system has already allotted. It reports
// whether there is more to do.
func (h *half) prewrite() (more bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f == nil || h.wrote >= h.size {
		return false, nil
	}
	n := min(int64(len(zeros)), h.size-h.wrote)
	if _, err := h.f.WriteAt(zeros[:n], h.wrote); err != nil {
		return false, fmt.Errorf("pre-write journal: %w", err)
	}
	h.wrote += n
	return h.wrote < h.size, nil
}

// settle makes durable that the blocks of a pre-written file are its own.
func (h *half) settle() error {
	h.mu.Lock()
	f, whole := h.f, h.wrote >= h.size
	h.mu.Unlock()
	if f == nil || !whole || h.read {
		return nil
	}
	err := datasync(f)
	if err == nil {
		err = stillCommits(filepath.Dir(h.path))
	}
	if err != nil {
		return fmt.Errorf("pre-write journal: %w", err)
	}
	h.mu.Lock()
	h.own = h.f == f
	h.mu.Unlock()
	return nil
}

// ownsBlocks reports whether a flush depends on the disk alone. Until then it
// depends on a change of the file system's too, and ext4 whose log broke off
// forgets to say that it did not come about.
func (h *half) ownsBlocks() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.own
}

// replace puts a fresh file in the place of one that failed. Its content must
// have been moved.
func (h *half) replace() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.Remove(h.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace journal: %w", err)
	}
	f, err := os.OpenFile(h.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("replace journal: %w", err)
	}
	if h.f != nil {
		h.f.Close()
	}
	h.f, h.wrote, h.pos, h.own = f, 0, 0, false
	if err := SyncFolder(filepath.Dir(h.path)); err != nil {
		return err // it stays bad: what is flushed into a file without a name is lost
	}
	h.bad = false
	return nil
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f != nil {
		h.f.Close()
		h.f = nil
	}
}

// scanned is what a half held when the store was opened.
type scanned struct {
	gen     uint32
	flushes []*flush
	end     int64 // behind the last good run
	broken  bool  // a run in the middle is missing: damage, not a torn end
}

// scan reads the half's flushes of generations after consumed. A run that fails
// its checksums is skipped; since a flush is written only after the one before
// it was acknowledged, a later good run behind it proves damage.
func (h *half) scan(consumed uint32, press *press) (scanned, error) {
	var out scanned
	if h.f == nil {
		return out, nil
	}
	w := window{f: h.f}
	blocks := int(h.wrote / blockSize)
	var last uint64
	for i := 0; i < blocks; {
		head, ok := parseBlock(w.block(i))
		if !ok || head.gen <= consumed || head.gen < out.gen || (head.gen == out.gen && head.number <= last) {
			i++
			continue
		}
		f, n, err := readRun(head, i, w.block, press)
		if errors.Is(err, errFlush) {
			i++
			continue
		}
		if err != nil {
			return out, err
		}
		if head.gen > out.gen { // what came before was an older generation's
			out = scanned{gen: head.gen, broken: i > 0}
		}
		if k := len(out.flushes); k > 0 && f.number != out.flushes[k-1].number+1 {
			out.broken = true
		}
		out.flushes = append(out.flushes, f)
		last = f.number
		i += n
		out.end = int64(i) * blockSize
	}
	return out, nil
}

// window reads a file in pieces of 64 blocks.
type window struct {
	f     *os.File
	first int
	buf   []byte
}

// block gives block i, valid until the next call. It is nil behind the end, and
// where the disk can't read it, which counts as damage like any other.
func (w *window) block(i int) []byte {
	const span = 64
	if i < w.first || (i-w.first+1)*blockSize > len(w.buf) {
		if w.buf == nil {
			w.buf = make([]byte, span*blockSize)
		}
		n, _ := w.f.ReadAt(w.buf[:span*blockSize], int64(i)*blockSize)
		w.first, w.buf = i, w.buf[:n/blockSize*blockSize]
		if len(w.buf) == 0 {
			return nil
		}
	}
	at := (i - w.first) * blockSize
	return w.buf[at : at+blockSize]
}
