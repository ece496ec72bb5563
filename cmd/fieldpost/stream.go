package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxStreamLine bounds a line of the stream: an event has at most 128 kB.
const maxStreamLine = 1 << 20

// printError is a failure of our own output, which ends a verb.
type printError struct{ err error }

func (e *printError) Error() string { return fmt.Sprintf("print: %v", e.err) }
func (e *printError) Unwrap() error { return e.err }

func isPrintError(err error) bool {
	var p *printError
	return errors.As(err, &p)
}

// asRefusal reports whether the agent said no for good, rather than not now.
func asRefusal(err error, e **statusError) bool {
	return errors.As(err, e) && (*e).Status != http.StatusServiceUnavailable && (*e).Status != http.StatusTooManyRequests
}

// readStream prints the events of server-sent events until they end, and gives
// the position behind the last one.
func readStream(r io.Reader, at string, p *eventPrinter) (string, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxStreamLine)
	var name, id string
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) > 0 {
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				name = string(value)
			case "id":
				id = string(value)
			case "data":
				data = append(data, value...)
			}
			continue
		}
		if len(data) > 0 && name == "" {
			if err := p.event(json.RawMessage(data)); err != nil {
				return at, &printError{err}
			}
		}
		if id != "" {
			at = id
		}
		name, id, data = "", "", data[:0]
	}
	return at, lines.Err()
}
