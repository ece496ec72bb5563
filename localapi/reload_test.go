package localapi

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fieldpost/edge"
)

// TestReloadRoute: admins alone; what the agent says comes through with its status.
func TestReloadRoute(t *testing.T) {
	var fail error
	var from string
	r := newRig(t, func(d *Deps, _ *Options) {
		d.Reload = func(_ context.Context, who string) (edge.Reloaded, error) {
			from = who
			return edge.Reloaded{Config: "c2", Before: "c1", Devices: edge.Changes{Added: []string{"door"}}}, fail
		}
	})
	r.want(403, "POST", "/v1/reload", writeKey, "")
	if a := r.want(200, "POST", "/v1/reload", adminKey, ""); from != "client:boss" || !strings.Contains(string(a.body), `"added":["door"]`) {
		t.Errorf("%s from %s", a.body, from)
	}
	for want, err := range map[int]error{
		422: &edge.ReloadError{Config: true, Reasons: []string{"f.yaml:3:4: devices.door: no", "f.yaml:9: uplinks"}},
		409: &edge.ReloadError{Reasons: []string{"data_dir needs a restart"}},
		503: edge.ErrReloading,
	} {
		fail = err
		var p struct {
			Detail string
			Errors []fieldError
		}
		r.want(want, "POST", "/v1/reload", adminKey, "").into(t, &p)
		var no *edge.ReloadError
		if errors.As(err, &no) && (len(p.Errors) != len(no.Reasons) || p.Errors[0].Detail != no.Reasons[0]) {
			t.Errorf("%d: %+v", want, p)
		}
	}
	r.want(404, "POST", "/v1/reload/now", adminKey, "")
	newRig(t, nil).want(404, "POST", "/v1/reload", adminKey, "")
}

// TestPrepare: other keys, mailboxes, hosts and pages count at once; what they lack
// does not, and a stream of a key that is no more ends.
func TestPrepare(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.Mailboxes = []Mailbox{{Name: "old"}} })
	eventually(t, "the first mailbox", func() bool { _, ok := r.Store.Mailbox("old"); return ok })
	ended := make(chan struct{})
	streams, _ := http.NewRequest("GET", "http://"+r.addr+"/v1/stream", nil)
	streams.Header.Set("X-API-Key", kitchenKey)
	res, err := r.client.Do(streams)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	go func() {
		defer close(ended)
		for b := make([]byte, 512); ; {
			if _, err := res.Body.Read(b); err != nil {
				return
			}
		}
	}()
	r.want(421, "GET", "/v1/status", readKey, "", header{"Host": "pi.example.org"})

	keys := testKeys()[:4] // without the kitchen's
	keys[0].Secret = edge.LiteralSecret("another")
	opt := Options{Keys: keys, Mailboxes: []Mailbox{{Name: "new", Names: []string{"door"}}}, Hosts: []string{"pi.example.org"}}
	apply, changed, err := r.server.Prepare(opt)
	if err != nil || strings.Join(changed, " ") != "keys" {
		t.Fatal(changed, err)
	}
	r.want(200, "GET", "/v1/status", readKey, "") // nothing yet
	late, ok := r.server.access.keys.find(readKey)
	if !ok || !r.server.access.keys.opens(late) {
		t.Error("the key opens nothing")
	}
	if err := apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, _, err := r.server.enter(t.Context(), "stream", late); err == nil { // its key was looked at just before
		t.Error("a stream was opened with the secret before")
	}
	r.want(401, "GET", "/v1/status", readKey, "")
	r.want(401, "GET", "/v1/status", kitchenKey, "")
	r.want(200, "GET", "/v1/status", "another", "", header{"Host": "pi.example.org"})
	r.want(200, "GET", "/v1/mailboxes/new", adminKey, "")
	if row, ok := r.Store.Mailbox("old"); !ok || readRest(row).Made != madeByAPI {
		t.Errorf("the mailbox that left the config: %v %+v", ok, readRest(row))
	}
	for _, bad := range []Options{
		{Keys: []Key{{Name: "x", Role: "read", Secret: edge.LiteralSecret("")}}}, {Mailboxes: []Mailbox{{Name: "Ü"}}},
		{Origins: []string{"no origin"}}, {TLS: &tls.Config{}},
	} {
		if _, _, err := r.server.Prepare(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestPrepareCertificate: a new certificate counts for the next connection.
func TestPrepareCertificate(t *testing.T) {
	made := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer made.Close()
	r := newRig(t, func(_ *Deps, o *Options) { o.TLS = &tls.Config{} }) // none yet
	get := func() error {
		tr := made.Client().Transport.(*http.Transport).Clone()
		defer tr.CloseIdleConnections()
		_, err := r.try(&http.Client{Transport: tr}, "https://"+r.addr, "GET", "/v1/status", readKey, "")
		return err
	}
	if err := get(); err == nil {
		t.Fatal("it has a certificate already")
	}
	apply, changed, err := r.server.Prepare(Options{TLS: &tls.Config{Certificates: made.TLS.Certificates}, Keys: testKeys()})
	if err != nil || strings.Join(changed, " ") != "api.tls" {
		t.Fatal(changed, err)
	}
	if err := apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Error(err)
	}
}
