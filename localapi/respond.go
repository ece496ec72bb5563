package localapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// appender is an answer that writes its own JSON.
type appender interface {
	AppendJSON(dst []byte) []byte
}

// created is an answer with status 201.
type created struct{ value any }

// none is an answer with status 204.
type none struct{}

// raw is an answer that is not JSON.
type raw struct {
	mime string
	body []byte
	etag string // "" without
}

// takeover is an answer that a handler writes itself: a stream or a socket.
type takeover func(w http.ResponseWriter)

// respond is the one place that writes an answer.
func respond(w http.ResponseWriter, r *http.Request, log *slog.Logger, v any, err error) {
	if err != nil {
		p := asProblem(err)
		if p.Status == http.StatusInternalServerError {
			log.Error("answer a request", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		writeProblem(w, r, p)
		return
	}
	switch v := v.(type) {
	case takeover:
		v(w)
	case none:
		w.WriteHeader(http.StatusNoContent)
	case raw:
		writeRaw(w, r, v)
	case created:
		writeJSON(w, http.StatusCreated, v.value)
	default:
		writeJSON(w, http.StatusOK, v)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var body []byte
	if a, ok := v.(appender); ok {
		body = a.AppendJSON(nil)
	} else {
		var err error
		if body, err = json.Marshal(v); err != nil {
			status, body = http.StatusInternalServerError, []byte(`{"type":"urn:fieldpost:internal","title":"Internal error","status":500}`)
		}
	}
	body = append(body, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client left: there is nobody to tell
}

func writeRaw(w http.ResponseWriter, r *http.Request, v raw) {
	h := w.Header()
	h.Set("Content-Type", v.mime)
	if v.etag != "" {
		h.Set("ETag", v.etag)
		h.Set("Cache-Control", "no-cache")
		if r.Header.Get("If-None-Match") == v.etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(v.body)))
	_, _ = w.Write(v.body)
}

func writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	h := w.Header()
	for k, v := range p.header {
		h[k] = v
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retry+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(struct {
		*problem
		Instance string `json:"instance"`
	}{p, r.URL.Path})
	if err != nil {
		body = []byte(`{"title":"Internal error"}`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
