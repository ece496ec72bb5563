package localapi

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// claimRig is an agent that nobody has claimed. Its keys may read and write.
type claimRig struct {
	*rig
	file string

	mu   sync.Mutex
	time time.Time // what the claim takes for now
}

func newClaimRig(t *testing.T) *claimRig {
	r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
	r.serve(t, edgetest.NewRig(t))
	return r
}

// serve starts a server over the store, and the file.
func (r *claimRig) serve(t *testing.T, er *edgetest.Rig) {
	r.rig = serveRig(t, er, func(_ *Deps, o *Options) {
		o.Keys = slices.DeleteFunc(o.Keys, func(k Key) bool { return k.Role == "admin" })
		o.ClaimFile, o.now = r.file, r.clock
	})
}

func (r *claimRig) restart() {
	r.stop()
	r.serve(r.t.(*testing.T), r.Rig)
}

func (r *claimRig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.time
}

func (r *claimRig) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.time = r.time.Add(d)
}

// shown is what the board itself is told.
func (r *claimRig) shown() (a claimAnswer) {
	r.t.Helper()
	got, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/v1/claim", "", "")
	if err != nil || got.status != 200 {
		r.t.Fatalf("the socket got %d %s %v", got.status, got.body, err)
	}
	got.into(r.t, &a)
	return a
}

func (r *claimRig) claim(code string, hs ...header) answer {
	r.t.Helper()
	return r.do("POST", "/v1/claim", "", fmt.Sprintf(`{"code":%q}`, code), hs...)
}

// wrong is a code that is not the right one.
func (r *claimRig) wrong() string {
	if r.shown().Code == "1234-5678" {
		return "1234-5679"
	}
	return "1234-5678"
}

