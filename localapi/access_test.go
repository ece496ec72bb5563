package localapi

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
)

func TestKeysAreMadeShownOnceAndDeleted(t *testing.T) {
	er := edgetest.NewRig(t)
	r := serveRig(t, er, nil)
	var k newKeyAnswer
	r.want(201, "POST", "/v1/keys", adminKey, `{"name":"panel","role":"read"}`).into(t, &k)
	if !strings.HasPrefix(k.Key, keyPrefix) || len(k.Key) < 40 || k.Name != "panel" || k.Role != "read" {
		t.Fatalf("got %+v", k)
	}
	r.want(200, "GET", "/v1/status", k.Key, "")
	r.want(200, "GET", "/v1/status", "", "", header{"X-API-Key": k.Key})
	r.want(403, "POST", "/v1/events", k.Key, `{"name":"a","data":1}`)
	list := r.want(200, "GET", "/v1/keys", adminKey, "")
	if bytes.Contains(list.body, []byte(k.Key)) || bytes.Contains(list.body, []byte("sha256")) || !bytes.Contains(list.body, []byte(`"panel"`)) {
		t.Errorf("the list is %s", list.body)
	}
	for body, status := range map[string]int{
		`{"name":"panel","role":"read"}`: 409, `{"name":"reader","role":"read"}`: 409, `{"name":"local","role":"read"}`: 409, `{"name":"UP","role":"read"}`: 422,
		`{"name":"x","role":"king"}`: 422, `{"name":"x","role":"read","names":[]}`: 422, `{"name":"x","role":"read","nams":["a"]}`: 400, `{"name":"x"`: 400,
	} {
		r.want(status, "POST", "/v1/keys", adminKey, body)
	}

	// It outlives the server, and its secret is nowhere on the disk.
	r.stop()
	r = serveRig(t, er, nil)
	r.want(200, "GET", "/v1/status", k.Key, "")
	r.want(409, "DELETE", "/v1/keys/reader", adminKey, "")
	r.want(204, "DELETE", "/v1/keys/"+k.ID, adminKey, "")
	r.want(404, "DELETE", "/v1/keys/"+k.ID, adminKey, "")
	r.want(401, "GET", "/v1/status", k.Key, "")

	eventually(t, "the refused key is in audit", func() bool { info, _ := r.Store.Ring(edge.RingAudit); return info.Last == 3 })
	var page events
	r.want(200, "GET", "/v1/events?ring=audit", adminKey, "").into(t, &page)
	var told []string
	for _, ev := range page.Events {
		told = append(told, ev.Name+" "+ev.From+" "+string(ev.Data))
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{`keys client:boss {"address":"127.0.0.1","did":"created"`, `"did":"deleted"`, `login system:api`} {
		if !strings.Contains(all, want) {
			t.Errorf("audit has no %s:\n%s", want, all)
		}
	}
}

func TestSecretsAreNotOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	er := edgetest.OpenRig(t, dir, edgetest.NewBoard("b1"))
	r := serveRig(t, er, nil)
	var k newKeyAnswer
	r.want(201, "POST", "/v1/keys", adminKey, `{"name":"panel","role":"read"}`).into(t, &k)
	r.stop()
	er.Stop()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(k.Key)) || bytes.Contains(b, []byte(strings.TrimPrefix(k.Key, keyPrefix))) || bytes.Contains(b, []byte(readKey)) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysCompareWhole(t *testing.T) {
	r := newRig(t, nil)
	keys := r.server.access.keys
	if _, ok := keys.find(readKey); !ok {
		t.Fatal("the key itself is not found")
	}
	for _, wrong := range []string{"", " ", readKey[:len(readKey)-1], readKey + "x", strings.ToUpper(readKey), "\x00", strings.Repeat("x", 1<<16), hex.EncodeToString([]byte(readKey))} {
		if who, ok := keys.find(wrong); ok {
			t.Errorf("%.40q opened as %s", wrong, who.name)
		}
	}
	for _, h := range []header{{"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "Basic " + readKey}, {"X-API-Key": ""}, {"Authorization": readKey}} {
		r.server.access.backoff.right(netip.MustParseAddr("127.0.0.1"))
		if a := r.do("GET", "/v1/status", "", "", h); a.status != 401 {
			t.Errorf("%v: got %d, want 401", h, a.status)
		}
	}
}

// 1,000 wrong keys in a row: few are looked at, a right one waits too, the
// socket does not, and nothing is locked for good.
func TestWrongKeysBackOff(t *testing.T) {
	r := newRig(t, nil)
	looked, waited := 0, 0
	for range 1000 {
		switch a := r.do("GET", "/v1/status", "wrong", ""); a.status {
		case 401:
			looked++
		case 429:
			if waited++; a.header.Get("Retry-After") == "" {
				t.Fatal("no Retry-After")
			}
		default:
			t.Fatalf("got %d", a.status)
		}
	}
	if looked > 10 {
		t.Errorf("%d wrong keys were looked at", looked)
	}
	r.want(429, "GET", "/v1/status", readKey, "")
	r.want(200, "GET", "/healthz", "", "")
	a, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/v1/keys", "", "")
	if err != nil || a.status != 200 {
		t.Errorf("the socket got %d %v", a.status, err)
	}
	eventually(t, "the first refusal is in audit", func() bool {
		info, ok := r.Store.Ring(edge.RingAudit)
		return ok && info.Last >= 1
	})
	if info, _ := r.Store.Ring(edge.RingAudit); info.Last > 3 {
		t.Errorf("%d events tell of it: an attacker can push the rest out", info.Last)
	}
}

func TestBackoffForgets(t *testing.T) {
	b, now := newBackoff(), time.Now()
	a, other, sub := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::2")
	for range 50 {
		b.wrong(a, now)
	}
	if w := b.wait(sub, now); w <= 0 || w > longestWait {
		t.Errorf("a neighbour in the same /64 waits %v", w)
	}
	if w := b.wait(other, now); w != 0 {
		t.Errorf("another address waits %v", w)
	}
	if w := b.wait(a, now.Add(longestWait)); w != 0 {
		t.Errorf("it still waits %v after the longest wait", w)
	}
	for i := range 3 * mostFailing {
		b.wrong(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), now.Add(time.Duration(i)))
	}
	if len(b.tries) > mostFailing {
		t.Errorf("%d addresses are remembered", len(b.tries))
	}
}

