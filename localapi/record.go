package localapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"fieldpost/edge"
)

// How long a recording lasts, where the client does not say, and at most.
const (
	recordFor  = time.Hour
	recordMost = 24 * time.Hour
)

// Record writes what the hardware of a device says to write, a line of JSON each, until
// ctx is done. The first call is the head; an error before it is one of the request.
type Record func(ctx context.Context, device string, write func(line []byte) error) error

// getRecord streams what a device's hardware says, as it comes.
func getRecord(s *Server, r *request) (any, error) {
	const kind = "application/x-ndjson"
	name, last := r.PathValue("name"), recordFor
	for k, v := range r.URL.Query() {
		var d edge.Duration
		if k != "for" {
			return nil, badRequest("parameter %q is not known", k)
		}
		if err := d.UnmarshalText([]byte(v[0])); err != nil || d <= 0 || d.D() > recordMost {
			return nil, badRequest("for %q: it is a time such as 10m, %s at most", v[0], recordMost)
		}
		last = d.D()
	}
	if s.Record == nil || s.Devices == nil {
		return nil, notFound("device %q: %v", name, edge.ErrNoDevice)
	}
	if _, ok := s.Devices.Device(name); !ok {
		return nil, notFound("device %q: %v", name, edge.ErrNoDevice)
	}
	if r.Method == http.MethodHead {
		return raw{mime: kind}, nil
	}
	ctx, me, err := s.enter(r.Context(), "recorder", r.who)
	if err != nil {
		return nil, err
	}
	return takeover(func(w http.ResponseWriter) {
		defer s.clients.leave(me)
		within, cancel := context.WithTimeout(ctx, last)
		defer cancel()
		out := &lineSink{bulkSink: bulkSink{ctx: ctx, w: w, rc: http.NewResponseController(w), wait: s.lim.write}, mime: kind}
		err := s.Record(within, name, out.line)
		switch {
		case err == nil, errors.Is(err, errGone), ctx.Err() != nil:
		case !out.begun:
			respond(w, r.Request, s.log, nil, err)
		default:
			s.log.Warn("end a recording", "device", name, "key", r.who.name, "address", r.who.address(), "err", err)
			panic(http.ErrAbortHandler) // net/http cuts the connection, and says nothing
		}
	}), nil
}

// lineSink writes lines as they come.
type lineSink struct {
	bulkSink
	mime  string
	begun bool
}

func (o *lineSink) line(b []byte) error {
	if !o.begun {
		o.begun = true
		h := o.w.Header()
		h.Set("Content-Type", o.mime)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no")      // nginx would hold it back
		_ = o.rc.SetReadDeadline(time.Time{}) // the request's own limit; where it can't be lifted, it may end early
	}
	if _, err := o.Write(b); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	if err := o.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}
