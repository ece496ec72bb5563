package localapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/queue"
)

func TestPublishAndRead(t *testing.T) {
	r := newRig(t, nil)
	var one receipts
	r.want(201, "POST", "/v1/events", writeKey, `{"name":"door","data":{"value":true}}`).into(t, &one)
	if len(one.Events) != 1 || one.Events[0].N != 1 || one.Events[0].Ring != "events" || one.Events[0].Seq != 1 {
		t.Fatalf("got %+v", one)
	}
	var many receipts
	r.want(201, "POST", "/v1/events", writeKey, ` [{"name":"a","data":1}, {"name":"b","data":[1,2],"ring":"alarms"},{"name":"c","kind":"sample","data":"x"}] `).into(t, &many)
	want := []string{"events 2", "alarms 1", "samples 1"}
	for i, ev := range many.Events {
		if got := fmt.Sprint(ev.Ring, " ", ev.Seq); got != want[i] || ev.N != uint64(i+2) {
			t.Errorf("event %d: got %s n %d, want %s", i, got, ev.N, want[i])
		}
	}
	var lines receipts
	r.want(201, "POST", "/v1/events", writeKey, "{\"name\":\"l\",\"data\":1}\r\n\n{\"name\":\"l\",\"data\":2}", header{"Content-Type": "application/x-ndjson; charset=utf-8"}).into(t, &lines)
	if len(lines.Events) != 2 || lines.Events[1].N != 6 {
		t.Fatalf("got %+v", lines)
	}

	var all events
	r.want(200, "GET", "/v1/events", readKey, "").into(t, &all)
	if len(all.Events) != 6 || all.Next != "" || all.Events[0].From != "client:writer" || !strings.HasSuffix(all.At, ".6") {
		t.Fatalf("got %d events, next %q at %q, %+v", len(all.Events), all.Next, all.At, all.Events[0])
	}
	var ev edge.Event
	r.want(200, "GET", "/v1/events/alarms/1", readKey, "").into(t, &ev)
	if ev.Name != "b" || ev.N != 3 {
		t.Fatalf("got %+v", ev)
	}
	r.want(404, "GET", "/v1/events/alarms/2", readKey, "")
	r.want(400, "GET", "/v1/events/alarms/x", readKey, "")
}

func TestReadQueries(t *testing.T) {
	r := newRig(t, nil)
	r.publish("door", 5)
	r.publish("kitchen/lamp", 5)
	for _, c := range []struct {
		query string
		names int
		first uint64
	}{
		{"", 10, 1}, {"?limit=3", 3, 1}, {"?after=4", 6, 5}, {"?before=4", 3, 1}, {"?order=desc&limit=2", 2, 10}, {"?order=desc&before=4", 3, 3},
		{"?name=kitchen/*", 5, 6}, {"?name=door&name=kitchen/lamp&limit=7", 7, 1}, {"?kind=sample", 0, 0}, {"?kind=message&kind=change", 10, 1},
		{"?ring=events&after=8", 2, 9}, {"?ring=nothing", 0, 0}, {"?since=2000-01-01T00:00:00Z", 10, 1}, {"?until=2000-01-01T00:00:00Z", 0, 0},
	} {
		var got events
		r.want(200, "GET", "/v1/events"+c.query, readKey, "").into(t, &got)
		if len(got.Events) != c.names || c.names > 0 && got.Events[0].N != c.first {
			t.Errorf("%s: got %d events from %v on, want %d from %d on", c.query, len(got.Events), got.Events, c.names, c.first)
		}
	}
	for _, bad := range []string{"?limit=0", "?limit=1001", "?limit=x", "?order=up", "?after=zz", "?before=1.2.3", "?kind=gossip", "?since=yesterday", "?ring=UP", "?nam=door", "?limit=1&limit=2", "?name=%00"} {
		if a := r.do("GET", "/v1/events"+bad, readKey, ""); a.status != 400 {
			t.Errorf("%s: got %d, want 400", bad, a.status)
		}
	}
}

