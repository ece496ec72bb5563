package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxVerifyLine bounds a line: it may hold an array of many events.
const maxVerifyLine = 64 << 20

// badLines tells of lines that can't be read, the first few one by one. What a
// crash of the receiver cut off is noted, and no fault.
type badLines struct {
	w     io.Writer
	count int
	notes int
}

// maxBadLines is how many of them are told one by one.
const maxBadLines = 20

func (b *badLines) add(name string, line int, err error) {
	if b.count++; b.count <= maxBadLines {
		fmt.Fprintf(b.w, "fieldpost: %s:%d: %s\n", name, line, oneLine(err.Error()))
	}
}

func (b *badLines) note(name string, line int, text string) {
	if b.notes++; b.notes <= maxBadLines {
		fmt.Fprintf(b.w, "fieldpost: %s:%d: %s\n", name, line, oneLine(text))
	}
}

// unpacked gives what a reader holds, unpacked where it is gzip or zstd by its
// first bytes. done must be called behind the last read.
func unpacked(r *bufio.Reader) (plain io.Reader, done func(), err error) {
	done = func() {}
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, done, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(r)
		return plain, done, err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, done, err
		}
		return z, z.Close, nil
	}
	return r, done, nil
}

// keptLines reads the lines of a file that a receiver kept.
type keptLines struct {
	r      *bufio.Reader
	line   []byte // valid until the next call
	number int
	torn   bool  // the line has no end: it is the file's last
	cut    error // packed data that ends too early
	err    error // what keeps the rest from being read
}

func (l *keptLines) next() bool {
	l.line = l.line[:0]
	if l.torn || l.cut != nil || l.err != nil {
		return false
	}
	for {
		part, err := l.r.ReadSlice('\n')
		l.line = append(l.line, part...)
		switch {
		case len(l.line) > maxVerifyLine:
			l.err = fmt.Errorf("a line of more than %d MB", maxVerifyLine>>20)
			return false
		case err == nil:
			l.number++
			return true
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.ErrUnexpectedEOF):
			l.cut = err
		case !errors.Is(err, io.EOF):
			l.err = err
			return false
		}
		if len(l.line) == 0 {
			return false
		}
		l.number++
		l.torn = true
		return true
	}
}

// glued finds the event behind a line that a crash cut off: who goes on writing to
// the same file puts it on the same line.
func glued(line []byte) []byte {
	for at := 1; at < len(line); at++ {
		i := bytes.Index(line[at:], []byte(`{"id":"`))
		if i < 0 {
			return nil
		}
		at += i
		if rest := bytes.TrimSpace(line[at:]); json.Valid(rest) {
			return rest
		}
	}
	return nil
}
