package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Subscriber is mosquitto_sub with a session that outlives its broker: a fixed
// id, QoS 1, no clean session. What it gets is a line of a file.
type Subscriber struct {
	*Proc
	Path string

	file *os.File
	r    *bufio.Reader
	part []byte // a line that is not whole yet
}

// startSubscriber subscribes to all event messages at the broker.
func startSubscriber(dir, addr string) (*Subscriber, error) {
	host, port, _ := strings.Cut(addr, ":")
	path := filepath.Join(dir, "subscriber.ndjson")
	p, err := startProcTo(path, filepath.Join(dir, "subscriber.log"), "mosquitto_sub", "-h", host, "-p", port, "-i", "prove-subscriber", "-q", "1", "-c",
		"-k", "10", "-F", "%p", "-t", "fieldpost/+/events/#", "-t", "fieldpost/+/batch/#")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("open what the subscriber got: %w", err)
	}
	return &Subscriber{Proc: p, Path: path, file: f, r: bufio.NewReaderSize(f, 256<<10)}, nil
}

// Read gives each line that came since the last call.
func (s *Subscriber) Read(line func([]byte) error) error {
	for {
		b, err := s.r.ReadSlice('\n')
		s.part = append(s.part, b...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what the subscriber got: %w", err)
		}
		if err := line(s.part); err != nil {
			return err
		}
		s.part = s.part[:0]
	}
}

// Close ends it.
func (s *Subscriber) Close() error {
	err := s.Kill()
	s.file.Close()
	return err
}