// A reader that follows next gets everything once, whatever the limit.
func TestPaging(t *testing.T) {
	r := newRig(t, nil)
	r.publish("x", 357)
	for _, order := range []string{"asc", "desc"} {
		seen := map[uint64]bool{}
		path := "/v1/events?limit=150&order=" + order
		for next := ""; ; {
			var page events
			r.want(200, "GET", path+next, readKey, "").into(t, &page)
			for _, ev := range page.Events {
				if seen[ev.N] {
					t.Fatalf("%s: got %d twice", order, ev.N)
				}
				seen[ev.N] = true
			}
			if page.Next == "" {
				break
			}
			next = map[string]string{"asc": "&after=", "desc": "&before="}[order] + page.Next
		}
		if len(seen) != 357 {
			t.Errorf("%s: got %d events, want 357", order, len(seen))
		}
	}
}

// A page of large events ends early and goes on behind its last one.
func TestPageBytes(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.page = 3000 })
	big := `{"name":"big","data":"` + strings.Repeat("x", 1000) + `"}`
	for range 5 {
		r.want(201, "POST", "/v1/events", writeKey, big)
	}
	var got []uint64
	for next := ""; ; {
		var page events
		r.want(200, "GET", "/v1/events?ring=events"+next, readKey, "").into(t, &page)
		if len(page.Events) > 3 {
			t.Fatalf("got %d events on a page of 3 kB", len(page.Events))
		}
		for _, ev := range page.Events {
			got = append(got, ev.Seq)
		}
		if page.Next == "" {
			break
		}
		next = "&after=" + page.Next
	}
	if fmt.Sprint(got) != "[1 2 3 4 5]" {
		t.Errorf("got %v", got)
	}
}

func TestUnknownPosition(t *testing.T) {
	r := newRig(t, nil)
	r.publish("x", 3)
	var page events
	r.want(200, "GET", "/v1/events?after=00000bad.2", readKey, "").into(t, &page)
	if !page.Reset || len(page.Events) != 3 {
		t.Errorf("got reset %v and %d events, want the oldest with reset", page.Reset, len(page.Events))
	}
}

func TestRefusedEvents(t *testing.T) {
	r := newRig(t, nil)
	nd := header{"Content-Type": "application/x-ndjson"}
	for _, c := range []struct {
		name, key, body string
		h               header
		status          int
		detail          string
	}{
		{"empty", writeKey, "", nil, 400, "no event"},
		{"no lines", writeKey, "\n\n", nd, 400, "no event"},
		{"not JSON", writeKey, `{"name":`, nil, 400, ""},
		{"unknown key", writeKey, `{"name":"a","data":1,"nam":2}`, nil, 400, "nam"},
		{"lines without their type", writeKey, "{\"name\":\"a\",\"data\":1}\n{\"name\":\"a\",\"data\":1}", nil, 400, "application/x-ndjson"},
		{"no name", writeKey, `{"data":1}`, nil, 400, "name"},
		{"control character", writeKey, `{"name":"a\u0001","data":1}`, nil, 400, ""},
		{"an agent's kind", writeKey, `{"name":"a","data":1,"kind":"change"}`, nil, 400, "kind"},
		{"empty array", writeKey, `[]`, nil, 400, "no event"},
		{"half an array", writeKey, `[{"name":"a","data":1}`, nil, 400, ""},
		{"second of an array", writeKey, `[{"name":"a","data":1},{"data":1}]`, nil, 400, "event 1"},
		{"second line", writeKey, "{\"name\":\"a\",\"data\":1}\n{}", nd, 400, "line 2"},
		{"guarded ring", adminKey, `{"name":"a","data":1,"ring":"audit"}`, nil, 400, "audit"},
		{"origin without the role", writeKey, `{"name":"a","data":1,"origin":{"agent":"b","id":"7f3a9c21-1","ring":"events","seq":1,"time":"2026-11-21T01:32:15Z"}}`, nil, 403, "origin"},
		{"outside the scope", kitchenKey, `{"name":"door","data":1}`, nil, 403, "door"},
		{"read key", readKey, `{"name":"a","data":1}`, nil, 403, "write"},
		{"no key", "", `{"name":"a","data":1}`, nil, 401, "KEY"},
	} {
		a := r.do("POST", "/v1/events", c.key, c.body, c.h)
		var p problem
		a.into(t, &p)
		if a.status != c.status || p.Status != c.status || !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%s: got %d %+v, want %d with %q", c.name, a.status, p, c.status, c.detail)
		}
	}
	if n := r.Store.NextN(); n != 1 {
		t.Errorf("something was stored: the next n is %d", n)
	}
	r.want(201, "POST", "/v1/events", forwardKey, `{"name":"a","data":1,"origin":{"agent":"b","id":"7f3a9c21-1","ring":"events","seq":1,"time":"2026-11-21T01:32:15Z"}}`)
	r.want(201, "POST", "/v1/events", kitchenKey, `{"name":"kitchen/x","data":1}`)
}

