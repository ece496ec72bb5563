package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// patience bounds a connection of the bench: it lives for seconds, and must not
// wait for ever for a server that hangs.
const patience = 2 * time.Minute

// rawHTTP is one kept connection to the agent's API that sends requests which
// were encoded beforehand: as little work for the driver as its Redis client has.
type rawHTTP struct {
	net.Conn
	r *bufio.Reader
}

func dialHTTP(addr string) (*rawHTTP, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("dial fieldpost: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return &rawHTTP{Conn: c, r: bufio.NewReaderSize(c, 64<<10)}, nil
}

// postRequest is a POST /v1/events as it goes over the wire.
func postRequest(addr, mime string, body []byte) []byte {
	b := fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		addr, agentKey, mime, len(body))
	return append(b, body...)
}

// do sends a request and waits for 201.
func (c *rawHTTP) do(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	status, size, err := c.head()
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if status == http.StatusCreated {
		_, err = c.r.Discard(size)
		return err
	}
	said := make([]byte, min(size, 500))
	_, _ = io.ReadFull(c.r, said)
	return fmt.Errorf("post events: %d: %s", status, said)
}

// head reads an answer's status line and headers. The agent's answers to events
// have a Content-Length.
func (c *rawHTTP) head() (status, size int, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("%q is no status line", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, err
	}
	const length = "Content-Length:"
	for size = -1; ; {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0 && size < 0:
			return 0, 0, fmt.Errorf("no %s", length)
		case len(line) == 0:
			return status, size, nil
		case len(line) > len(length) && bytes.EqualFold(line[:len(length)], []byte(length)):
			if size, err = strconv.Atoi(string(bytes.TrimSpace(line[len(length):]))); err != nil || size < 0 {
				return 0, 0, fmt.Errorf("%q is no length", line)
			}
		}
	}
}

// produceHTTP posts events over one connection until stop is closed, perRequest
// of them in a request, and tells how many were acknowledged.
func produceHTTP(addr string, c *Corpus, perRequest int, stop <-chan struct{}) (int, error) {
	conn, err := dialHTTP(addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	requests := make([][]byte, 0, len(c.lines))
	for i := range c.lines {
		mime, body := "application/x-ndjson", c.Body(i*perRequest, perRequest)
		if perRequest == 1 {
			mime, body = "application/json", c.Line(i)
		}
		if requests = append(requests, postRequest(addr, mime, body)); i*perRequest > 4*len(c.lines) {
			break
		}
	}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return n * perRequest, nil
		default:
		}
		if err := conn.do(requests[n%len(requests)]); err != nil {
			return n * perRequest, err
		}
	}
}

// rawSocket is a WebSocket to the agent that sends frames which were encoded
// beforehand. Their masking key is zero, which leaves the bytes as they are.
type rawSocket struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func dialSocket(addr string) (*rawSocket, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("dial fieldpost: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	s := &rawSocket{Conn: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}
	fmt.Fprintf(s.w, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", addr, agentKey)
	err = s.w.Flush()
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(s.r, nil)
	}
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("answered %s", res.Status)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open WebSocket: %w", err)
	}
	return s, nil
}

// publishFrame is a publish message in a masked text frame.
func publishFrame(event []byte) []byte {
	return textFrame(append([]byte(`{"op":"publish",`), event[1:]...))
}

func textFrame(message []byte) []byte {
	frame := []byte{0x81, 0x80}
	switch n := len(message); {
	case n < 126:
		frame[1] |= byte(n)
	case n < 1<<16:
		frame[1] |= 126
		frame = append(frame, byte(n>>8), byte(n))
	default:
		frame[1] |= 127
		frame = append(frame, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	frame = append(frame, 0, 0, 0, 0)
	return append(frame, message...)
}

// published reads one frame and makes sure that it acknowledges.
func (s *rawSocket) published() error {
	for {
		head, err := s.r.Peek(4)
		if err != nil {
			return err
		}
		size, skip := int(head[1]&0x7f), 2
		switch size {
		case 126:
			size, skip = int(head[2])<<8|int(head[3]), 4
		case 127:
			return fmt.Errorf("read answer: a frame of over 64 kB")
		}
		op := head[0] & 0x0f
		if _, err := s.r.Discard(skip); err != nil {
			return err
		}
		body, err := s.r.Peek(min(size, 500))
		if err != nil {
			return err
		}
		good := bytes.HasPrefix(body, []byte(`{"op":"published"`))
		said := string(body)
		if _, err := s.r.Discard(size); err != nil {
			return err
		}
		switch {
		case op == 1 && good:
			return nil
		case op == 1 && !strings.HasPrefix(said, `{"op":"at"`), op == 8:
			return fmt.Errorf("publish: the answer is %s", said)
		}
	}
}

// produceSocket publishes events over one WebSocket until stop is closed, with at
// most window of them unanswered, one a message.
func produceSocket(addr string, c *Corpus, window int, stop <-chan struct{}) (int, error) {
	s, err := dialSocket(addr)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	frames := make([][]byte, len(c.lines))
	for i, l := range c.lines {
		frames[i] = publishFrame(l)
	}
	return fillWindow(frames, window, s.w, s.r, s.published, stop)
}
