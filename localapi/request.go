package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
)

// request is an HTTP request and who makes it.
type request struct {
	*http.Request
	who    principal
	w      http.ResponseWriter // for limits and deadlines alone: respond writes
	memory *budget
	lim    *limits
	held   int64 // bytes of the budget that this request holds
}

// budget bounds the bytes that all bodies hold at once.
type budget struct{ left atomic.Int64 }

func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// done gives back what the request holds.
func (r *request) done() {
	r.memory.left.Add(r.held)
	r.held = 0
}

// mime is the body's media type, without parameters and in lower case.
func (r *request) mime() string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return strings.ToLower(r.Header.Get("Content-Type"))
	}
	return t
}

// body reads the body, which may have at most max bytes. It is part of the
// budget until the request is done.
func (r *request) body(max int) ([]byte, error) {
	if r.ContentLength > int64(max) {
		return nil, r.over(max)
	}
	size := int(r.ContentLength)
	if size < 0 {
		size = 4096
	}
	var buf []byte
	body := http.MaxBytesReader(r.w, r.Body, int64(max))
	for {
		if len(buf) == cap(buf) {
			grow := max + 1 - len(buf)
			if want := size + 1; len(buf) == 0 {
				grow = min(grow, want) // one more than announced, so that its end is seen at once
			} else {
				grow = min(grow, len(buf))
			}
			if !r.memory.take(int64(grow)) {
				return nil, busy("too many requests are being received at once")
			}
			r.held += int64(grow)
			bigger := make([]byte, len(buf), len(buf)+grow)
			copy(bigger, buf)
			buf = bigger
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, r.bodyError(err, max)
		}
	}
}

func (r *request) bodyError(err error, max int) error {
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return r.over(max)
	}
	return badRequest("read the body: %v", err)
}

// over refuses a body. The connection ends with it, since the rest of the body
// is not read.
func (r *request) over(max int) error {
	p := tooLarge("a body may have %d bytes here", max)
	p.header = http.Header{"Connection": {"close"}}
	return p
}

// decode reads a JSON body into v: strictly, unknown keys are errors. An empty
// body leaves v as it is.
func (r *request) decode(v any) error {
	b, err := r.body(r.lim.body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	return decodeStrict(b, v)
}

func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("read the JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("read the JSON: there is something after its end")
	}
	return nil
}