func TestIdempotencyKey(t *testing.T) {
	r := newRig(t, nil)
	k := header{"Idempotency-Key": "abc"}
	first := r.want(201, "POST", "/v1/events", writeKey, `{"name":"a","data":1}`, k)
	again := r.want(201, "POST", "/v1/events", writeKey, `{"name":"a","data":1}`, k)
	if string(first.body) != string(again.body) {
		t.Errorf("the repeat got %s, want %s", again.body, first.body)
	}
	r.want(422, "POST", "/v1/events", writeKey, `{"name":"a","data":2}`, k)
	r.want(201, "POST", "/v1/events", kitchenKey, `{"name":"lamp","data":2}`, k) // another principal's key is another key
	if n := r.Store.NextN(); n != 3 {
		t.Errorf("the next n is %d, want 3", n)
	}
	r.want(400, "POST", "/v1/events", writeKey, `{"name":"a","data":1}`, header{"Idempotency-Key": strings.Repeat("k", 256)})
}

func TestNotStored(t *testing.T) {
	var fp *failingPump
	r := newRig(t, func(d *Deps, _ *Options) { fp = &failingPump{Pump: d.Pump.(*edge.Pump)}; d.Pump = fp })
	for _, c := range []struct {
		err    error
		status int
		retry  bool
	}{
		{edge.ErrBusy, 503, true}, {fmt.Errorf("append: %w", queue.ErrFull), 503, true}, {edge.ErrKeyRunning, 409, true},
		{fmt.Errorf("append: input/output error"), 503, true}, {queue.ErrTooLarge, 413, false},
	} {
		fp.fail(c.err)
		a := r.do("POST", "/v1/events", writeKey, `{"name":"a","data":1}`)
		if a.status != c.status || (a.header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: got %d Retry-After %q, want %d", c.err, a.status, a.header.Get("Retry-After"), c.status)
		}
	}
	fp.fail(nil)
	r.want(201, "POST", "/v1/events", writeKey, `{"name":"a","data":1}`)
}

func TestGuardedRings(t *testing.T) {
	r := newRig(t, nil)
	r.Pump.Emit(edge.Event{Ring: edge.RingAudit, Name: "login", Kind: edge.System, From: "system:test", Data: json.RawMessage(`{}`)}, nil)
	eventually(t, "the event is stored", func() bool { return r.Store.NextN() == 2 })
	for _, path := range []string{"/v1/events?ring=audit", "/v1/events/audit/1", "/v1/stream?ring=audit"} {
		r.want(403, "GET", path, writeKey, "")
	}
	var page events
	r.want(200, "GET", "/v1/events?ring=audit", adminKey, "").into(t, &page)
	if len(page.Events) != 1 {
		t.Errorf("an admin got %d events of audit, want 1", len(page.Events))
	}
	r.want(200, "GET", "/v1/events", adminKey, "").into(t, &page)
	if len(page.Events) != 0 {
		t.Errorf("a read of all rings gave %d events of audit", len(page.Events))
	}
}

