package localapi

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// A proxy's own address is nobody's: where it does not say who asks, or is not one that
// is trusted, a claim takes the code. So it does for a page of another origin, though the
// API lets that in.
func TestClaimByButtonNeedsAClientOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		name    string
		proxies []string
		header  header
		want    int
	}{
		{"a client", nil, nil, 201},
		{"its own page", nil, header{"Origin": "http://{host}"}, 201},
		{"a page of the API's origins", nil, header{"Origin": "http://web.lan:8000"}, 403},
		{"a proxy that nobody knows of", nil, header{"X-Forwarded-For": "203.0.113.9"}, 403},
		{"another such", nil, header{"Forwarded": "for=203.0.113.9"}, 403},
		{"a proxy that names a client", []string{"127.0.0.1"}, header{"X-Forwarded-For": "192.168.7.9"}, 201},
		{"a proxy that names none", []string{"127.0.0.1"}, nil, 403},
		{"a proxy that names it in a way of its own", []string{"127.0.0.1"}, header{"X-Forwarded-For": "203.0.113.9:4711"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
			r.rig = newRig(t, func(_ *Deps, o *Options) {
				o.Keys, o.ClaimFile, o.now, o.TrustedProxies, o.Origins = nil, r.file, r.clock, c.proxies, []string{"http://web.lan:8000"}
			})
			r.openClaim()
			for name, value := range c.header {
				c.header[name] = strings.Replace(value, "{host}", r.addr, 1)
			}
			// The page asks for the code where it counts.
			if a := r.do("GET", "/v1/status", "", "", c.header); strings.Contains(string(a.body), "claim-open") != (c.want == 201) {
				t.Errorf("got %s", a.body)
			}
			r.want(c.want, "POST", "/v1/claim", "", `{}`, c.header)
		})
	}
}

// A request that a key began does nothing to keys once that key is forgotten.
func TestForgottenKeyMakesNone(t *testing.T) {
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/keys", `{"name":"again","role":"admin"}`},
		{"DELETE", "/v1/keys/again", ``},
	} {
		t.Run(c.method, func(t *testing.T) {
			r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
			er := edgetest.NewRig(t)
			arrived, forgotten := make(chan struct{}), make(chan struct{})
			p := &failingPump{Pump: er.Pump}
			r.rig = serveRig(t, er, func(d *Deps, o *Options) {
				o.Keys, o.ClaimFile, o.now, d.Pump = nil, r.file, r.clock, p
			})
			var k newKeyAnswer
			r.want(201, "POST", "/v1/claim", "", `{"code":"`+r.shown().Code+`"}`).into(t, &k)
			var first sync.Once
			p.before = func() { first.Do(func() { close(arrived); <-forgotten }) }
			ended := make(chan error, 1)
			go func() {
				_, err := r.server.ForgetAccess(context.WithoutCancel(t.Context()))
				ended <- err
			}()
			<-arrived // it has the lock, and the key opens still
			answered := make(chan int, 1)
			go func() {
				a, err := r.try(r.client, "http://"+r.addr, c.method, c.path, k.Key, c.body)
				if err != nil {
					t.Error(err)
				}
				answered <- a.status
			}()
			eventually(t, "the request waits", func() bool {
				_, there := r.server.access.keys.get(k.ID)
				return there && waitsForKeys()
			})
			close(forgotten)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if got := <-answered; got != 401 {
				t.Errorf("got %d", got)
			}
			if got := r.shown(); got.Claimed {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// waitsForKeys reports whether a request waits for the lock of the keys.
func waitsForKeys() bool {
	buf := make([]byte, 1<<20)
	all := string(buf[:runtime.Stack(buf, true)])
	for one := range strings.SplitSeq(all, "\n\n") {
		if strings.Contains(one, "sync.Mutex.Lock") && (strings.Contains(one, "localapi.postKey") || strings.Contains(one, "localapi.deleteKey")) {
			return true
		}
	}
	return false
}

// What was begun with keys ends as its flush does, though who asked left meanwhile.
func TestKeysDoNotDependOnWhoStays(t *testing.T) {
	er := edgetest.NewRig(t)
	p := &leavingPump{Pump: er.Pump}
	r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
	r.rig = serveRig(t, er, func(d *Deps, o *Options) { o.Keys, o.ClaimFile, o.now, d.Pump = nil, r.file, r.clock, p })
	var k newKeyAnswer
	r.want(201, "POST", "/v1/keys", r.first(), `{"name":"app","role":"write"}`).into(t, &k)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if did, err := r.server.ForgetAccess(ctx); err != nil || did.Deleted != 2 {
		t.Errorf("got %+v %v", did, err)
	}
	r.want(401, "GET", "/v1/status", k.Key, "")
	if p.bounded.Load() {
		t.Error("a change of keys can be left half way")
	}
}

// first claims the agent.
func (r *claimRig) first() string {
	var k newKeyAnswer
	r.want(201, "POST", "/v1/claim", "", `{"code":"`+r.shown().Code+`"}`).into(r.t, &k)
	return k.Key
}

// leavingPump notes whether a flush could be left before it ends.
type leavingPump struct {
	*edge.Pump
	bounded atomic.Bool
}

func (p *leavingPump) CommitWith(ctx context.Context, evs []edge.Event, rows []queue.Row) ([]edge.Event, error) {
	if ctx.Done() != nil {
		p.bounded.Store(true)
	}
	return p.Pump.CommitWith(ctx, evs, rows)
}

// A config that brings an admin's key closes the claim that the button opened, and one
// that takes it away again does not open it.
func TestReloadedKeysEndTheWindow(t *testing.T) {
	r := newClaimRig(t)
	take := func(keys []Key) {
		t.Helper()
		apply, _, err := r.server.Prepare(Options{Keys: keys})
		if err == nil {
			err = apply(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := r.shown().Code
	r.openClaim()
	take(testKeys())
	r.want(409, "POST", "/v1/claim", "", `{}`)
	take(nil)
	r.want(422, "POST", "/v1/claim", "", `{}`)
	if got := r.shown(); got.Claimed || got.Open != 0 || got.Code == "" || got.Code == before {
		t.Errorf("got %+v, the code was %s", got, before)
	}
}
