package localapi

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// audited is what the ring audit has.
func (r *claimRig) audited() string {
	r.t.Helper()
	a, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/v1/events?ring=audit", "", "")
	if err != nil || a.status != 200 {
		r.t.Fatalf("got %d %s %v", a.status, a.body, err)
	}
	return string(a.body)
}

func (r *claimRig) openClaim() {
	r.t.Helper()
	if err := r.server.OpenClaim(); err != nil {
		r.t.Fatal(err)
	}
}

// While the button has opened the claim, it takes no code: once, and for two minutes.
func TestClaimByButton(t *testing.T) {
	r := newClaimRig(t)
	r.want(422, "POST", "/v1/claim", "", `{}`)
	r.openClaim()
	if a := r.want(401, "GET", "/v1/status", "", ""); !strings.Contains(string(a.body), "urn:fieldpost:claim-open") {
		t.Errorf("got %s", a.body)
	}
	if got := r.shown(); got.Open != claimOpen.Seconds() || got.Code == "" {
		t.Errorf("got %+v", got)
	}
	if c := r.server.Condition(); !c.Open || c.Claimed {
		t.Errorf("got %+v", c)
	}
	r.want(403, "POST", "/v1/claim", "", `{}`, header{"Origin": "http://evil.example"})
	r.want(422, "POST", "/v1/claim", "", `{"name":"UP"}`)
	r.want(403, "POST", "/v1/claim", "", `{"code":"`+r.wrong()+`"}`)

	r.later(claimOpen - time.Second)
	var k newKeyAnswer
	r.want(201, "POST", "/v1/claim", "", `{}`).into(t, &k)
	if k.Name != "panel" || k.Role != "admin" {
		t.Errorf("got %+v", k)
	}
	r.want(200, "GET", "/v1/keys", k.Key, "")
	r.want(409, "POST", "/v1/claim", "", `{}`)
	if c := r.server.Condition(); c.Open || !c.Claimed {
		t.Errorf("got %+v", c)
	}
	text := r.audited()
	for _, want := range []string{`"did":"opened"`, `"from":"system:button"`, `"did":"claimed without a code"`, `"address":"127.0.0.1"`} {
		if !strings.Contains(text, want) {
			t.Errorf("audit has no %s: %s", want, text)
		}
	}

	// On a claimed agent it opens nothing, and says so.
	if err := r.server.OpenClaim(); err == nil || !strings.Contains(err.Error(), "claimed") {
		t.Errorf("got %v", err)
	}
	r.want(204, "DELETE", "/v1/keys/"+k.ID, k.Key, "")
	r.want(422, "POST", "/v1/claim", "", `{}`) // the window went with the claim
	if text := r.audited(); !strings.Contains(text, `"why":"the agent is claimed"`) {
		t.Errorf("audit has %s", text)
	}
}

// It ends by itself, with a key that the board makes, and with the process.
func TestClaimByButtonEnds(t *testing.T) {
	r := newClaimRig(t)
	r.openClaim()
	r.later(claimOpen)
	r.want(422, "POST", "/v1/claim", "", `{}`)
	if a := r.want(401, "GET", "/v1/status", "", ""); !strings.Contains(string(a.body), "urn:fieldpost:unclaimed") {
		t.Errorf("got %s", a.body)
	}
	r.openClaim() // a second hold begins anew
	r.later(claimOpen - time.Second)
	r.restart()
	r.want(422, "POST", "/v1/claim", "", `{}`)
	r.openClaim()
	if a, err := r.try(r.overSocket(), "http://fieldpost", "POST", "/v1/keys", "", `{"name":"me","role":"admin"}`); err != nil || a.status != 201 {
		t.Fatalf("got %d %s %v", a.status, a.body, err)
	}
	r.want(409, "POST", "/v1/claim", "", `{}`)
	if a, err := r.try(r.overSocket(), "http://fieldpost", "DELETE", "/v1/keys/me", "", ""); err != nil || a.status != 204 {
		t.Fatalf("got %d %s %v", a.status, a.body, err)
	}
	r.want(422, "POST", "/v1/claim", "", `{}`)

	// The code goes on working beside it, and ends it.
	r.openClaim()
	if a := r.claim(r.shown().Code); a.status != 201 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	r.want(409, "POST", "/v1/claim", "", `{}`)
}

