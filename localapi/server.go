package localapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Server is the local API.
type Server struct {
	Deps
	opt Options
	lim limits
	log *slog.Logger

	front      atomic.Pointer[front]
	access     *access
	claim      *claim
	mux        *http.ServeMux
	rows       map[string]route // by the mux's pattern
	memory     budget
	conns      *connLimiter
	clients    *clients
	boxes      *mailboxes
	meters     *meters
	page       *page
	keyChanges keyChanges
	backing    sync.Mutex // held while a backup is being written
	started    time.Time
	listening  []net.Addr // set by Serve, before it answers
}

// New makes a server. It reads the keys and mailboxes of the store; the
// mailboxes that the config made are stored when Serve runs.
func New(d Deps, opt Options) (*Server, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Hostname == "" {
		opt.Hostname, _ = os.Hostname() // without a name there is one way less to reach us
	}
	opt.BasePath = strings.TrimSuffix(opt.BasePath, "/")
	if opt.limits == (limits{}) {
		opt.limits = defaultLimits()
	}
	s := &Server{Deps: d, opt: opt, lim: opt.limits, log: opt.Log, conns: newConnLimiter(opt.limits), clients: newClients(opt.limits.streams), meters: newMeters(), started: time.Now()}
	s.memory.left.Store(s.lim.memory)
	f, err := newFront(opt)
	if err != nil {
		return nil, fmt.Errorf("set up the API: %w", err)
	}
	s.front.Store(f)
	keys, err := newKeyring(opt.Keys, d.Store)
	if err != nil {
		return nil, fmt.Errorf("set up the API: %w", err)
	}
	s.access = &access{keys: keys, backoff: newBackoff(), audit: &audit{pump: d.Pump}}
	s.claim = newClaim(opt, keys.hasAdmin())
	if s.boxes, err = newMailboxes(d, opt, s.lim.mailboxes); err != nil {
		return nil, fmt.Errorf("set up the API: %w", err)
	}
	if s.page, err = loadPage(); err != nil {
		return nil, fmt.Errorf("set up the API: %w", err)
	}
	s.mux, s.rows = http.NewServeMux(), map[string]route{}
	for _, rt := range routes() {
		pattern := rt.method + " " + rt.path
		s.rows[pattern] = rt
		s.mux.Handle(pattern, s.serveRoute(rt))
	}
	return s, nil
}

// Serve answers on the listeners until ctx is done, closes them, ends streams
// and sockets, and lets other requests end within 2 s. It is called once.
func (s *Server) Serve(ctx context.Context, ls ...net.Listener) error {
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: s.lim.headerTime,
		ReadTimeout:       s.lim.requestTime,
		WriteTimeout:      s.lim.requestTime,
		IdleTimeout:       s.lim.idle,
		MaxHeaderBytes:    s.lim.header,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(ls))
	var accepting sync.WaitGroup
	for _, l := range ls {
		s.listening = append(s.listening, l.Addr())
	}
	if !s.claimed() {
		s.log.Info(`this agent is not claimed yet: "fieldpost claim" shows the code and the panel's address`)
	}
	for _, l := range ls {
		accepting.Go(func() {
			if err := srv.Serve(s.bounded(l)); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("accept on %s: %w", l.Addr(), err)
			}
		})
	}
	upkeep, stopUpkeep := context.WithCancel(context.Background())
	accepting.Go(func() { s.boxes.run(upkeep, s.log) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.clients.stop()
	drain, cancel := context.WithTimeout(context.Background(), s.lim.drain)
	defer cancel()
	if srv.Shutdown(drain) != nil {
		_ = srv.Close() // what did not end in time is cut off
	}
	stopUpkeep()
	s.clients.wait()
	s.access.audit.stop()
	accepting.Wait()
	return err
}

// bounded puts a listener within the bounds, and TLS around a TCP one.
func (s *Server) bounded(l net.Listener) net.Listener {
	admin := s.opt.Socket != "" && l.Addr().Network() == "unix" && l.Addr().String() == s.opt.Socket
	b := net.Listener(&boundedListener{Listener: l, limiter: s.conns, admin: admin})
	if s.opt.TLS == nil || l.Addr().Network() == "unix" {
		return b
	}
	return tls.NewListener(b, &tls.Config{MinVersion: s.opt.TLS.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.front.Load().tls, nil }})
}

// serveHTTP is what every request passes.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	p := peerOf(r.Context())
	gate := s.front.Load().gate
	if err := gate.check(r, p); err != nil {
		respond(w, r, s.log, nil, err)
		return
	}
	if gate.cors(w, r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if s.opt.BasePath != "" {
		if r.URL.Path == s.opt.BasePath {
			w.Header().Set("Location", s.opt.BasePath+"/")
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
		if rest, ok := strings.CutPrefix(r.URL.Path, s.opt.BasePath+"/"); ok {
			r.URL.Path, r.URL.RawPath = "/"+rest, strings.TrimPrefix(r.URL.RawPath, s.opt.BasePath)
		}
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		respond(w, r, s.log, nil, s.unrouted(r))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// secure sets the headers that every answer has.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentPolicy)
}

// unrouted is the problem of a request that has no row: 405 with Allow where the
// path is known, else 404.
func (s *Server) unrouted(r *http.Request) error {
	rec := headerOnly{header: http.Header{}}
	s.mux.ServeHTTP(&rec, r)
	if rec.status != http.StatusMethodNotAllowed {
		return notFound("there is nothing at %s; /openapi.yaml lists what is there", r.URL.Path)
	}
	allowed := rec.header.Get("Allow")
	p := newProblem(http.StatusMethodNotAllowed, "method", "Method not allowed", "%s takes %s", r.URL.Path, allowed)
	p.header = http.Header{"Allow": {allowed}}
	return p
}

// headerOnly takes an answer's status and headers.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }

// serveRoute finds out who asks, checks them against the row, and lets the
// handler answer.
func (s *Server) serveRoute(rt route) http.Handler {
	meter := s.meters.route(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		begun := time.Now()
		v, err := s.answer(rt, w, hr)
		respond(w, hr, s.log, v, err)
		meter.took(begun, err)
	})
}

func (s *Server) answer(rt route, w http.ResponseWriter, hr *http.Request) (v any, err error) {
	p := peerOf(hr.Context())
	var addr netip.Addr
	if !p.admin {
		addr = s.front.Load().gate.client(hr, p)
	}
	r := &request{Request: hr, who: anyone(addr), w: w, memory: &s.memory, lim: &s.lim}
	if rt.role != roleNone {
		if r.who, err = s.access.principal(hr, p, addr); err != nil {
			return nil, s.unclaimed(hr, err)
		}
	}
	if err := allow(r.who, rt, hr); err != nil {
		return nil, s.unclaimed(hr, err)
	}
	defer r.done()
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("answer %s %s: %v", rt.method, rt.path, x)
		}
	}()
	return rt.handler(s, r)
}