// emitOnly is a pump that takes events and stores nothing.
type emitOnly struct {
	pump
	got []edge.Event
}

func (p *emitOnly) Emit(ev edge.Event, _ *edge.Ticket) *edge.Ticket {
	p.got = append(p.got, ev)
	return nil
}

func TestRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &emitOnly{}
		a := &audit{pump: p}
		for range 500 {
			a.refused(netip.MustParseAddr("10.0.0.9"), "wrong key")
			time.Sleep(time.Millisecond) // of synctest's clock
		}
		if len(p.got) != 1 {
			t.Errorf("%d events in half a second, want the first alone", len(p.got))
		}
		a.stop()
		if len(p.got) != 2 || !strings.Contains(string(p.got[1].Data), `"count":499`) {
			t.Errorf("got %d events, the last %s", len(p.got), p.got[len(p.got)-1].Data)
		}
	})
}

// A Unix socket that is not the command line's is a proxy's: it needs a key.
func TestProxySocketNeedsAKey(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.Socket = "/elsewhere.sock" })
	c := r.overSocket()
	for key, want := range map[string]int{"": 401, readKey: 200} {
		if a, err := r.try(c, "http://localhost", "GET", "/v1/status", key, ""); err != nil || a.status != want {
			t.Errorf("key %q: got %d %v, want %d", key, a.status, err, want)
		}
	}
}

func TestDeletedKeyEndsItsStream(t *testing.T) {
	r := newRig(t, nil)
	var k newKeyAnswer
	r.want(201, "POST", "/v1/keys", adminKey, `{"name":"panel","role":"read"}`).into(t, &k)
	s := r.stream(k.Key, "")
	r.want(204, "DELETE", "/v1/keys/panel", adminKey, "")
	if _, err := s.next(); err == nil {
		t.Error("the stream goes on")
	}
}

func TestConfigKeysMustBeReadable(t *testing.T) {
	er := edgetest.NewRig(t)
	d := Deps{Log: er.Log, Pump: er.Pump, Store: er.Store, Clock: er.Clock}
	for _, k := range []Key{{Name: "a", Role: "read", Secret: edge.LiteralSecret("")}, {Name: "a", Role: "king", Secret: edge.LiteralSecret("x")}} {
		if _, err := New(d, Options{Keys: []Key{k}}); err == nil {
			t.Errorf("%+v: no error", k)
		}
	}
	if _, err := New(d, Options{Origins: []string{"nonsense"}}); err == nil {
		t.Error("an origin without a scheme is taken")
	}
}

