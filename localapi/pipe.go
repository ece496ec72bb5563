package localapi

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// pipeMost is how many bytes a pipe holds back at most.
const pipeMost = 64 << 10

// pipe is a connection that can hold back what is written, so that many small
// messages leave in one packet, and that bounds the time of each write.
type pipe struct {
	net.Conn
	write time.Duration
	in    *bufio.Reader // what the WebSocket reads from

	mu   sync.Mutex
	held int
	buf  []byte
}

// Write writes, or keeps b while the pipe is held.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == 0 && len(p.buf) == 0 {
		return p.out(b)
	}
	p.buf = append(p.buf, b...)
	if p.held > 0 && len(p.buf) < pipeMost {
		return len(b), nil
	}
	if err := p.empty(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// hold keeps what is written back until release. Holds nest.
func (p *pipe) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held++
}

// release writes what was kept.
func (p *pipe) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held--
	return p.empty()
}

func (p *pipe) empty() error {
	if len(p.buf) == 0 {
		return nil
	}
	_, err := p.out(p.buf)
	p.buf = p.buf[:0]
	return err
}

func (p *pipe) out(b []byte) (int, error) {
	if err := p.Conn.SetWriteDeadline(time.Now().Add(p.write)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// pipeWriter hands a pipe out in the place of the connection that a WebSocket
// takes over.
type pipeWriter struct {
	http.ResponseWriter
	write time.Duration
	pipe  *pipe
}

// Hijack is http.Hijacker's.
func (w *pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// What came right behind the handshake is in rw's buffer. The WebSocket keeps
	// what the reader it gets has buffered, so that one must hold it too.
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		return nil, nil, err
	}
	w.pipe = &pipe{Conn: c, write: w.write}
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), c), max(16<<10, len(early)))
	if _, err := r.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	w.pipe.in = r
	return w.pipe, bufio.NewReadWriter(r, bufio.NewWriterSize(w.pipe, 4<<10)), nil
}