func TestScopeFiltersReads(t *testing.T) {
	r := newRig(t, nil)
	r.publish("door", 2)
	r.publish("kitchen/oven", 2)
	var page events
	r.want(200, "GET", "/v1/events", kitchenKey, "").into(t, &page)
	if len(page.Events) != 2 || page.Events[0].Name != "kitchen/oven" {
		t.Errorf("got %v", page.Events)
	}
	r.want(200, "GET", "/v1/events?name=door", kitchenKey, "").into(t, &page)
	if len(page.Events) != 0 {
		t.Errorf("a name outside the scope gave %v", page.Events)
	}
	hidden := string(r.want(404, "GET", "/v1/events/events/1", kitchenKey, "").body)
	absent := string(r.want(404, "GET", "/v1/events/events/999", kitchenKey, "").body)
	if strings.NewReplacer("events/1", "events/999", "record 1 ", "record 999 ").Replace(hidden) != absent {
		t.Errorf("one that is hidden can be told from one that is not there:\n%s%s", hidden, absent)
	}
	r.want(200, "GET", "/v1/events/events/3", kitchenKey, "")
}

// The shapes that clients rely on, to the byte, but for what changes each time.
func TestGoldenJSON(t *testing.T) {
	r := newRig(t, nil)
	mask := func(b []byte) string {
		s := regexp.MustCompile(`[0-9a-f]{8}([-.])`).ReplaceAllString(strings.TrimSpace(string(b)), "EPOCH$1")
		s = regexp.MustCompile(`"time":"[^"]*"`).ReplaceAllString(s, `"time":"T"`)
		return regexp.MustCompile(`"mono":\d+`).ReplaceAllString(s, `"mono":0`)
	}
	for _, c := range []struct{ method, path, key, body, want string }{
		{"POST", "/v1/events", writeKey, `{"name":"door","data":{"value":true}}`, `{"events":[{"id":"EPOCH-1","n":1,"ring":"events","seq":1}]}`},
		{"GET", "/v1/events/events/1", readKey, "", `{"id":"EPOCH-1","n":1,"ring":"events","seq":1,"agent":"test","name":"door","kind":"message","time":"T","clock":"unsynced","boot":"boot-1","mono":0,"from":"client:writer","data":{"value":true}}`},
		{"GET", "/v1/events?name=nobody", readKey, "", `{"events":[],"at":"EPOCH.1"}`},
		{"GET", "/healthz", "", "", `{"status":"ok"}`},
		{"GET", "/readyz", "", "", `{"status":"ready"}`},
		{"PUT", "/v1/mailboxes/app", writeKey, `{"names":["door"],"keep":50}`, `{"name":"app","names":["door"],"keep":50,"after":"EPOCH.1","made":"api","idle_days":0}`},
		{"GET", "/v1/mailboxes/app", readKey, "", `{"name":"app","after":"EPOCH.1","events":[],"next":"EPOCH.1","more":false}`},
		{"POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"1"}`, `{"after":"EPOCH.1","name":"app"}`},
		{"POST", "/v1/devices/lamp/on", writeKey, `{"id":"c1"}`, `{"id":"c1","device":"lamp","verb":"on","done":true,"value":true}`},
		{"POST", "/v1/pins/GPIO17/drive", writeKey, `{"level":true}`, `{"level":true,"pin":"GPIO17"}`},
		{"POST", "/v1/uplinks/cloud/test", adminKey, "", `{"ok":false,"steps":[{"step":"connect","ok":true,"took_ms":1.5},{"step":"canary","ok":false,"detail":"it did not come back","took_ms":0}]}`},
		{"GET", "/v1/nothing", "", "", `{"type":"urn:fieldpost:not-found","title":"Not found","status":404,"detail":"there is nothing at /v1/nothing; /openapi.yaml lists what is there","instance":"/v1/nothing"}`},
	} {
		if got := mask(r.do(c.method, c.path, c.key, c.body).body); got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.method, c.path, got, c.want)
		}
	}
}
