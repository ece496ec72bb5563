package agent

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// waiting answers for an agent whose store can't be opened yet: it lives, and it
// says what is wrong.
type waiting struct {
	srv  *http.Server
	why  atomic.Pointer[string]
	done chan struct{}
}

// serveWaiting listens where the agent will, and says that it waits for err to
// pass.
func (a *agent) serveWaiting(ctx context.Context, err error) *waiting {
	w := &waiting{done: make(chan struct{})}
	w.say(err)
	w.srv = &http.Server{Handler: w, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	var ls []net.Listener
	if l, err := listenSocket(ctx, a.opt.Config.API.Socket); err == nil {
		ls = append(ls, l)
	}
	if a.opt.Listeners == nil { // the given ones are needed whole, later
		for _, addr := range a.opt.Config.API.Listen {
			if l, err := listenOn(doorOf(addr, a.simulated())); err == nil {
				ls = append(ls, l)
			}
		}
	}
	left := make(chan struct{}, len(ls))
	for _, l := range ls {
		go func() {
			_ = w.srv.Serve(l) // it ends when stop closes it
			left <- struct{}{}
		}()
	}
	go func() {
		defer close(w.done)
		for range ls {
			<-left
		}
	}()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS=waiting for the disk") // without systemd nobody listens
	return w
}

// say changes what is wrong.
func (w *waiting) say(err error) {
	text := err.Error()
	w.why.Store(&text)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
}

// stop closes the listeners, so that the agent can open its own.
func (w *waiting) stop() {
	_ = w.srv.Close() // nothing that it does is worth waiting for
	<-w.done
}

// ServeHTTP answers that the agent lives and that nothing else works yet.
func (w *waiting) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	status, kind := http.StatusServiceUnavailable, "application/problem+json"
	var body any = map[string]any{"type": "urn:fieldpost:not-ready", "title": "Not ready", "status": status, "detail": "The store can't be opened yet: " + *w.why.Load(), "instance": r.URL.Path}
	if r.URL.Path == "/healthz" {
		status, kind, body = http.StatusOK, "application/json", map[string]string{"status": "ok"}
	} else {
		rw.Header().Set("Retry-After", strconv.Itoa(int(storeRetry/time.Second)))
	}
	rw.Header().Set("Content-Type", kind)
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body) // the client left: there is nobody to tell
}
