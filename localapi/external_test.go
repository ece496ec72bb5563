package localapi

import (
	"strings"
	"testing"

	"fieldpost/edge"
)

// TestConfirm: who may confirm which command, and with what.
func TestConfirm(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		key, id, body string
		status        int
		words         string
	}{
		{writeKey, "c1", "", 200, `"done":true`},
		{writeKey, "c1", `{"value":40}`, 200, `"value":40`},
		{writeKey, "c1", `{"why":"the bulb is broken"}`, 200, `"why":"the bulb is broken"`},
		{writeKey, "c1", `{"value":40,"why":"broken"}`, 422, "not both"},
		{writeKey, "c1", `{"vale":40}`, 400, "vale"},
		{writeKey, "c3", "", 404, "no such command"},
		{readKey, "c1", "", 403, "role"},
		{kitchenKey, "c1", "", 200, `"done":true`},
		{kitchenKey, "c2", "", 404, "no such command"}, // the door is none of its names
	} {
		a := r.want(c.status, "POST", "/v1/commands/"+c.id, c.key, c.body)
		if !strings.Contains(string(a.body), c.words) {
			t.Errorf("%s %s: %s", c.id, c.body, a.body)
		}
	}
	if len(r.world.confirmed) != 4 || r.world.confirmed[0].From != "client:writer" || r.world.confirmed[0].Value != nil || r.world.confirmed[3].From != "client:kitchen" {
		t.Errorf("the device heard %+v", r.world.confirmed)
	}
	r.world.refuse = edge.ErrRefused
	if a := r.want(409, "POST", "/v1/commands/c1", writeKey, ""); !strings.Contains(string(a.body), `"outcome":{"id":"c1"`) {
		t.Errorf("refused: %s", a.body)
	}
}

// TestReport: who may tell what a device is.
func TestReport(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		key, device, body string
		status            int
		words             string
	}{
		{writeKey, "lamp", `{"value":40}`, 201, `{"events":[{"id":"00000007-9","n":9,"ring":"events","seq":3}]}`},
		{kitchenKey, "lamp", `{"value":40}`, 201, `"n":9`},
		{kitchenKey, "door", `{"value":40}`, 404, "no such device"},
		{writeKey, "door", `{"value":40}`, 422, "bad command"},
		{writeKey, "lamp", `{}`, 422, "#/value"},
		{readKey, "lamp", `{"value":40}`, 403, "role"},
	} {
		a := r.want(c.status, "POST", "/v1/devices/"+c.device+"/report", c.key, c.body)
		if !strings.Contains(string(a.body), c.words) {
			t.Errorf("%s %s: %s", c.device, c.body, a.body)
		}
	}
}

// TestFates: how far an event has come is told to those who may read it.
func TestFates(t *testing.T) {
	r := newRig(t, nil)
	r.publish("lamp", 1)
	r.publish("door", 8)
	for _, c := range []struct {
		key, path string
		status    int
		words     string
	}{
		{readKey, "events/1", 200, `{"uplinks":[{"uplink":"cloud","fate":"acknowledged"}]}`},
		{readKey, "events/9", 200, `"fate":"waiting"`},
		{readKey, "events/10", 404, ""},
		{readKey, "audit/1", 403, "admin"},
		{kitchenKey, "events/1", 200, "cloud"},
		{kitchenKey, "events/2", 404, ""},
	} {
		a := r.want(c.status, "GET", "/v1/events/"+c.path+"/uplinks", c.key, "")
		if !strings.Contains(string(a.body), c.words) {
			t.Errorf("%s: %s", c.path, a.body)
		}
	}
}
