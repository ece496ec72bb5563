package localapi

import (
	"errors"
	"net/http"
	"time"

	"fieldpost/edge"
)

// streamRetry is how long a browser waits before it connects again.
const streamRetry = "retry: 2000\n\n"

// streamFlush is how many bytes a stream gathers before it writes.
const streamFlush = 32 << 10

func getStream(s *Server, r *request) (any, error) {
	v := r.URL.Query()
	q, err := selectQuery(v, r.who, "ring", "after", "name", "kind")
	if err != nil {
		return nil, err
	}
	begin := v.Get("after") != ""
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if q.After, err = edge.ParsePosition(last); err != nil {
			return nil, badRequest("Last-Event-ID: %v", err)
		}
		begin = true
	}
	if !begin {
		q.After = s.now(q)
	}
	if r.Method == http.MethodHead {
		return raw{mime: "text/event-stream"}, nil
	}
	ctx, me, err := s.enter(r.Context(), "stream", r.who)
	if err != nil {
		return nil, err
	}
	return takeover(func(w http.ResponseWriter) {
		defer s.clients.leave(me)
		out := &streamSink{w: w, rc: http.NewResponseController(w), write: s.lim.write}
		if err := out.begin(); err != nil {
			return
		}
		f := &feed{log: s.Log, query: q, out: out, every: s.lim.beat, me: me}
		if err := f.run(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
			s.log.Warn("end a stream", "key", r.who.name, "address", r.who.address(), "err", err)
		}
	}), nil
}

// errGone: the client left, or was too slow.
var errGone = errors.New("the client is gone")

// streamSink writes server-sent events.
type streamSink struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	write time.Duration
	buf   []byte
}

// begin sends the headers and takes the request's own time limit away.
func (o *streamSink) begin() error {
	if err := o.rc.SetReadDeadline(time.Time{}); err != nil {
		return errGone
	}
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold it back
	o.w.WriteHeader(http.StatusOK)
	o.buf = append(o.buf, streamRetry...)
	return o.flush()
}

func (o *streamSink) event(ev *edge.Event, after edge.Position) error {
	o.id(after)
	o.buf = append(o.buf, "data: "...)
	o.buf = ev.AppendJSON(o.buf)
	return o.end()
}

func (o *streamSink) at(after edge.Position) error { return o.control("at", after) }

func (o *streamSink) reset(after edge.Position) error { return o.control("reset", after) }

func (o *streamSink) control(name string, after edge.Position) error {
	o.id(after)
	o.buf = append(append(append(o.buf, "event: "...), name...), "\ndata: {\"after\":\""...)
	o.buf = append(append(o.buf, after.String()...), "\"}"...)
	return o.end()
}

func (o *streamSink) beat() error {
	o.buf = append(o.buf, ": still here\n\n"...)
	return nil
}

func (o *streamSink) id(after edge.Position) {
	o.buf = append(append(append(o.buf, "id: "...), after.String()...), '\n')
}

func (o *streamSink) end() error {
	o.buf = append(o.buf, "\n\n"...)
	if len(o.buf) < streamFlush {
		return nil
	}
	return o.flush()
}

func (o *streamSink) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	if err := o.rc.SetWriteDeadline(time.Now().Add(o.write)); err != nil {
		return errGone
	}
	if _, err := o.w.Write(o.buf); err != nil {
		return errGone
	}
	o.buf = o.buf[:0]
	if cap(o.buf) > 4*streamFlush {
		o.buf = nil
	}
	if err := o.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}
