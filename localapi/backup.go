package localapi

import (
	"context"
	"net/http"
	"time"
)

// getBackup hands out a backup as it is written. What goes wrong once it has begun
// ends the connection, so that nobody takes a part for the whole.
func getBackup(s *Server, r *request) (any, error) {
	const kind = "application/zstd"
	if s.Backup == nil {
		return nil, notFound("this agent makes no backups")
	}
	if r.Method == http.MethodHead {
		return raw{mime: kind}, nil
	}
	if !s.backing.TryLock() {
		return nil, busy("a backup is being made already")
	}
	ctx, me, err := s.enter(r.Context(), "backup", r.who)
	if err != nil {
		s.backing.Unlock()
		return nil, err
	}
	write, err := s.Backup()
	if err != nil {
		s.clients.leave(me)
		s.backing.Unlock()
		return nil, err
	}
	return takeover(func(w http.ResponseWriter) {
		defer s.backing.Unlock()
		defer s.clients.leave(me)
		out := &bulkSink{ctx: ctx, w: w, rc: http.NewResponseController(w), wait: s.lim.write}
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Disposition", `attachment; filename="fieldpost.tar.zst"`)
		h.Set("Cache-Control", "no-store")
		_ = out.rc.SetReadDeadline(time.Time{}) // the request's own limit; where it can't be lifted, the backup may end early
		if err := write(out); err != nil {
			s.log.Warn("end a backup", "key", r.who.name, "address", r.who.address(), "err", err)
			panic(http.ErrAbortHandler) // net/http cuts the connection, and says nothing
		}
	}), nil
}

// bulkSink writes a long answer to a reader who must go on taking it.
type bulkSink struct {
	ctx  context.Context
	w    http.ResponseWriter
	rc   *http.ResponseController
	wait time.Duration // for one piece
}

func (o *bulkSink) Write(b []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	if err := o.rc.SetWriteDeadline(time.Now().Add(o.wait)); err != nil {
		return 0, errGone
	}
	return o.w.Write(b)
}