// Of many who press at once one gets the key.
func TestClaimByButtonRace(t *testing.T) {
	r := newClaimRig(t)
	r.openClaim()
	var wg sync.WaitGroup
	got := make([]int, 16)
	for i := range got {
		wg.Go(func() {
			a, err := r.try(r.client, "http://"+r.addr, "POST", "/v1/claim", "", `{}`)
			if got[i] = a.status; err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(got)
	if got[0] != http.StatusCreated || got[1] != http.StatusConflict || got[15] != http.StatusConflict {
		t.Errorf("got %v", got)
	}
}

// From outside the LAN a claim takes the code, whatever the button says.
func TestClaimByButtonIsForTheLAN(t *testing.T) {
	r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
	r.rig = newRig(t, func(_ *Deps, o *Options) {
		o.Keys, o.ClaimFile, o.now, o.TrustedProxies = nil, r.file, r.clock, []string{"127.0.0.1"}
	})
	r.openClaim()
	far := header{"X-Forwarded-For": "203.0.113.9"}
	if a := r.want(403, "POST", "/v1/claim", "", `{}`, far); !strings.Contains(string(a.body), "urn:fieldpost:not-local") {
		t.Errorf("got %s", a.body)
	}
	eventually(t, "it is in audit", func() bool { return strings.Contains(r.audited(), "claim from outside the LAN") })
	r.want(201, "POST", "/v1/claim", "", `{"code":"`+r.shown().Code+`"}`, far)

	for text, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "192.168.7.9": true, "10.1.2.3": true, "169.254.3.4": true, "fe80::1%eth0": true, "fd00::9": true, "::ffff:192.168.0.1": true,
		"203.0.113.9": false, "2001:db8::9": false, "8.8.8.8": false, "::ffff:8.8.8.8": false,
	} {
		if got := ofTheLAN(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	if ofTheLAN(netip.Addr{}) {
		t.Error("who has no address is in the LAN")
	}
}

// The button forgets every key that the API made, at once and for good; what was opened
// with one ends, and there is another code.
func TestForgetAccess(t *testing.T) {
	r := newClaimRig(t)
	code := r.shown().Code
	var k, w newKeyAnswer
	r.want(201, "POST", "/v1/claim", "", `{"code":"`+code+`"}`).into(t, &k)
	r.want(201, "POST", "/v1/keys", k.Key, `{"name":"app","role":"write"}`).into(t, &w)
	r.want(201, "POST", "/v1/events", w.Key, `{"name":"kept","data":1}`)
	stream := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+"/v1/stream", nil)
	req.Header.Set("Authorization", "Bearer "+w.Key)
	resp, err := r.client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v %v", resp, err)
	}
	go func() {
		defer resp.Body.Close()
		var err error
		for buf := make([]byte, 512); err == nil; {
			_, err = resp.Body.Read(buf)
		}
		stream <- ctx.Err() // it ended, or the test gave up
	}()
	eventually(t, "the stream is open", func() bool { return r.server.clients.count("stream") == 1 })

	did, err := r.server.ForgetAccess(t.Context())
	if err != nil || did.Deleted != 2 || did.Claimed || !slices.Equal(did.Kept, []string{"forwarder", "kitchen", "reader", "writer"}) {
		t.Fatalf("got %+v %v", did, err)
	}
	for _, gone := range []string{k.Key, w.Key} {
		r.want(401, "GET", "/v1/status", gone, "")
	}
	if err := <-stream; err != nil {
		t.Errorf("the stream of a key that is no more goes on: %v", err)
	}
	r.want(200, "GET", "/v1/status", readKey, "")
	if a := r.want(200, "GET", "/v1/events?name=kept", readKey, ""); !strings.Contains(string(a.body), `"kept"`) {
		t.Errorf("the events are gone: %s", a.body)
	}
	next := r.shown()
	if next.Claimed || next.Code == "" || next.Code == code {
		t.Errorf("got %+v, the code was %s", next, code)
	}
	if text := r.audited(); !strings.Contains(text, `"did":"forgotten"`) || !strings.Contains(text, `"deleted":2`) || !strings.Contains(text, `"from":"system:button"`) {
		t.Errorf("audit has %s", text)
	}

	// An agent that nobody has claimed gets another code, too, and an open claim ends.
	r.openClaim()
	if _, err := r.server.ForgetAccess(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.shown(); got.Code == next.Code || got.Open != 0 {
		t.Errorf("got %+v, the code was %s", got, next.Code)
	}
	next = r.shown()
	r.restart()
	if got := r.shown(); got.Code != next.Code {
		t.Errorf("after a restart the code is %s, was %s", got.Code, next.Code)
	}
	r.want(401, "GET", "/v1/status", k.Key, "")
	if a := r.claim(next.Code); a.status != 201 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// An admin's key in the config keeps the agent claimed. Keys that could not be deleted
// open on, and nothing says that they don't.
func TestForgetAccessKeepsAndFails(t *testing.T) {
	r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
	er := edgetest.NewRig(t)
	p := &failingPump{Pump: er.Pump}
	r.rig = serveRig(t, er, func(d *Deps, o *Options) { o.ClaimFile, o.now, d.Pump = r.file, r.clock, p })
	var k newKeyAnswer
	r.want(201, "POST", "/v1/keys", adminKey, `{"name":"app","role":"write"}`).into(t, &k)
	p.fail(queue.ErrFull)
	if _, err := r.server.ForgetAccess(t.Context()); err == nil {
		t.Error("a full disk took it")
	}
	p.fail(nil)
	r.want(200, "GET", "/v1/status", k.Key, "")
	did, err := r.server.ForgetAccess(t.Context())
	if err != nil || !did.Claimed || did.Deleted != 1 || !slices.Contains(did.Kept, "boss") {
		t.Errorf("got %+v %v", did, err)
	}
	r.want(401, "GET", "/v1/status", k.Key, "")
	r.want(200, "GET", "/v1/keys", adminKey, "")
	if got := r.shown(); !got.Claimed || got.Code != "" {
		t.Errorf("got %+v", got)
	}
	if _, err := os.Stat(r.file); err == nil {
		t.Error("there is a code on the disk")
	}
}

// On an agent that needs no claim, as on a simulated board, there is none to open, and no
// code comes of forgetting.
func TestButtonWithoutAClaim(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.Keys = nil })
	if err := r.server.OpenClaim(); err == nil || !strings.Contains(err.Error(), "needs no claim") {
		t.Errorf("got %v", err)
	}
	if did, err := r.server.ForgetAccess(t.Context()); err != nil || !did.Claimed || did.Deleted != 0 {
		t.Errorf("got %+v %v", did, err)
	}
}

// conditionWorld is a world with an uplink and a device in given states.
type conditionWorld struct {
	*fakeWorld
	device, uplink string
	backlog        uint64
}

func (w *conditionWorld) Devices() []edge.DeviceStatus {
	return []edge.DeviceStatus{{Name: "door", Status: w.device}}
}

func (w *conditionWorld) Uplinks() []edge.UplinkStatus {
	return []edge.UplinkStatus{{Name: "cloud", State: w.uplink, Backlog: w.backlog}}
}

func TestCondition(t *testing.T) {
	for _, c := range []struct {
		device, uplink string
		backlog        uint64
		problem        []string
		want           Condition
	}{
		{"ok", "up", 0, nil, Condition{Claimed: true}},
		{"ok", "up", 9, nil, Condition{Claimed: true}},   // it is on its way
		{"ok", "down", 0, nil, Condition{Claimed: true}}, // nothing waits
		{"ok", "down", 9, nil, Condition{Claimed: true, Backlog: true}},
		{"ok", "connecting", 1, nil, Condition{Claimed: true, Backlog: true}},
		{"starting", "up", 0, nil, Condition{Claimed: true}},
		{"failed", "down", 9, nil, Condition{Claimed: true, Backlog: true, Degraded: true}},
		{"absent", "up", 0, nil, Condition{Claimed: true, Degraded: true}},
		{"ok", "up", 0, []string{"This is a safe start."}, Condition{Claimed: true, Degraded: true}},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			w := &conditionWorld{newFakeWorld(), c.device, c.uplink, c.backlog}
			r := newRig(t, func(d *Deps, _ *Options) {
				d.Devices, d.Uplinks, d.Problems = w, w, func() []string { return c.problem }
			})
			if got := r.server.Condition(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// A disk that takes nothing is what a light tells first.
func TestConditionOfTheStore(t *testing.T) {
	er := edgetest.NewRig(t)
	s := &sickStore{Store: er.Store}
	r := serveRig(t, er, func(d *Deps, _ *Options) {
		d.Store, d.Devices, d.Uplinks = s, nil, nil
	})
	if c := r.server.Condition(); c.Degraded {
		t.Errorf("got %+v", c)
	}
	for _, h := range []queue.Health{{Full: true}, {ReadOnly: true}, {Err: os.ErrInvalid}} {
		s.health = h
		if c := r.server.Condition(); !c.Degraded {
			t.Errorf("%+v: got %+v", h, c)
		}
	}
}

// sickStore says of itself what it is told to.
type sickStore struct {
	*queue.Store
	health queue.Health
}

func (s *sickStore) Health() queue.Health { return s.health }
