package localapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"fieldpost/edge"
)

// reply is what a socket sends.
type reply struct {
	Op      string          `json:"op"`
	Ref     json.RawMessage `json:"ref"`
	After   string          `json:"after"`
	Event   *edge.Event     `json:"event"`
	Status  int             `json:"status"`
	Detail  string          `json:"detail"`
	Outcome *edge.Outcome   `json:"outcome"`
	receipts
}

type wsClient struct {
	t *testing.T
	c *websocket.Conn
}

func (r *rig) socketAs(t *testing.T, key string) *wsClient {
	t.Helper()
	c, res, err := websocket.Dial(t.Context(), "ws://"+r.addr+"/v1/ws", &websocket.DialOptions{HTTPClient: r.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		t.Fatalf("dial: %v %v", err, res)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return &wsClient{t, c}
}

func (w *wsClient) send(text string) {
	w.t.Helper()
	if err := w.c.Write(w.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wsClient) next() reply {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := w.c.Read(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var r reply
	if err := json.Unmarshal(b, &r); err != nil {
		w.t.Fatalf("%s: %v", b, err)
	}
	return r
}

// until skips to the next message with an op.
func (w *wsClient) until(op string) reply {
	w.t.Helper()
	for {
		if r := w.next(); r.Op == op {
			return r
		}
	}
}

func TestSocketPublishIsPipelined(t *testing.T) {
	r := newRig(t, nil)
	w := r.socketAs(t, writeKey)
	const total = 3000 // more than may be in flight
	go func() {
		for i := range total {
			if err := w.c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"op":"publish","ref":%d,"name":"x","data":{"i":%d}}`, i, i)); err != nil {
				return // the reader says why
			}
		}
	}()
	for i := range total {
		a := w.next()
		if a.Op != "published" || string(a.Ref) != fmt.Sprint(i) || len(a.Events) != 1 || a.Events[0].N != uint64(i+1) {
			t.Fatalf("answer %d is %+v", i, a)
		}
	}
	w.send(`{"op":"publish","ref":"list","events":[{"name":"a","data":1},{"name":"b","data":2,"ring":"alarms"}]}`)
	if a := w.next(); string(a.Ref) != `"list"` || len(a.Events) != 2 || a.Events[1].Ring != "alarms" || a.Events[1].Seq != 1 {
		t.Errorf("got %+v", a)
	}
	if n := r.Store.NextN(); n != total+3 {
		t.Errorf("the next n is %d", n)
	}
}

// heldPump makes each Post wait for a token.
type heldPump struct {
	pump
	began, free chan struct{}
}

func (p heldPump) Post(ctx context.Context, evs []edge.Event, key edge.Idempotency) ([]edge.Event, error) {
	p.began <- struct{}{}
	<-p.free
	return p.pump.Post(ctx, evs, key)
}

// After a flush that took long, the reader leaves the next one to the publisher,
// so that what comes behind a publish is done at once.
func TestSlowDiskHoldsUpNoMessage(t *testing.T) {
	held := heldPump{began: make(chan struct{}), free: make(chan struct{})}
	r := newRig(t, func(d *Deps, _ *Options) { held.pump, d.Pump = d.Pump, &held })
	w := r.socketAs(t, writeKey)
	for i := range 2 { // a quick one, and one that is not
		w.send(`{"op":"publish","name":"a","data":1}`)
		<-held.began
		for since := time.Now(); i > 0 && time.Since(since) <= 2*quickFlush; {
			runtime.Gosched()
		}
		held.free <- struct{}{}
		w.until("published")
	}
	w.send(`{"op":"publish","name":"a","data":1}`)
	<-held.began
	w.send(`{"op":"unsubscribe"}`)
	if a := w.next(); a.Op != "unsubscribed" {
		t.Errorf("answered %+v", a)
	}
	held.free <- struct{}{}
	w.until("published")
}

func TestSocketMistakes(t *testing.T) {
	r := newRig(t, nil)
	w := r.socketAs(t, writeKey)
	for _, c := range []struct {
		send   string
		status int
		detail string
	}{
		{`not JSON`, 400, "object"}, {`{"op":"dance","ref":1}`, 400, "dance"}, {`{"op":"publish","ref":1,"name":"a"}`, 400, "data"},
		{`{"op":"publish","ref":1,"name":"a","data":{]}`, 400, ""}, {`{"op":"publish","ref":1,"name":"a","data":1,"colour":2}`, 400, "colour"},
		{`{"op":"publish","ref":1,"events":[],"name":"a"}`, 400, "not both"}, {`{"op":"publish","ref":1,"events":{}}`, 400, "array"}, {`{"op":"publish","ref":1,"events":[]}`, 400, "no event"},
		{`{"op":"subscribe","ref":1,"nams":[]}`, 400, "nams"}, {`{"op":"subscribe","ref":1,"after":"x"}`, 400, "after"}, {`{"op":"subscribe","ref":1,"rings":["audit"]}`, 403, "audit"},
		{`{"op":"confirm","ref":1,"id":"x"}`, 404, "x"}, {`{"op":"confirm","ref":1,"command":"c1"}`, 400, "command"}, {`{"op":"command","ref":1,"device":"nobody","command":"on"}`, 404, ""}, {`{"op":"publish","ref":{},"name":"a","data":1}`, 400, "ref"},
	} {
		w.send(c.send)
		if a := w.next(); a.Op != "error" || a.Status != c.status || !strings.Contains(a.Detail, c.detail) {
			t.Errorf("%s: got %+v", c.send, a)
		}
	}
	w.send(`{"op":"confirm","ref":8,"id":"c1","value":40}`)
	if a := w.next(); a.Op != "result" || string(a.Ref) != "8" || a.Outcome == nil || !a.Outcome.Done || string(a.Outcome.Value) != "40" {
		t.Errorf("got %+v", a)
	}
	w.send(`{"op":"command","ref":9,"device":"lamp","command":"on"}`)
	if a := w.next(); a.Op != "result" || string(a.Ref) != "9" || a.Outcome == nil || !a.Outcome.Done {
		t.Errorf("got %+v", a)
	}
	reader := r.socketAs(t, readKey)
	for _, send := range []string{`{"op":"publish","name":"a","data":1}`, `{"op":"command","device":"lamp","command":"on"}`} {
		reader.send(send)
		if a := reader.next(); a.Status != 403 {
			t.Errorf("a read key: %s got %+v", send, a)
		}
	}
	kitchen := r.socketAs(t, kitchenKey)
	kitchen.send(`{"op":"publish","name":"door","data":1}`)
	if a := kitchen.next(); a.Status != 403 {
		t.Errorf("outside the scope: got %+v", a)
	}
	kitchen.send(`{"op":"command","device":"door","command":"on"}`)
	if a := kitchen.next(); a.Status != 404 {
		t.Errorf("outside the scope: got %+v", a)
	}
}

// A client that is cut again and again, while events come in, has each once.
func TestSocketResumesWithoutGap(t *testing.T) {
	r := newRig(t, nil)
	const total = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			if a, err := r.try(r.client, "http://"+r.addr, "POST", "/v1/events", writeKey, fmt.Sprintf(`{"name":"x","data":%d}`, i)); err != nil || a.status != 201 {
				t.Errorf("publish: %d %v", a.status, err)
				return
			}
		}
	}()
	after := "0"
	for n := uint64(1); n <= total; {
		w := r.socketAs(t, readKey)
		w.send(`{"op":"subscribe","ref":"s","after":"` + after + `"}`)
		if a := w.next(); a.Op != "subscribed" || a.After != after {
			t.Fatalf("got %+v", a)
		}
		for range 41 {
			a := w.until("event")
			if a.Event.N != n {
				t.Fatalf("got %d, want %d", a.Event.N, n)
			}
			after = a.After
			if n++; n > total {
				break
			}
		}
		_ = w.c.CloseNow()
	}
	<-done
}

func TestSocketSubscription(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.beat = 50 * time.Millisecond })
	r.publish("old", 3)
	w := r.socketAs(t, readKey)
	w.send(`{"op":"subscribe","names":["door","kitchen/*"]}`)
	if a := w.until("subscribed"); !strings.HasSuffix(a.After, ".3") {
		t.Errorf("it begins after %s, want now", a.After)
	}
	if a := w.until("at"); !strings.HasSuffix(a.After, ".3") {
		t.Errorf("in silence, it is at %s", a.After)
	}
	r.publish("noise", 2100)
	if a := w.until("at"); a.After == "" {
		t.Error("no position after 2,100 skipped events")
	}
	r.publish("kitchen/oven", 1)
	if a := w.until("event"); a.Event.Name != "kitchen/oven" || !strings.HasSuffix(a.After, ".2104") {
		t.Errorf("got %+v", a)
	}
	w.send(`{"op":"subscribe","ref":2,"after":"0","kinds":["message"],"rings":["events"]}`)
	if a := w.until("subscribed"); string(a.Ref) != "2" {
		t.Errorf("got %+v", a)
	}
	if a := w.until("event"); a.Event.Name != "old" || a.Event.N != 1 {
		t.Errorf("the new subscription begins with %+v", a.Event)
	}
	w.send(`{"op":"unsubscribe","ref":3}`)
	if a := w.until("unsubscribed"); string(a.Ref) != "3" || a.After == "" {
		t.Errorf("got %+v", a)
	}
	w.send(`{"op":"subscribe","after":"00000bad.5"}`)
	w.until("reset")
	if a := w.until("event"); a.Event.N != 1 {
		t.Errorf("after a reset it goes on with %d", a.Event.N)
	}
}

func TestSocketFromABrowser(t *testing.T) {
	r := newRig(t, nil)
	c, _, err := websocket.Dial(t.Context(), "ws://"+r.addr+"/v1/ws", &websocket.DialOptions{HTTPClient: r.client, Subprotocols: []string{subprotocol, subprotocolKey + readKey}, HTTPHeader: http.Header{"Origin": {"http://" + r.addr}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if c.Subprotocol() != subprotocol {
		t.Errorf("the subprotocol is %q", c.Subprotocol())
	}
	r.want(426, "GET", "/v1/ws", readKey, "")
	r.want(401, "GET", "/v1/ws", "", "")
}

// A reader that never reads is cut off; another one, and publishing, don't
// notice it.
func TestSlowReaderDelaysNobody(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.write = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/stream?after=0 HTTP/1.1\r\nHost: board\r\nAuthorization: Bearer %s\r\n\r\n", readKey)
	fast := r.socketAs(t, readKey)
	fast.send(`{"op":"subscribe","after":"0"}`)
	fast.until("subscribed")
	eventually(t, "both are there", func() bool { return r.server.clients.count("stream") == 1 })
	big := strings.Repeat("x", 50_000)
	var slowest time.Duration
	var got atomic.Int64
	const total = 200 // 10 MB: more than any socket buffer holds
	go func() {
		for range total {
			if _, _, err := fast.c.Read(t.Context()); err != nil {
				return
			}
			got.Add(1)
		}
	}()
	for range total {
		begun := time.Now()
		r.want(201, "POST", "/v1/events", writeKey, `{"name":"big","data":"`+big+`"}`)
		slowest = max(slowest, time.Since(begun))
	}
	eventually(t, "the fast reader has all", func() bool { return got.Load() >= total })
	eventually(t, "the slow reader is cut off", func() bool { return r.server.clients.count("stream") == 0 })
	if slowest > 2*time.Second {
		t.Errorf("a publisher waited %v", slowest)
	}
}

// A socket whose client vanished without a word is noticed by its ping.
func TestVanishedSocketIsNoticed(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.ping = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // it never answers a ping
	fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: board\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", readKey)
	eventually(t, "it is there", func() bool { return r.server.clients.count("socket") == 1 })
	eventually(t, "it is gone", func() bool { return r.server.clients.count("socket") == 0 })
}

func TestStopEndsSockets(t *testing.T) {
	r := newRig(t, nil)
	w := r.socketAs(t, readKey)
	w.send(`{"op":"subscribe"}`)
	w.until("subscribed")
	gone := make(chan error, 1)
	go func() { _, _, err := w.c.Read(context.Background()); gone <- err }()
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := <-gone; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client got %v", err)
	}
}