// Strangers get the page and no more, a key works, and the code is the board's.
func TestUnclaimed(t *testing.T) {
	r := newClaimRig(t)
	open := []string{"GET /{$}", "GET /assets/{file}", "GET /healthz", "GET /readyz", "GET /openapi.yaml", "POST /v1/claim"}
	for _, rt := range routes() {
		name := rt.method + " " + rt.path
		a := r.do(rt.method, sample(rt.path), "", "")
		if slices.Contains(open, name) {
			if a.status == 401 {
				t.Errorf("%s needs a key", name)
			}
			continue
		}
		if a.status != 401 || !strings.Contains(string(a.body), "urn:fieldpost:unclaimed") || a.header.Get("Www-Authenticate") != "Bearer" {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	if a := r.do("GET", "/v1/status", "wrong", ""); a.status != 401 || !strings.Contains(string(a.body), "the key is not known") {
		t.Errorf("a wrong key: got %d %s", a.status, a.body)
	}
	var s statusAnswer
	r.want(200, "GET", "/v1/status", readKey, "").into(t, &s)
	if s.Claimed || s.State != "ok" && len(s.Problems) != 1 { // the rig's sensor is absent
		t.Errorf("got %+v", s)
	}
	r.want(403, "GET", "/v1/claim", writeKey, "")

	c := r.shown()
	if code, ok := claimCode(c.Code); !ok || len(c.Code) != claimDigits+1 || code == "" || c.Claimed || c.Wait != 0 {
		t.Errorf("got %+v", c)
	}
	info, err := os.Stat(r.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v %v", info, err)
	}
	if _, port, _ := net.SplitHostPort(r.addr); c.Panel != "http://127.0.0.1:"+port {
		t.Errorf("the panel is at %q, and it listens on %s", c.Panel, r.addr)
	}
}

func TestClaim(t *testing.T) {
	r := newClaimRig(t)
	code := r.shown().Code
	for _, c := range []struct {
		body   string
		status int
		hs     header
	}{
		{`{"code":"` + code + `","name":"UP"}`, 422, nil},
		{`{"code":"` + code + `","role":"admin"}`, 400, nil},
		{`{"code":"` + code + `","name":"reader"}`, 409, nil}, // the code still counts
		{`{"code":"` + code + `"}`, 403, header{"Origin": "http://evil.example"}},
		{`{"code":"` + code + `"}`, 403, header{"Sec-Fetch-Site": "cross-site"}},
		{`{"code":"` + code + `"}`, 421, header{"Host": "evil.example"}},
		{`{"code":""}`, 422, nil}, {``, 422, nil}, {`{"code":"123"}`, 422, nil}, {`{"code":"` + code + `0"}`, 422, nil}, {`{"code":"abcd-efgh"}`, 422, nil},
		{`{"code":"` + r.wrong() + `"}`, 403, nil},
		{`[`, 400, nil},
	} {
		r.want(c.status, "POST", "/v1/claim", "", c.body, c.hs)
	}
	if got := r.shown(); got.Code != code || got.Claimed {
		t.Fatalf("got %+v, the code was %s", got, code)
	}

	var k newKeyAnswer
	r.want(201, "POST", "/v1/claim", "", `{"code":" `+strings.ReplaceAll(code, "-", " ")+`"}`).into(t, &k)
	if k.Name != "panel" || k.Role != "admin" || !strings.HasPrefix(k.Key, keyPrefix) || k.Names != nil {
		t.Errorf("got %+v", k)
	}
	r.want(200, "GET", "/v1/keys", k.Key, "")
	if a := r.claim(code); a.status != 409 {
		t.Errorf("a second time: got %d %s", a.status, a.body)
	}
	if got := r.shown(); !got.Claimed || got.Code != "" {
		t.Errorf("got %+v", got)
	}
	var s statusAnswer
	r.want(200, "GET", "/v1/status", readKey, "").into(t, &s)
	if !s.Claimed {
		t.Error("status says that it is not claimed")
	}
	if a := r.want(401, "GET", "/v1/status", "", ""); strings.Contains(string(a.body), "unclaimed") {
		t.Errorf("got %s", a.body)
	}
	if _, err := os.Stat(r.file); err == nil {
		t.Error("the code is still on the disk")
	}
	a := r.want(200, "GET", "/v1/events?ring=audit", k.Key, "")
	if text := string(a.body); !strings.Contains(text, `"did":"claimed"`) || !strings.Contains(text, `"address":"127.0.0.1"`) || strings.Contains(text, k.Key) || strings.Contains(text, code) {
		t.Errorf("audit has %s", text)
	}

	// A restart changes nothing, and a file that a power cut left opens nothing.
	if err := os.WriteFile(r.file, fmt.Appendf(nil, claimForm, code, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if a := r.claim(code); a.status != 409 {
		t.Errorf("after a restart: got %d %s", a.status, a.body)
	}
	if _, err := os.Stat(r.file); err == nil {
		t.Error("the code is on the disk again")
	}
	r.want(200, "GET", "/v1/keys", k.Key, "")
}

// The code is what the package printed until it is used, through restarts.
func TestClaimCodeStays(t *testing.T) {
	r := newClaimRig(t)
	code := r.shown().Code
	r.restart()
	if got := r.shown().Code; got != code {
		t.Fatalf("got %s, want %s", got, code)
	}
	for name, spoil := range map[string]func(){
		"gone":            func() { _ = os.Remove(r.file) },
		"empty":           func() { _ = os.WriteFile(r.file, nil, 0o600) },
		"half":            func() { _ = os.WriteFile(r.file, []byte(code[:6]), 0o600) },
		"open to others":  func() { _ = os.Chmod(r.file, 0o644) },
		"a strange count": func() { _ = os.WriteFile(r.file, []byte(code+" 11\n"), 0o600) },
		"a folder":        func() { _ = os.Remove(r.file); _ = os.Mkdir(r.file, 0o700) },
	} {
		_ = os.Remove(r.file) // a folder
		r.restart()
		code = r.shown().Code
		r.stop()
		spoil()
		r.serve(t, r.Rig)
		if got := r.shown().Code; got == code || got == "" {
			t.Errorf("%s: the code is %q, and was %s", name, got, code)
		}
	}
	var k newKeyAnswer
	code = r.shown().Code
	a := r.claim(code)
	if a.status != 201 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	a.into(t, &k)

	// Without an admin key it is anyone's who has the board, with another code.
	r.want(204, "DELETE", "/v1/keys/"+k.ID, k.Key, "")
	if got := r.shown(); got.Claimed || got.Code == "" || got.Code == code {
		t.Errorf("got %+v, the old code was %s", got, code)
	}
	if _, err := os.Stat(r.file); err != nil {
		t.Errorf("the new code is not on the disk: %v", err)
	}
	// A key that the command line made claims it, too.
	if a, err := r.try(r.overSocket(), "http://fieldpost", "POST", "/v1/keys", "", `{"name":"me","role":"admin"}`); err != nil || a.status != 201 {
		t.Fatalf("got %d %s %v", a.status, a.body, err)
	}
	if _, err := os.Stat(r.file); err == nil || !r.shown().Claimed {
		t.Errorf("the code is still on the disk, or it counts: %v", err)
	}
}

// Ten wrong codes make another one and a pause, a restart in between or not.
func TestClaimTriesAreBounded(t *testing.T) {
	r := newClaimRig(t)
	code := r.shown().Code
	try := func(n, want int) {
		t.Helper()
		if a := r.claim(r.wrong()); a.status != want || (want == 429) != (a.header.Get("Retry-After") == "60") {
			t.Fatalf("wrong code %d: got %d %v %s", n, a.status, a.header, a.body)
		}
	}
	for n := 1; n < claimTries; n++ {
		try(n, 403)
		if n == 6 {
			r.restart()
		}
	}
	if got := r.shown().Code; got != code {
		t.Fatalf("after %d wrong ones the code is %s, and was %s", claimTries-1, got, code)
	}
	try(claimTries, 429)
	next := r.shown()
	if next.Code == code || next.Wait != 60 {
		t.Fatalf("got %+v, the old code was %s", next, code)
	}
	for _, c := range []string{code, next.Code} {
		if a := r.claim(c); a.status != 429 {
			t.Errorf("in the pause: got %d %s", a.status, a.body)
		}
	}
	r.later(59 * time.Second)
	r.restart() // it begins again: how long it was is not known
	if got := r.shown(); got.Code != next.Code || got.Wait != 60 {
		t.Fatalf("after a restart: got %+v", got)
	}
	r.later(59 * time.Second)
	if a := r.claim(next.Code); a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("near its end: got %d %v", a.status, a.header)
	}
	r.later(time.Second)
	try(1, 403)
	if a := r.claim(next.Code); a.status != 201 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	eventually(t, "the new code is in audit", func() bool {
		a, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/v1/events?ring=audit", "", "")
		text := string(a.body)
		return err == nil && strings.Contains(text, `"did":"renewed"`) && strings.Contains(text, "wrong claim code") && !strings.Contains(text, next.Code)
	})
}

// Of many who send the code at once one gets a key.
func TestClaimRace(t *testing.T) {
	r := newClaimRig(t)
	code := r.shown().Code
	var wg sync.WaitGroup
	got := make([]int, 16)
	for i := range got {
		wg.Go(func() {
			a, err := r.try(r.client, "http://"+r.addr, "POST", "/v1/claim", "", `{"code":"`+code+`"}`)
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
	admins := 0
	for _, k := range r.server.access.keys.list() {
		if k.Role == "admin" {
			admins++
		}
	}
	if admins != 1 {
		t.Errorf("there are %d admin keys", admins)
	}
}

// A claim whose key can't be stored is none: the code counts on, on the disk too.
func TestClaimIsNotStored(t *testing.T) {
	r := &claimRig{file: filepath.Join(t.TempDir(), "claim"), time: time.Now()}
	er := edgetest.NewRig(t)
	r.serve(t, er)
	code := r.shown().Code
	p := &failingPump{Pump: er.Pump}
	r.stop()
	r.rig = serveRig(t, er, func(d *Deps, o *Options) {
		o.Keys, o.ClaimFile, o.now, d.Pump = nil, r.file, r.clock, p
	})
	p.fail(queue.ErrFull)
	if a := r.claim(code); a.status != 503 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	p.fail(nil)
	p.before = func() {
		if _, err := os.Stat(r.file); err == nil {
			t.Error("the key is stored while its code is on the disk")
		}
	}
	r.restart()
	if got := r.shown(); got.Claimed || got.Code != code {
		t.Errorf("got %+v, want %s", got, code)
	}
	r.stop()
	r.rig = serveRig(t, er, func(d *Deps, o *Options) {
		o.Keys, o.ClaimFile, o.now, d.Pump = nil, r.file, r.clock, p
	})
	if a := r.claim(code); a.status != 201 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// The answers of an agent that is not claimed fit the document, too.
func TestClaimFitsTheDocument(t *testing.T) {
	doc := loadOpenAPI(t)
	r := newClaimRig(t)
	c, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/v1/claim", "", "")
	if err != nil {
		t.Fatal(err)
	}
	checkBody(t, "GET /v1/claim", doc.Paths.Value("/v1/claim").Get.Responses.Status(200).Value, c)
	checkBody(t, "POST /v1/claim", doc.Paths.Value("/v1/claim").Post.Responses.Status(201).Value, r.claim(r.shown().Code))
}

// address is an address by its network and text.
type address struct{ network, text string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.text }

func TestPanel(t *testing.T) {
	socket := address{"unix", "/run/a:b.sock"}
	for _, c := range []struct {
		host   string
		listen []net.Addr
		want   string
	}{
		{"Pi", []net.Addr{socket, address{"tcp", "[::]:8716"}}, "http://pi.local:8716"},
		{"pi", []net.Addr{address{"tcp", ":8716"}}, "http://pi.local:8716"}, // not bound yet
		{"pi.example.org", []net.Addr{address{"tcp", "0.0.0.0:80"}}, "http://pi.example.org"},
		{"localhost", []net.Addr{address{"tcp", "0.0.0.0:1"}}, "http://localhost:1"},
		{"pi", []net.Addr{address{"tcp", "192.0.2.7:8716"}, address{"tcp", ":1"}}, "http://192.0.2.7:8716"},
		{"pi", []net.Addr{address{"tcp", "[2001:db8::1]:80"}}, "http://[2001:db8::1]"},
		{"pi", []net.Addr{socket}, ""},
	} {
		s := &Server{opt: Options{Hostname: c.host}, listening: c.listen}
		if got := s.panel(); got != c.want {
			t.Errorf("%s %v: got %q, want %q", c.host, c.listen, got, c.want)
		}
	}
}