// TestDeletedKeyOpensNoStream: a key that is deleted while its request is under
// way must not leave a stream behind that nothing ends.
func TestDeletedKeyOpensNoStream(t *testing.T) {
	r := newRig(t, nil)
	who, ok := r.server.access.keys.find(readKey)
	if !ok {
		t.Fatal("no key")
	}
	if _, me, err := r.server.enter(t.Context(), "stream", who); err != nil {
		t.Error(err)
	} else {
		r.server.clients.leave(me)
	}
	who.id = "deleted"
	if _, _, err := r.server.enter(t.Context(), "stream", who); err == nil || asProblem(err).Status != 401 {
		t.Errorf("it got in: %v", err)
	}
	if n := r.server.clients.count("stream"); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

func TestDevicesWithinScope(t *testing.T) {
	r := newRig(t, nil)
	a := r.want(200, "GET", "/v1/devices", kitchenKey, "")
	if s := string(a.body); strings.Contains(s, "door") || !strings.Contains(s, "lamp") {
		t.Errorf("got %s", s)
	}
	r.want(404, "GET", "/v1/devices/door", kitchenKey, "")
	r.want(404, "POST", "/v1/devices/door/on", kitchenKey, "")
	r.want(200, "POST", "/v1/devices/lamp/on", kitchenKey, "")
	r.want(403, "POST", "/v1/pins/GPIO17/drive", kitchenKey, `{"level":true}`)
	r.want(200, "POST", "/v1/pins/GPIO27/drive", kitchenKey, `{"level":true}`)
	r.want(403, "GET", "/metrics", kitchenKey, "")
	if got := r.world.commands[0]; got.From != "client:kitchen" || got.Device != "lamp" || got.Verb != "on" {
		t.Errorf("the device got %+v", got)
	}
	if s := string(r.want(200, "GET", "/v1/pins", kitchenKey, "").body); strings.Contains(s, `"door"`) {
		t.Errorf("pins show a device outside the scope: %s", s)
	}
}

func TestDeviceRoutes(t *testing.T) {
	r := newRig(t, nil)
	for q, want := range map[string]string{"?room=Hall": "door", "?tag=safety": "door", "?q=big": "lamp", "?q=kitch": "lamp"} {
		var got struct{ Devices []edge.DeviceStatus }
		r.want(200, "GET", "/v1/devices"+q, readKey, "").into(t, &got)
		if len(got.Devices) != 1 || got.Devices[0].Name != want {
			t.Errorf("%s: got %+v", q, got)
		}
	}
	r.want(400, "GET", "/v1/devices?rom=Hall", readKey, "")
	r.want(404, "POST", "/v1/devices/nobody/on", writeKey, "")
	r.want(422, "POST", "/v1/devices/lamp/explode", writeKey, "")
	r.want(400, "POST", "/v1/devices/lamp/on", writeKey, `{"vale":1}`)
	r.world.refuse = edge.ErrRefused
	if a := r.want(409, "POST", "/v1/devices/lamp/on", writeKey, ""); !bytes.Contains(a.body, []byte(`"outcome":{"id":"c1"`)) {
		t.Errorf("a refusal has no outcome: %s", a.body)
	}
	r.world.refuse = edge.ErrAbsent
	r.want(503, "POST", "/v1/devices/lamp/on", writeKey, "")
	r.want(409, "POST", "/v1/pins/GPIO4/drive", writeKey, `{"level":true}`)
	r.want(404, "POST", "/v1/pins/NOPE/drive", writeKey, `{"level":true}`)
	r.want(422, "POST", "/v1/pins/GPIO17/drive", writeKey, `{}`)
	r.want(404, "POST", "/v1/uplinks/nobody/test", adminKey, "")
	r.want(404, "POST", "/v1/uplinks/cloud/cut", adminKey, `{"cut":true}`)
	r.want(http.StatusConflict, "DELETE", "/v1/rings/audit", adminKey, "")
	r.want(404, "DELETE", "/v1/rings/nobody", adminKey, "")
}
