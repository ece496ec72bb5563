package localapi

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

func (r *rig) mailbox(name, query string) events {
	r.t.Helper()
	var e events
	r.want(200, "GET", "/v1/mailboxes/"+name+query, readKey, "").into(r.t, &e)
	return e
}

func TestMailbox(t *testing.T) {
	r := newRig(t, nil)
	r.publish("door", 2)
	r.want(201, "PUT", "/v1/mailboxes/app", writeKey, `{"names":["door"]}`)
	r.want(201, "PUT", "/v1/mailboxes/old", writeKey, `{"after":"0"}`)
	r.publish("noise", 3)
	r.publish("door", 3)
	if e := r.mailbox("old", ""); len(e.Events) != 8 || e.More {
		t.Errorf("from the oldest: got %d events", len(e.Events))
	}
	e := r.mailbox("app", "?limit=2")
	if len(e.Events) != 2 || e.Events[0].N != 6 || !e.More {
		t.Fatalf("got %+v", e)
	}
	if again := r.mailbox("app", "?limit=2"); again.Events[0].N != 6 {
		t.Error("reading has moved it")
	}
	for range 2 { // idempotent
		r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"`+e.Next+`"}`)
	}
	if e := r.mailbox("app", ""); len(e.Events) != 1 || e.Events[0].N != 8 || e.More {
		t.Errorf("after the acknowledgement: got %+v", e)
	}
	r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"1"}`) // back: nothing happens
	if e := r.mailbox("app", ""); len(e.Events) != 1 {
		t.Error("an acknowledgement went back")
	}
	r.want(200, "PUT", "/v1/mailboxes/app", writeKey, `{"names":["noise"]}`)
	if e := r.mailbox("app", ""); len(e.Events) != 0 {
		t.Errorf("another filter at the same place: got %d events", len(e.Events))
	}
	for _, c := range []struct {
		method, path, key, body string
		status                  int
	}{
		{"POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"999"}`, 422}, {"POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"00000bad.1"}`, 409}, {"POST", "/v1/mailboxes/app/ack", writeKey, `{}`, 422},
		{"POST", "/v1/mailboxes/none/ack", writeKey, `{"after":"1"}`, 404}, {"POST", "/v1/mailboxes/app/ack", readKey, `{"after":"1"}`, 403}, {"GET", "/v1/mailboxes/none", readKey, "", 404},
		{"PUT", "/v1/mailboxes/UP", writeKey, `{}`, 422}, {"PUT", "/v1/mailboxes/x", writeKey, `{"keep":-1}`, 422}, {"PUT", "/v1/mailboxes/x", writeKey, `{"rings":["audit"]}`, 403},
		{"POST", "/v1/mailboxes/app/ack", kitchenKey, `{"after":"1"}`, 403}, {"DELETE", "/v1/mailboxes/app", kitchenKey, "", 403}, {"GET", "/v1/mailboxes/app?limt=1", readKey, "", 400},
	} {
		r.want(c.status, c.method, c.path, c.key, c.body)
	}
	r.want(204, "DELETE", "/v1/mailboxes/app", writeKey, "")
	r.want(404, "DELETE", "/v1/mailboxes/app", writeKey, "")
}

func TestMailboxKeep(t *testing.T) {
	r := newRig(t, nil)
	r.want(201, "PUT", "/v1/mailboxes/app", writeKey, `{"names":["door"],"keep":3}`)
	r.want(201, "PUT", "/v1/mailboxes/none", writeKey, `{"keep":0}`)
	for range 5 {
		r.publish("noise", 2)
		r.publish("door", 1)
	}
	e := r.mailbox("app", "")
	if len(e.Events) != 4 || e.Events[0].Kind != edge.Gap || e.Events[0].Hole.Count != 2 || e.Events[0].Hole.Cause != "keep" || e.Events[1].N != 9 || e.Events[3].N != 15 {
		t.Fatalf("got %+v", e.Events)
	}
	r.publish("door", 1)
	if e := r.mailbox("app", ""); e.Events[0].Hole.Count != 3 || e.Events[1].N != 12 {
		t.Errorf("one more: got %+v", e.Events)
	}
	r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"12"}`)
	if e := r.mailbox("app", ""); len(e.Events) != 2 || e.Events[0].N != 15 {
		t.Errorf("after the acknowledgement: got %+v", e.Events)
	}
	r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"16"}`)
	if e := r.mailbox("app", ""); len(e.Events) != 0 {
		t.Errorf("all acknowledged: got %+v", e.Events)
	}
	if e := r.mailbox("none", ""); len(e.Events) != 1 || e.Events[0].Kind != edge.Gap {
		t.Errorf("keep 0 shows %+v, want its gap alone", e.Events)
	}
}

// What was answered survives: an acknowledgement is on the disk when it is
// answered, so a copy of the folder taken then has it.
func TestMailboxAckSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	er := edgetest.OpenRig(t, dir, edgetest.NewBoard("b1"))
	r := serveRig(t, er, nil)
	r.want(201, "PUT", "/v1/mailboxes/app", writeKey, `{}`)
	r.publish("x", 10)
	for n := 1; n <= 10; n++ {
		r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, fmt.Sprintf(`{"after":"%d"}`, n))
		if n%3 != 0 {
			continue
		}
		killed := copyFolder(t, dir)
		after := edgetest.OpenRig(t, killed, edgetest.NewBoard("b1"))
		if m, ok := after.Store.Mailbox("app"); !ok || m.N != uint64(n) {
			t.Errorf("after a kill, the mailbox is at %d (%v), want %d", m.N, ok, n)
		}
		after.Stop()
	}
}

func TestMailboxesOfTheConfig(t *testing.T) {
	er := edgetest.NewRig(t)
	keep := 2
	withBox := func(_ *Deps, o *Options) {
		o.Mailboxes = []Mailbox{{Name: "app", Names: []string{"door"}, Keep: &keep}}
	}
	r := serveRig(t, er, withBox)
	eventually(t, "it is made", func() bool { _, ok := er.Store.Mailbox("app"); return ok })
	r.publish("door", 1)
	r.want(409, "PUT", "/v1/mailboxes/app", writeKey, `{}`)
	r.want(409, "DELETE", "/v1/mailboxes/app", adminKey, "")
	r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, `{"after":"1"}`)
	r.stop()

	r = serveRig(t, er, withBox) // again: it stays where it is
	if m, _ := er.Store.Mailbox("app"); m.N != 1 {
		t.Errorf("it is at %d", m.N)
	}
	r.stop()
	r = serveRig(t, er, nil) // gone from the config: a client's now
	eventually(t, "it is handed over", func() bool { m, _ := er.Store.Mailbox("app"); return readRest(m).Made == madeByAPI })
	r.want(204, "DELETE", "/v1/mailboxes/app", writeKey, "")
}

func TestMailboxesAreBounded(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.limits.mailboxes = 2 })
	r.want(201, "PUT", "/v1/mailboxes/a", writeKey, "")
	r.want(201, "PUT", "/v1/mailboxes/b", kitchenKey, "")
	r.want(409, "PUT", "/v1/mailboxes/c", writeKey, "")
	r.want(200, "PUT", "/v1/mailboxes/b", kitchenKey, `{"names":["lamp"]}`)
	a := r.want(200, "GET", "/v1/mailboxes", readKey, "")
	if !strings.Contains(string(a.body), `"name":"a"`) || !strings.Contains(string(a.body), `"names":["lamp"]`) {
		t.Errorf("got %s", a.body)
	}
}

// 30 days of steps without use drop a mailbox; its idleness survives a restart.
// staleStore lists mailboxes as they were a moment ago.
type staleStore struct {
	store
	was []queue.Mailbox
}

func (s staleStore) Mailboxes() []queue.Mailbox { return s.was }

// TestUpkeepKeepsAcknowledgements: an acknowledgement that comes while idleness
// is counted, or while the config is taken over, stays.
func TestUpkeepKeepsAcknowledgements(t *testing.T) {
	r := newRig(t, nil)
	r.want(201, "PUT", "/v1/mailboxes/app", writeKey, "")
	for range 3 {
		r.want(201, "POST", "/v1/events", writeKey, `{"name":"x","data":1}`)
	}
	d := r.server.Deps
	d.Store = staleStore{r.Store, r.Store.Mailboxes()}
	last := r.Store.NextN() - 1
	r.want(200, "POST", "/v1/mailboxes/app/ack", writeKey, fmt.Sprintf(`{"after":"%d"}`, last))
	boxes, err := newMailboxes(d, r.server.opt, 64)
	if err != nil {
		t.Fatal(err)
	}
	boxes.box("app").idle = idleSave - 1 // the next step is saved
	if err := boxes.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	row, _ := r.Store.Mailbox("app")
	if row.N != last || readRest(row).Idle != idleSave {
		t.Errorf("after the sweep it is at %d of %d, %d idle", row.N, last, readRest(row).Idle)
	}
	boxes.given = []Mailbox{{Name: "app", Names: []string{"door"}}}
	if err := boxes.adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	row, _ = r.Store.Mailbox("app")
	if rest := readRest(row); row.N != last || rest.Made != madeByConfig || len(rest.Names) != 1 {
		t.Errorf("adopted at %d of %d: %+v", row.N, last, rest)
	}
}

func TestIdleMailboxesGo(t *testing.T) {
	r := newRig(t, nil)
	r.want(201, "PUT", "/v1/mailboxes/idle", writeKey, "")
	r.want(201, "PUT", "/v1/mailboxes/used", writeKey, "")
	ctx := context.Background()
	step := func(m *mailboxes) {
		t.Helper()
		if err := m.sweep(ctx); err != nil {
			t.Fatal(err)
		}
	}
	boxes := r.server.boxes
	for i := range idleMost {
		if i == 100 { // a restart
			var err error
			if boxes, err = newMailboxes(r.server.Deps, r.server.opt, 64); err != nil {
				t.Fatal(err)
			}
			boxes.box("idle")
		}
		boxes.box("used").used = true
		step(boxes)
		if _, ok := r.Store.Mailbox("idle"); !ok {
			t.Fatalf("gone after %d hours", i)
		}
	}
	for range 2 * idleSave { // what the restart forgot
		step(boxes)
	}
	if _, ok := r.Store.Mailbox("idle"); ok {
		t.Error("the idle one is still there")
	}
	if _, ok := r.Store.Mailbox("used"); ok {
		return
	}
	t.Error("the used one is gone")
}
