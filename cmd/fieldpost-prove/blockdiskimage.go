package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// blockOp is one thing that a block device was told: to write, or, where data is
// nil, to flush what it has taken.
type blockOp struct {
	offset int64
	data   []byte
}

// blockImage is the memory of a BlockDisk, with the log of what came and the
// dials that make it fail. Each request holds mu while it changes the memory, so
// that the log has one order.
type blockImage struct {
	mu      sync.Mutex
	bytes   []byte
	kept    []byte // what a cut leaves, where it is not all that was written
	cut     bool   // nothing that comes is kept
	logging bool
	log     []blockOp

	count *blockCount

	failWrite, failFlush atomic.Int32 // an errno, or 0
	delayFlush           atomic.Int64 // ns
}

// write takes data at offset, and logs it.
func (m *blockImage) write(data []byte, offset int64) syscall.Errno {
	if e := m.failWrite.Load(); e != 0 {
		return syscall.Errno(e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset < 0 || offset > int64(len(m.bytes))-int64(len(data)) {
		return syscall.ENOSPC
	}
	copy(m.bytes[offset:], data)
	if m.logging && !m.cut {
		m.log = append(m.log, blockOp{offset: offset, data: bytes.Clone(data)})
		m.count.set(len(m.log))
	}
	return 0
}

// zero clears a range, which is how a device without discard takes one.
func (m *blockImage) zero(offset, size int64) syscall.Errno {
	const piece = 1 << 20
	for zeros := make([]byte, min(size, piece)); size > 0; {
		n := min(size, piece)
		if e := m.write(zeros[:n], offset); e != 0 {
			return e
		}
		offset, size = offset+n, size-n
	}
	return 0
}

// flush answers when all that was written before it is durable. Its wait holds
// nobody up but who asked.
func (m *blockImage) flush() syscall.Errno {
	time.Sleep(time.Duration(m.delayFlush.Load()))
	if e := m.failFlush.Load(); e != 0 {
		return syscall.Errno(e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.logging && !m.cut {
		m.log = append(m.log, blockOp{})
		m.count.set(len(m.log))
	}
	return 0
}

func (m *blockImage) read(dest []byte, offset int64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset < 0 || offset >= int64(len(m.bytes)) {
		return 0
	}
	return copy(dest, m.bytes[offset:])
}

// blockCount is the number of log entries, in a small file on tmpfs, so that
// another process reads it without a lock or a system call.
type blockCount struct {
	path   string
	mapped []byte
}

// newBlockCount makes the file.
func newBlockCount() (*blockCount, error) {
	f, err := os.CreateTemp("/dev/shm", "fieldpost-prove-count-")
	if err != nil {
		return nil, fmt.Errorf("make counter: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(8); err != nil {
		os.Remove(f.Name())
		return nil, fmt.Errorf("make counter: %w", err)
	}
	return mapBlockCount(f)
}

// openBlockCount opens the file of another process.
func openBlockCount(path string) (*blockCount, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open counter: %w", err)
	}
	defer f.Close()
	return mapBlockCount(f)
}

func mapBlockCount(f *os.File) (*blockCount, error) {
	b, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map counter: %w", err)
	}
	return &blockCount{path: f.Name(), mapped: b}, nil
}

func (c *blockCount) word() *int64 { return (*int64)(unsafe.Pointer(&c.mapped[0])) }
func (c *blockCount) set(n int)    { atomic.StoreInt64(c.word(), int64(n)) }
func (c *blockCount) get() int     { return int(atomic.LoadInt64(c.word())) }

// close lets go of it; the file stays for who made it to remove.
func (c *blockCount) close() { _ = syscall.Munmap(c.mapped) }
